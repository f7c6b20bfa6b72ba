//! Dynamic batching: one server takes all that wait, a batch of `b` takes `fixed + per_item·b`.
//!
//! Arrivals are Poisson with rate `λ`. When the server falls idle it takes the whole queue as the next batch; when
//! the queue is empty it waits for the next request and takes that one alone. The batch size is unlimited unless said
//! otherwise and the time of a batch is deterministic.
//!
//! Writing `α` for `per_item`, `τ` for `fixed` and `ρ = λα`, the sizes of successive batches form a Markov chain
//! `B' = max(A, 1)` with `A` Poisson of mean `λ(αB + τ)`. A request that arrives during a batch waits the rest of it,
//! and every request spends its own batch, so with `H = αB + τ`
//!
//! `E[W] = λE[H²] / (2E[B]) + E[B·H] / E[B]`, and `E[B²]·(1 − ρ²) = E[B]·(1 + 2ρλτ) + λ²τ²`,
//!
//! which leaves one unknown, `E[B]`: the latency falls as it rises. The two lower bounds `E[B] ≥ 1` and
//! `E[B] ≥ λτ/(1 − ρ)` give the two upper bounds of Inoue (arXiv 1912.06322, *Queueing Analysis of GPU-Based Inference
//! Servers with Dynamic Batching: A Closed-Form Characterization*), and its exact value gives the latency exactly.

fn valid(arrival_rate: f64, fixed: f64, per_item: f64) -> bool {
    [arrival_rate, fixed, per_item].iter().all(|x| x.is_finite() && *x >= 0.0)
}

/// Mean latency (waiting and service) when the mean batch size is known: exact, not a bound.
///
/// With `m = E[B]` and the names of the module, `X = (1 + 2ρλτ + λ²τ²/m) / (1 − ρ²)` is `E[B²]/E[B]` and
/// `E[W] = (X − 1)/(2λ) + αX + τ`. Given the mean batch size that a simulation measured, its mean latency must agree,
/// whatever the load: a sharper check than the bound. Time unit: that of `fixed`; `arrival_rate` in its inverse.
///
/// Source: derived in the module's description; it is the relation from which Inoue (arXiv 1912.06322) bounds.
/// `INFINITY` when `λα ≥ 1`; `NAN` for negative or non-finite arguments, or a mean below one.
#[must_use]
pub fn batch_latency_given_mean_batch(arrival_rate: f64, fixed: f64, per_item: f64, mean_batch: f64) -> f64 {
    if !valid(arrival_rate, fixed, per_item) || mean_batch.is_nan() || mean_batch < 1.0 {
        return f64::NAN;
    }
    let rho = arrival_rate * per_item;
    if rho >= 1.0 {
        return f64::INFINITY;
    }
    let load = arrival_rate * fixed;
    // (X − 1)/λ with the division carried out, so that it stays exact as λ → 0.
    let excess_over_rate =
        (rho * per_item + 2.0 * rho * fixed + load * fixed / mean_batch) / ((1.0 - rho) * (1.0 + rho));
    let second_moment_ratio = 1.0 + arrival_rate * excess_over_rate;
    excess_over_rate / 2.0 + per_item * second_moment_ratio + fixed
}

/// Upper bound of the mean latency that is tight at low load: `E[B] ≥ 1`.
///
/// `φ0 = (α + τ) / (2(1 − λα)) · (1 + 2λτ + (1 − λτ)/(1 + λα))`. Time unit: that of `fixed`.
///
/// Source: Inoue, arXiv 1912.06322 (theorem on the closed-form upper bound), `α = per_item`, `τ0 = fixed`.
/// `INFINITY` when `λα ≥ 1`; `NAN` for negative or non-finite arguments.
#[must_use]
pub fn batch_latency_phi0(arrival_rate: f64, fixed: f64, per_item: f64) -> f64 {
    if !valid(arrival_rate, fixed, per_item) {
        return f64::NAN;
    }
    let rho = arrival_rate * per_item;
    if rho >= 1.0 {
        return f64::INFINITY;
    }
    let load = arrival_rate * fixed;
    (per_item + fixed) / (2.0 * (1.0 - rho)) * (1.0 + 2.0 * load + (1.0 - load) / (1.0 + rho))
}

/// Upper bound of the mean latency that is tight at high load: `E[B] ≥ λτ/(1 − λα)`.
///
/// `φ1 = (3/2)·τ/(1 − λα) + (α/2)·(λα + 2)/(1 − λ²α²)`. Time unit: that of `fixed`.
///
/// Source: Inoue, arXiv 1912.06322 (theorem on the closed-form upper bound), `α = per_item`, `τ0 = fixed`.
/// `INFINITY` when `λα ≥ 1`; `NAN` for negative or non-finite arguments.
#[must_use]
pub fn batch_latency_phi1(arrival_rate: f64, fixed: f64, per_item: f64) -> f64 {
    if !valid(arrival_rate, fixed, per_item) {
        return f64::NAN;
    }
    let rho = arrival_rate * per_item;
    if rho >= 1.0 {
        return f64::INFINITY;
    }
    1.5 * fixed / (1.0 - rho) + 0.5 * per_item * (rho + 2.0) / ((1.0 - rho) * (1.0 + rho))
}

/// Upper bound of the mean latency (waiting and service) under dynamic batching: `min(φ0, φ1)`.
///
/// Tight at both ends; loosest where the two cross, `λτ = 1 − λα`, where the true mean is 0.91 of it in the worst
/// case (`per_item → 0`), about 0.94 with `fixed` of 1 to 8 times `per_item`, and above 0.98 with `per_item` three
/// times `fixed`. [`batch_latency_exact`] has no such gap. Time unit: that of `fixed`.
///
/// Source: Inoue, arXiv 1912.06322 (theorem on the closed-form upper bound).
/// `INFINITY` when `λα ≥ 1`; `NAN` for negative or non-finite arguments.
#[must_use]
pub fn batch_latency_bound(arrival_rate: f64, fixed: f64, per_item: f64) -> f64 {
    // φ1 covers both kinds of nonsense: `min` would drop a NAN, but they are NAN together.
    batch_latency_phi0(arrival_rate, fixed, per_item).min(batch_latency_phi1(arrival_rate, fixed, per_item))
}

/// Exact mean batch size under dynamic batching with unlimited batches and Poisson arrivals.
///
/// `E[B] = (λτ + p) / (1 − ρ)`, where `p` is the probability that nothing arrives during a batch. The generating
/// function of the batch size satisfies `G(z) = exp(−λτ(1 − z))·G(exp(−ρ(1 − z))) + p·(z − 1)`. Iterating
/// `z(0) = 0`, `z(n+1) = exp(−ρ(1 − z(n)))` up to its limit one, with `G(0) = 0`, gives
/// `p = C(∞) / Σ C(n)·(1 − z(n))`, `C(n) = exp(−λτ·Σ_{j<n} (1 − z(j)))`.
///
/// The number of terms grows as `1/(1 − ρ)`; beyond a million (`ρ` above about 0.9999) `p` is taken as zero, which it
/// then is unless `fixed` is tiny beside `per_item`.
///
/// Source: solution by iteration of the functional equation, in the manner of Takács; derived here and tested against
/// the Markov chain. `INFINITY` when `λα ≥ 1`; `NAN` for negative or non-finite arguments.
#[must_use]
pub fn batch_mean_size_exact(arrival_rate: f64, fixed: f64, per_item: f64) -> f64 {
    if !valid(arrival_rate, fixed, per_item) {
        return f64::NAN;
    }
    let rho = arrival_rate * per_item;
    if rho >= 1.0 {
        return f64::INFINITY;
    }
    let load = arrival_rate * fixed;
    // d(n) = 1 − z(n), kept as a difference: z tends to one and would cancel.
    let mut d = 1.0_f64;
    let mut sum_d = 0.0;
    let mut denominator = 0.0;
    for _ in 0..MAX_TERMS {
        denominator += (-load * sum_d).exp() * d;
        sum_d += d;
        if d < 1e-17 {
            break;
        }
        d = -(-rho * d).exp_m1();
    }
    let nothing_arrives = if d < 1e-17 { (-load * sum_d).exp() / denominator } else { 0.0 };
    (load + nothing_arrives) / (1.0 - rho)
}

/// Terms of the series for the mean batch size before it is cut.
const MAX_TERMS: u32 = 1_000_000;

/// Exact mean latency (waiting and service) under dynamic batching with unlimited batches and Poisson arrivals.
///
/// [`batch_latency_given_mean_batch`] at [`batch_mean_size_exact`]. Time unit: that of `fixed`.
///
/// ```
/// use kisim::theory::{batch_latency_bound, batch_latency_exact};
/// // 200 requests/s, 1.1 ms per batch and 0.144 ms per request, in seconds.
/// let exact = batch_latency_exact(200.0, 1.1e-3, 0.144e-3);
/// let bound = batch_latency_bound(200.0, 1.1e-3, 0.144e-3);
/// assert!(exact <= bound && exact > 0.9 * bound);
/// ```
///
/// Source: as those two. `INFINITY` when `λα ≥ 1`; `NAN` for negative or non-finite arguments.
#[must_use]
pub fn batch_latency_exact(arrival_rate: f64, fixed: f64, per_item: f64) -> f64 {
    let mean_batch = batch_mean_size_exact(arrival_rate, fixed, per_item);
    if mean_batch.is_infinite() {
        return f64::INFINITY;
    }
    // Rounding may put the mean of a nearly idle server a few units below one.
    batch_latency_given_mean_batch(arrival_rate, fixed, per_item, mean_batch.max(1.0))
}

/// Highest rate one server sustains with batches of at most `max_batch`, in requests per unit of time.
///
/// `b / (fixed + per_item·b)`: at the limit every batch is full. Below it the queue is stable, above it grows without
/// bound. Times the number of servers for a pool.
///
/// Source: stability of bulk-service queues (Bailey 1954; Neuts 1967): the mean number of arrivals during a full batch
/// must be below its size. `NAN` for `max_batch = 0` or negative or non-finite times, `INFINITY` if both times are zero.
#[must_use]
pub fn batch_capacity(max_batch: u32, fixed: f64, per_item: f64) -> f64 {
    if max_batch == 0 || !valid(0.0, fixed, per_item) {
        return f64::NAN;
    }
    let b = f64::from(max_batch);
    b / (fixed + per_item * b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_distr::{Distribution, Exp};

    const SYSTEMS: [(f64, f64); 5] = [(1.0, 1.0), (1.1, 0.144), (0.3, 1.0), (3.0, 1.0), (5.0, 0.5)];

    /// Mean latency and mean batch size from the Markov chain of batch sizes, truncated far out, by power iteration.
    fn from_chain(lambda: f64, fixed: f64, per_item: f64) -> (f64, f64) {
        let rho = lambda * per_item;
        let mean = (lambda * fixed / (1.0 - rho)).max(1.0);
        let states = (mean + 14.0 * (mean / (1.0 - rho)).sqrt()) as usize + 40;
        let rows: Vec<Vec<f64>> = (1..=states)
            .map(|b| {
                let m: f64 = lambda * (per_item * b as f64 + fixed);
                let mut row = vec![0.0; states];
                let mut log_factorial = 0.0;
                for k in 0..=states {
                    if k > 1 {
                        log_factorial += (k as f64).ln();
                    }
                    let p = (k as f64 * m.ln() - m - log_factorial).exp();
                    row[k.max(1) - 1] += p;
                }
                row
            })
            .collect();
        let mut p = vec![1.0 / states as f64; states];
        for _ in 0..2000 {
            let mut next = vec![0.0; states];
            for (weight, row) in p.iter().zip(&rows) {
                for (to, q) in next.iter_mut().zip(row) {
                    *to += weight * q;
                }
            }
            let total: f64 = next.iter().sum();
            let change: f64 = p.iter().zip(&next).map(|(a, b)| (a - b / total).abs()).sum();
            p = next.iter().map(|x| x / total).collect();
            if change < 1e-14 {
                break;
            }
        }
        let moment = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
            p.iter().enumerate().map(|(i, q)| q * f(i as f64 + 1.0, fixed + per_item * (i as f64 + 1.0))).sum()
        };
        let mean_batch = moment(&|b, _| b);
        let latency = (lambda * moment(&|_, h| h * h) / 2.0 + moment(&|b, h| b * h)) / mean_batch;
        (latency, mean_batch)
    }

    /// Mean latency and mean batch size of a plain simulation, batch by batch.
    fn from_simulation(lambda: f64, fixed: f64, per_item: f64, batches: u32, seed: u64) -> (f64, f64) {
        let mut rng = rand::rngs::SmallRng::seed_from_u64(seed);
        let Ok(gap) = Exp::new(lambda) else {
            return (f64::NAN, f64::NAN);
        };
        let mut next_arrival: f64 = gap.sample(&mut rng);
        let mut now = 0.0_f64;
        let (mut latency, mut served) = (0.0, 0_u64);
        let mut batch = Vec::new();
        for _ in 0..batches {
            batch.clear();
            now = now.max(next_arrival);
            while next_arrival <= now {
                batch.push(next_arrival);
                next_arrival += gap.sample(&mut rng);
            }
            now += fixed + per_item * batch.len() as f64;
            latency += batch.iter().map(|arrived| now - arrived).sum::<f64>();
            served += batch.len() as u64;
        }
        (latency / served as f64, served as f64 / f64::from(batches))
    }

    #[test]
    fn the_exact_series_agrees_with_the_markov_chain() {
        for (fixed, per_item) in SYSTEMS {
            for rho in [0.01, 0.1, 0.3, 0.5, 0.7, 0.85] {
                let lambda = rho / per_item;
                let (latency, mean_batch) = from_chain(lambda, fixed, per_item);
                let exact = batch_latency_exact(lambda, fixed, per_item);
                let size = batch_mean_size_exact(lambda, fixed, per_item);
                assert!((exact / latency - 1.0).abs() < 1e-7, "{rho}: {exact} {latency}");
                assert!((size / mean_batch - 1.0).abs() < 1e-7, "{rho}: {size} {mean_batch}");
            }
        }
    }

    #[test]
    fn a_simulation_agrees_with_the_exact_value_and_stays_below_the_bound() {
        for (fixed, per_item) in [(1.1, 0.144), (0.3, 1.0), (3.0, 1.0)] {
            for rho in [0.02, 0.2, 0.5, 0.8, 0.95] {
                let lambda = rho / per_item;
                let (latency, size) = from_simulation(lambda, fixed, per_item, 400_000, 7);
                let exact = batch_latency_exact(lambda, fixed, per_item);
                let bound = batch_latency_bound(lambda, fixed, per_item);
                assert!((latency / exact - 1.0).abs() < 0.02, "{rho}: {latency} {exact}");
                // The mean batch the simulation itself saw takes most of its noise out.
                let given = batch_latency_given_mean_batch(lambda, fixed, per_item, size);
                assert!((latency / given - 1.0).abs() < 0.02, "{rho}: {latency} {given}");
                let ratio = latency / bound;
                assert!((0.93..1.01).contains(&ratio), "{rho}: {ratio}");
                // Away from where the two bounds cross, the bound is within 3 %.
                let crossing = lambda * fixed / (1.0 - rho);
                if !(0.4..2.5).contains(&crossing) {
                    assert!((0.97..1.01).contains(&ratio), "{rho}: {ratio}");
                }
            }
        }
    }

    #[test]
    fn the_bound_is_never_below_the_exact_value_nor_far_above() {
        let mut worst: f64 = 1.0;
        for ratio in [1e-6, 0.01, 0.1, 1.0, 10.0, 100.0] {
            for step in 1..400 {
                // From idle to past the crossing, and on to saturation.
                let load = f64::from(step) / 100.0;
                let lambda = load / (1.0 + ratio * load);
                let exact = batch_latency_exact(lambda, 1.0, ratio);
                let bound = batch_latency_bound(lambda, 1.0, ratio);
                assert!(exact <= bound * (1.0 + 1e-12), "{ratio} {lambda}: {exact} {bound}");
                worst = worst.min(exact / bound);
            }
        }
        // The worst case, per_item → 0 at λ·fixed = 1, is known: (1 + 1/(2(1 + 1/e)))/(3/2).
        let known = (1.0 + 0.5 / (1.0 + (-1.0_f64).exp())) / 1.5;
        assert!((worst - known).abs() < 1e-4, "{worst} {known}");
    }

    #[test]
    fn the_two_bounds_are_the_relation_at_their_mean_batch() {
        for (fixed, per_item) in SYSTEMS {
            for rho in [0.05, 0.4, 0.9] {
                let lambda = rho / per_item;
                let at_one = batch_latency_given_mean_batch(lambda, fixed, per_item, 1.0);
                let phi0 = batch_latency_phi0(lambda, fixed, per_item);
                assert!((at_one / phi0 - 1.0).abs() < 1e-12);
                let busy = lambda * fixed / (1.0 - rho);
                if busy >= 1.0 {
                    let at_busy = batch_latency_given_mean_batch(lambda, fixed, per_item, busy);
                    let phi1 = batch_latency_phi1(lambda, fixed, per_item);
                    assert!((at_busy / phi1 - 1.0).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn the_ends_of_the_load_axis() {
        // Idle: a request is served alone. Saturated: infinite. Nonsense: not a number.
        assert!((batch_latency_exact(0.0, 1.0, 0.5) - 1.5).abs() < 1e-15);
        assert!((batch_latency_bound(0.0, 1.0, 0.5) - 1.5).abs() < 1e-15);
        assert!((batch_mean_size_exact(1e-9, 1.0, 0.5) - 1.0).abs() < 1e-8);
        assert!(batch_latency_exact(2.0, 1.0, 0.5).is_infinite());
        assert!(batch_latency_bound(2.0, 1.0, 0.5).is_infinite());
        assert!(batch_latency_bound(-2.0, 1.0, 0.5).is_nan());
        assert!(batch_latency_exact(f64::NAN, 1.0, 0.5).is_nan());
        assert!(batch_latency_given_mean_batch(1.0, 1.0, 0.5, 0.5).is_nan());
        // Without a fixed part there is nothing to gain from batches, yet it is stable up to λα = 1.
        assert!(batch_latency_exact(1.9, 0.0, 0.5).is_finite());
    }

    #[test]
    fn capacity() {
        assert_eq!(batch_capacity(1, 1.0, 1.0), 0.5);
        assert_eq!(batch_capacity(8, 1.0, 0.5), 1.6);
        assert!(batch_capacity(0, 1.0, 1.0).is_nan());
        assert!(batch_capacity(8, -1.0, 1.0).is_nan());
        assert!(batch_capacity(u32::MAX, 1.0, 0.5) < 2.0);
    }
}
