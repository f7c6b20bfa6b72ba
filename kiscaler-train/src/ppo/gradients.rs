//! The kernels against Candle, and every term of the loss against finite differences of a plain version in `f64`.

use rand_distr::{Distribution, StandardNormal};

use super::batch::Minibatch;
use super::fused::Fused;
use super::loss::{Sums, Weights};
use super::model::Model;
use super::reference::Reference;
use crate::device::{DeviceKind, device};
use crate::environment::Space;
use crate::heads::{Heads, uniform};
use kisim::random::{Purpose, stream};

const NONE: Weights = Weights { policy: 0.0, value: 0.0, entropy: 0.0, teacher: 0.0, clip: 0.2, value_clip: None };

/// Every term alone, and all together.
fn terms() -> [(&'static str, Weights); 6] {
    [
        ("policy", Weights { policy: 1.0, ..NONE }),
        ("value", Weights { value: 0.5, ..NONE }),
        ("value, clipped", Weights { value: 0.5, value_clip: Some(0.2), ..NONE }),
        ("entropy", Weights { entropy: 0.3, ..NONE }),
        ("teacher", Weights { teacher: 0.7, ..NONE }),
        ("all", Weights { policy: 1.0, value: 0.5, entropy: 0.3, teacher: 0.7, clip: 0.1, value_clip: Some(0.3) }),
    ]
}

struct Case {
    model: Model,
    heads: Heads,
    parameters: Vec<f32>,
    batch: Minibatch,
}

/// Random rows, masks and parameters. Actions' old log probabilities are near the new ones, on both sides of the clip.
fn case(count: usize, space: &Space, hidden: &[usize], seed: u64) -> Case {
    let mut random = stream(seed, Purpose::Policy, 0);
    let model = Model::new(space, hidden, hidden);
    let heads = Heads::new(&space.heads);
    let mut parameters = model.initial(seed);
    // The policy's last layer starts a hundred times smaller than is of use here.
    for parameter in &mut parameters {
        let noise: f64 = StandardNormal.sample(&mut random);
        *parameter += 0.2 * noise as f32;
    }
    let mut normal = |scale: f64| -> f32 {
        let draw: f64 = StandardNormal.sample(&mut random);
        (draw * scale) as f32
    };
    let mut batch = Minibatch::new(space, count);
    batch.count = count;
    let width = space.observation + space.privileged;
    for row in batch.rows.chunks_exact_mut(batch.stride).take(count) {
        row[..width].iter_mut().for_each(|value| *value = normal(1.0));
    }
    for values in [&mut batch.advantages, &mut batch.targets] {
        values.iter_mut().for_each(|value| *value = normal(1.0));
    }
    batch.teacher.iter_mut().for_each(|cost| *cost = normal(1.0).abs());
    let mut random = stream(seed, Purpose::Policy, 1);
    let mut coin = |share: f64| uniform(&mut random) < share;
    batch.mask.iter_mut().for_each(|allowed| *allowed = coin(0.7));
    batch.taught.iter_mut().for_each(|taught| *taught = space.teacher && coin(0.6));
    for mask in batch.mask.chunks_exact_mut(space.choices()) {
        for range in heads.ranges() {
            mask[range.start] |= !mask[range.clone()].contains(&true);
        }
    }
    let choices = space.heads[0];
    for (costs, mask) in batch.teacher.chunks_exact_mut(choices).zip(batch.mask.chunks_exact(space.choices())) {
        costs.iter_mut().zip(mask).for_each(|(cost, &allowed)| *cost *= f32::from(u8::from(allowed)));
    }
    let mut engine = Fused::new(&model, &heads, false);
    engine.load(&parameters);
    let mut logits = vec![0.0; count * space.choices()];
    engine.logits(&batch.rows, batch.stride, count, &mut logits);
    engine.values(&batch.rows, batch.stride, count, &mut batch.values);
    let mut random = stream(seed, Purpose::Policy, 2);
    for row in 0..count {
        let logits = &mut logits[row * space.choices()..][..space.choices()];
        heads.log_softmax(logits, &batch.mask[row * space.choices()..][..space.choices()]);
        let actions = &mut batch.actions[row * space.heads.len()..][..space.heads.len()];
        let log_probability = heads.sample(logits, &mut random, actions);
        batch.log_probabilities[row] = log_probability + (uniform(&mut random) as f32 - 0.5);
        batch.values[row] += uniform(&mut random) as f32 - 0.5;
    }
    Case { model, heads, parameters, batch }
}

fn small() -> Case {
    let space = Space { observation: 5, privileged: 2, heads: vec![4, 3], teacher: true };
    case(37, &space, &[7, 6], 11)
}

/// The weighted loss in double precision, as the papers write it.
fn loss(case: &Case, parameters: &[f64], w: &Weights) -> f64 {
    let Case { model, heads, batch, .. } = case;
    let taught = batch.taught().max(1) as f64;
    let mut total = 0.0;
    for row in 0..batch.count {
        let input: Vec<f64> = batch.rows[row * batch.stride..][..batch.stride].iter().map(|&x| x.into()).collect();
        let logits = network(&input, &model.actor, &parameters[..model.split()]);
        let value = network(&input, &model.critic, &parameters[model.split()..])[0];
        let (mut log_probability, mut entropy, mut teacher) = (0.0, 0.0, 0.0);
        for (head, range) in heads.ranges().enumerate() {
            let allowed = |choice: &usize| batch.mask[row * heads.choices() + choice];
            let sum: f64 = range.clone().filter(allowed).map(|choice| logits[choice].exp()).sum();
            let action = batch.actions[row * heads.sizes().len() + head] as usize;
            log_probability += (logits[range.start + action].exp() / sum).ln();
            for choice in range.clone().filter(allowed) {
                let probability = logits[choice].exp() / sum;
                entropy -= probability * probability.ln();
                if head == 0 {
                    teacher += probability * f64::from(batch.teacher[row * heads.sizes()[0] + choice]);
                }
            }
        }
        let ratio = (log_probability - f64::from(batch.log_probabilities[row])).exp();
        let clip = f64::from(w.clip);
        let advantage = f64::from(batch.advantages[row]);
        let surrogate = f64::min(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage);
        let (before, target) = (f64::from(batch.values[row]), f64::from(batch.targets[row]));
        let mut error = (value - target).powi(2);
        if let Some(clip) = w.value_clip.map(f64::from) {
            error = error.max((before + (value - before).clamp(-clip, clip) - target).powi(2));
        }
        let n = batch.count as f64;
        total += (-f64::from(w.policy) * surrogate - f64::from(w.entropy) * entropy) / n;
        total += f64::from(w.value) * 0.5 * error / n;
        if batch.taught[row] {
            total += f64::from(w.teacher) * teacher / taught;
        }
    }
    total
}

fn network(input: &[f64], sizes: &[usize], mut flat: &[f64]) -> Vec<f64> {
    let mut here = input[..sizes[0]].to_vec();
    for (index, pair) in sizes.windows(2).enumerate() {
        let (weight, rest) = flat.split_at(pair[0] * pair[1]);
        let (bias, rest) = rest.split_at(pair[1]);
        flat = rest;
        let sums = weight.chunks_exact(pair[0]).zip(bias);
        here = sums.map(|(row, bias)| row.iter().zip(&here).map(|(w, x)| w * x).sum::<f64>() + bias).collect();
        if index + 2 < sizes.len() {
            here.iter_mut().for_each(|value| *value = value.tanh());
        }
    }
    here
}

/// Largest difference over the largest absolute value.
fn distance(found: &[f32], expected: &[f32]) -> f32 {
    let largest = expected.iter().fold(1e-6f32, |largest, value| largest.max(value.abs()));
    found.iter().zip(expected).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs())) / largest
}

#[test]
fn every_term_against_finite_differences() {
    let case = small();
    let flat: Vec<f64> = case.parameters.iter().map(|&value| value.into()).collect();
    for (name, weights) in terms() {
        let mut found = vec![0.0; flat.len()];
        Fused::new(&case.model, &case.heads, false).gradient(&case.parameters, &case.batch, &weights, &mut found);
        let step = 1e-6;
        let expected: Vec<f32> = (0..flat.len())
            .map(|index| {
                let at = |offset: f64| {
                    let mut moved = flat.clone();
                    moved[index] += offset;
                    loss(&case, &moved, &weights)
                };
                ((at(step) - at(-step)) / (2.0 * step)) as f32
            })
            .collect();
        assert!(expected.iter().any(|slope| slope.abs() > 1e-3), "{name}: nothing to compare");
        let distance = distance(&found, &expected);
        assert!(distance < 1e-4, "{name}: {distance}");
    }
}

fn compare(case: &Case, engine: &mut Reference, tolerance: f32) {
    let Case { model, heads, parameters, batch } = case;
    let mut fused = Fused::new(model, heads, false);
    fused.load(parameters);
    engine.load(parameters).unwrap();
    let mut logits = [vec![0.0; batch.count * heads.choices()], vec![0.0; batch.count * heads.choices()]];
    let mut values = [vec![0.0; batch.count], vec![0.0; batch.count]];
    fused.logits(&batch.rows, batch.stride, batch.count, &mut logits[0]);
    engine.logits(&batch.rows, batch.stride, batch.count, &mut logits[1]).unwrap();
    fused.values(&batch.rows, batch.stride, batch.count, &mut values[0]);
    engine.values(&batch.rows, batch.stride, batch.count, &mut values[1]).unwrap();
    assert!(distance(&logits[0], &logits[1]) < tolerance, "logits: {}", distance(&logits[0], &logits[1]));
    assert!(distance(&values[0], &values[1]) < tolerance, "values: {}", distance(&values[0], &values[1]));
    for (name, weights) in terms() {
        let mut gradients = [vec![0.0; parameters.len()], vec![0.0; parameters.len()]];
        let ours = fused.gradient(parameters, batch, &weights, &mut gradients[0]);
        let theirs = engine.gradient(parameters, batch, &weights, &mut gradients[1]).unwrap();
        let apart = distance(&gradients[0], &gradients[1]);
        assert!(apart < tolerance, "{name}: {apart}");
        let list = |sums: &Sums| [sums.policy, sums.value, sums.entropy, sums.teacher, sums.k1, sums.k3, sums.clipped];
        for (ours, theirs) in list(&ours).into_iter().zip(list(&theirs)) {
            assert!((ours - theirs).abs() < f64::from(tolerance) * (1.0 + theirs.abs()), "{name}: {ours} {theirs}");
        }
    }
}

fn wide() -> Case {
    let space = Space { observation: 70, privileged: 9, heads: vec![17, 9, 4], teacher: true };
    case(300, &space, &[128, 48], 5)
}

#[test]
fn kernels_agree_with_candle() {
    let device = device(DeviceKind::Cpu).unwrap();
    for case in [small(), wide()] {
        compare(&case, &mut Reference::new(&case.model, &case.heads, &device).unwrap(), 2e-5);
    }
}

#[test]
fn both_devices_agree_on_one_batch() {
    match device(DeviceKind::Cuda) {
        Err(error) => eprintln!("DID NOT RUN: both_devices_agree_on_one_batch: {error}"),
        Ok(device) => {
            for case in [small(), wide()] {
                // TF32 is off by default; sums run in another order.
                compare(&case, &mut Reference::new(&case.model, &case.heads, &device).unwrap(), 1e-4);
            }
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let case = wide();
    let (_, weights) = terms()[5];
    let mut alone = vec![0.0; case.parameters.len()];
    let sums =
        Fused::new(&case.model, &case.heads, false).gradient(&case.parameters, &case.batch, &weights, &mut alone);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let mut together = vec![0.0; case.parameters.len()];
    let mut engine = Fused::new(&case.model, &case.heads, true);
    let same = pool.install(|| engine.gradient(&case.parameters, &case.batch, &weights, &mut together));
    assert_eq!(sums, same);
    assert_eq!(alone, together);
}
