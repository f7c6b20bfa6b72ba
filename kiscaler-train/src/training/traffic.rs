//! Arrivals of a training episode: a load over time from one of several families, and arrivals around it.
//!
//! Loads are in saturated pods. Families and their ranges are the training distribution's; docs/learning.md has the table.

use kisim::config::Span;
use kisim::random::{Purpose, Stream, stream};
use kisim::traffic::curve::Walker;
use kisim::traffic::{Process, Renewal, Shape, Source};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

/// What kind of load an episode has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// A level, perhaps a slow walk around it.
    Calm,
    /// Stairs up and down, as load tests do.
    Ramp,
    /// A sine.
    Periodic,
    /// A day, compressed or not, of which the episode is a part; with a walk on it.
    Diurnal,
    /// A new level at regular times.
    Random,
    /// A wandering level.
    Walk,
    /// A level, and spikes at random.
    Spikes,
    /// The same spike at regular times: cron jobs, batch windows.
    Clockwork,
    /// A Markov chain of levels.
    Levels,
    /// A crowd: a sudden rise and an exponential decay.
    Crowd,
    /// Clients that come and go, each as bursty as it likes (ServeGen, arXiv 2505.09999: gamma and Weibull clients).
    Clients,
    /// Sessions of bursts with nothing between, as a code assistant's users send them (Azure 2023: CV 13).
    Sessions,
}

impl Family {
    /// All.
    pub const ALL: [Family; 12] = [
        Family::Calm,
        Family::Ramp,
        Family::Periodic,
        Family::Diurnal,
        Family::Random,
        Family::Walk,
        Family::Spikes,
        Family::Clockwork,
        Family::Levels,
        Family::Crowd,
        Family::Clients,
        Family::Sessions,
    ];

    /// Its name in figures.
    pub fn name(self) -> &'static str {
        match self {
            Family::Calm => "calm",
            Family::Ramp => "ramp",
            Family::Periodic => "periodic",
            Family::Diurnal => "diurnal",
            Family::Random => "random",
            Family::Walk => "walk",
            Family::Spikes => "spikes",
            Family::Clockwork => "clockwork",
            Family::Levels => "levels",
            Family::Crowd => "crowd",
            Family::Clients => "clients",
            Family::Sessions => "sessions",
        }
    }
}

fn uniform(rng: &mut Stream, low: f64, high: f64) -> f64 {
    rng.random_range(low..=high)
}

/// Uniform in the logarithm.
pub(super) fn scale(rng: &mut Stream, low: f64, high: f64) -> f64 {
    uniform(rng, low.ln(), high.ln()).exp()
}

fn span(seconds: f64) -> Span {
    Span(std::time::Duration::from_secs_f64(seconds.max(0.002)))
}

/// The load of `family` over `end` seconds, between about 0 and `top`, relative to 1 for its usual peak.
fn shape(family: Family, end: f64, rng: &mut Stream) -> Shape {
    let low = scale(rng, 0.08, 0.7);
    match family {
        Family::Calm | Family::Clients | Family::Sessions => Shape::Constant { rate: 1.0 },
        Family::Walk => {
            let mean = uniform(rng, 0.4, 0.7);
            let deviation = uniform(rng, 0.1, 0.35);
            let relaxation = span(scale(rng, 40.0, 1_200.0));
            Shape::Walk { mean, deviation, relaxation, every: span(scale(rng, 5.0, 60.0)) }
        }
        Family::Ramp => {
            // Up in stairs, few or so many that they are a line, held, down again, and so on.
            let stairs = match rng.random_range(1..=25u32) {
                ..4 => 60,
                few => few,
            };
            let cycle = end.min(scale(rng, 1_200.0, 3_600.0));
            let lasting = uniform(rng, 0.2, 0.9) * cycle;
            let start = uniform(rng, 0.0, cycle - lasting);
            let (mut from, mut to) = if rng.random::<f64>() < 0.7 { (low, 1.0) } else { (1.0, low) };
            let mut steps: Vec<(Span, f64)> = vec![(span(0.0), from)];
            let mut at = start;
            while at < end {
                let stair = |i: u32| {
                    let share = f64::from(i) / f64::from(stairs);
                    (span(at + share * lasting), from + (to - from) * share)
                };
                steps.extend((1..=stairs).map(stair));
                (from, to) = (to, from);
                at += cycle;
            }
            steps.dedup_by(|b, a| b.0 <= a.0);
            Shape::Step { steps }
        }
        Family::Periodic => {
            let period = scale(rng, 180.0, 3_000.0);
            let amplitude = (1.0 - low) / 2.0;
            let phase = span(uniform(rng, 0.0, period));
            Shape::Periodic { mean: low + amplitude, amplitude, period: span(period), phase }
        }
        Family::Diurnal => {
            let day = scale(rng, 1_200.0, 86_400.0);
            let peak_at = span(uniform(rng, 0.0, day));
            let wander = Shape::Walk {
                mean: 0.1,
                deviation: uniform(rng, 0.0, 0.08),
                relaxation: span(scale(rng, 30.0, 600.0)),
                every: span(5.0),
            };
            Shape::Sum { of: vec![Shape::Diurnal { low, high: 0.9, day: span(day), peak_at }, wander] }
        }
        Family::Random => {
            let every = [15.0, 30.0, 30.0, 60.0, 120.0, 300.0][rng.random_range(0..6usize)];
            Shape::Random { low, high: 1.0, every: span(every) }
        }
        Family::Spikes => Shape::Burst {
            base: low,
            peak: 1.0,
            mean_gap: span(scale(rng, 90.0, 1_800.0)),
            mean_length: span(scale(rng, 20.0, 400.0)),
        },
        Family::Clockwork => {
            let period = scale(rng, 240.0, 1_800.0);
            let lasting = scale(rng, 20.0, 0.5 * period);
            let first = uniform(rng, 0.0, period);
            let mut steps = vec![(span(0.0), low)];
            let mut at = first.max(1.0);
            while at < end {
                steps.push((span(at), 1.0));
                steps.push((span(at + lasting), low));
                at += period;
            }
            Shape::Step { steps }
        }
        Family::Levels => {
            let count = rng.random_range(2..=5usize);
            let rates = (0..count).map(|i| if i == 0 { 1.0 } else { scale(rng, 0.05, 1.0) }).collect();
            let mean_stays = (0..count).map(|_| span(scale(rng, 30.0, 900.0))).collect();
            Shape::Mmpp { rates, mean_stays }
        }
        Family::Crowd => {
            let mut steps = vec![(span(0.0), low)];
            let mut at = uniform(rng, 60.0, 0.5 * end.min(3_600.0));
            while at < end {
                let decay = scale(rng, 60.0, 900.0);
                let height = uniform(rng, 0.5, 1.0);
                let until = at + 4.0 * decay;
                let mut t = at;
                while t < until.min(end) {
                    steps.push((span(t), low + (height - low).max(0.1) * (-(t - at) / decay).exp()));
                    t += 10.0;
                }
                at = until + scale(rng, 120.0, 1_800.0);
            }
            Shape::Step { steps }
        }
    }
}

/// Arrivals, ascending, nanoseconds, over `end` seconds: load of `family` with a mean of about `mean` requests a second.
pub fn arrivals(family: Family, mean: f64, end: f64, seed: u64) -> Vec<u64> {
    let mut rng = stream(seed, Purpose::Arrivals, 2);
    let mut times = match family {
        Family::Clients => clients(mean, end, &mut rng, seed),
        Family::Sessions => sessions(mean, end, &mut rng),
        _ => {
            let curve = shape(family, end, &mut rng).curve(end, &mut stream(seed, Purpose::Arrivals, 0));
            let own = curve.integral() / end;
            let curve = curve.scaled(mean / own.max(1e-9));
            let process = match rng.random_range(0..4u32) {
                0 | 1 => Process::Poisson,
                2 => Process::Gamma { cv: scale(&mut rng, 1.2, 4.0) },
                _ => Process::Weibull { cv: scale(&mut rng, 1.2, 3.0) },
            };
            drain(Source::curve(Walker::new(curve), Renewal::new(&process), stream(seed, Purpose::Arrivals, 1)), end)
        }
    };
    times.sort_unstable();
    times
}

fn drain(mut source: Source, end: f64) -> Vec<u64> {
    let end = (end * 1e9) as u64;
    let mut times = Vec::new();
    // A source of a curve reads no file, so it cannot fail.
    while let Ok(Some(time)) = source.peek() {
        if time >= end {
            break;
        }
        times.push(time);
        source.take(1);
    }
    times
}

/// Superposed clients: shares of the load as a power law, a burstiness each, and a level that changes every few minutes.
fn clients(mean: f64, end: f64, rng: &mut Stream, seed: u64) -> Vec<u64> {
    let count = rng.random_range(3..=24usize);
    let slope = uniform(rng, 0.6, 1.6);
    let shares: Vec<f64> = (1..=count).map(|rank| (rank as f64).powf(-slope)).collect();
    let total: f64 = shares.iter().sum();
    let every = scale(rng, 60.0, 600.0);
    let restless = uniform(rng, 0.1, 0.9);
    let mut times = Vec::new();
    for (number, share) in shares.into_iter().enumerate() {
        let rate = mean * share / total;
        let mut level: f64 = 0.0;
        let mut steps = Vec::new();
        let mut at = 0.0;
        while at < end {
            let noise: f64 = StandardNormal.sample(rng);
            level = 0.8 * level + 0.6 * restless * noise;
            steps.push((span(at), rate * (level - 0.5 * restless * restless).exp()));
            at += every;
        }
        steps.dedup_by(|b, a| b.0 <= a.0);
        let cv = scale(rng, 0.8, 6.0);
        let process = if number % 2 == 0 { Process::Gamma { cv } } else { Process::Weibull { cv } };
        let own = stream(seed, Purpose::Arrivals, 16 + number as u64);
        let curve = Shape::Step { steps }.curve(end, rng);
        times.append(&mut drain(Source::curve(Walker::new(curve), Renewal::new(&process), own), end));
    }
    times
}

/// Sessions with pauses of all lengths between, and bursts inside them.
fn sessions(mean: f64, end: f64, rng: &mut Stream) -> Vec<u64> {
    let on_s = scale(rng, 20.0, 150.0);
    let off_s = scale(rng, 20.0, 240.0);
    let busy = on_s / (on_s + off_s);
    let burst_s = scale(rng, 1.0, 12.0);
    let roughness = uniform(rng, 0.5, 1.1);
    let mut times = Vec::new();
    let exponential = |rng: &mut Stream, mean: f64| -mean * (1.0 - rng.random::<f64>()).ln();
    let mut at = if rng.random::<f64>() < busy { 0.0 } else { exponential(rng, off_s) };
    while at < end {
        let until = (at + exponential(rng, on_s)).min(end);
        let noise: f64 = StandardNormal.sample(rng);
        let level = mean / busy * (0.4 * noise - 0.08).exp();
        while at < until {
            let length = exponential(rng, burst_s).max(0.05).min(until - at + 0.05);
            let noise: f64 = StandardNormal.sample(rng);
            let rate = level * (roughness * noise - 0.5 * roughness * roughness).exp();
            let mut t = at + exponential(rng, 1.0 / rate.max(1e-6));
            while t < (at + length).min(end) {
                times.push((t * 1e9) as u64);
                t += exponential(rng, 1.0 / rate.max(1e-6));
            }
            at += length;
        }
        at += exponential(rng, off_s);
    }
    times
}
