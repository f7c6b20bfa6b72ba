//! Rate functions: the shapes a scenario can give its load.

use std::f64::consts::TAU;

use rand::RngExt;
use rand_distr::{Distribution, Exp1, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::config::Span;
use crate::random::Stream;
use crate::traffic::curve::{Curve, Segment};

/// A rate over time, requests a second unless it is a factor of a product.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "shape", rename_all = "snake_case", deny_unknown_fields)]
pub enum Shape {
    /// Always the same.
    Constant {
        /// The rate.
        rate: f64,
    },
    /// A straight line from one rate to another, constant before and after.
    Ramp {
        /// Rate before.
        from: f64,
        /// Rate after.
        to: f64,
        /// When it begins.
        #[serde(default)]
        start: Span,
        /// How long it takes.
        over: Span,
    },
    /// A sine around `mean`.
    Periodic {
        /// Middle.
        mean: f64,
        /// Distance from the middle to the crest; at most `mean`.
        amplitude: f64,
        /// Time from crest to crest.
        period: Span,
        /// Where in the period the run begins; zero is the rising middle.
        #[serde(default)]
        phase: Span,
    },
    /// A day: low at night, high in the afternoon; a sine raised to a power, so that nights are longer than peaks.
    Diurnal {
        /// Rate at night.
        low: f64,
        /// Rate at the peak.
        high: f64,
        /// Length of a day.
        day: Span,
        /// Time of the peak within the day.
        peak_at: Span,
    },
    /// A new rate, uniform between two, at regular times.
    Random {
        /// Lowest.
        low: f64,
        /// Highest.
        high: f64,
        /// How often.
        every: Span,
    },
    /// A mean-reverting walk (Ornstein–Uhlenbeck, exact steps), cut at zero.
    Walk {
        /// What it reverts to.
        mean: f64,
        /// Its standard deviation in the long run.
        deviation: f64,
        /// Time in which a deviation decays to 1/e.
        relaxation: Span,
        /// Time between steps, joined linearly.
        every: Span,
    },
    /// `base`, and `peak` for a while.
    Spike {
        /// Rate outside.
        base: f64,
        /// Rate inside.
        peak: f64,
        /// When it begins.
        start: Span,
        /// How long it lasts.
        lasting: Span,
    },
    /// A constant rate from each of a list of times on; before the first, the first.
    Step {
        /// (from when, rate), ascending.
        steps: Vec<(Span, f64)>,
    },
    /// `base`, with bursts to `peak` at random (exponential) times of random (exponential) lengths.
    Burst {
        /// Rate outside bursts.
        base: f64,
        /// Rate inside.
        peak: f64,
        /// Mean time from the end of a burst to the next.
        mean_gap: Span,
        /// Mean length of a burst.
        mean_length: Span,
    },
    /// A Markov-modulated rate: a random walk on states, each with a rate and a mean stay; every other state is equally
    /// likely next. With Poisson arrivals this is an MMPP.
    Mmpp {
        /// Rate in each state.
        rates: Vec<f64>,
        /// Mean stay in each state.
        mean_stays: Vec<Span>,
    },
    /// The sum of others.
    Sum {
        /// The terms.
        of: Vec<Shape>,
    },
    /// The product of others.
    Product {
        /// The factors.
        of: Vec<Shape>,
    },
}

/// Smooth shapes are cut into this many straight pieces a period: a sine is then within 0.03 % of itself.
const PIECES: f64 = 128.0;

impl Shape {
    /// What is wrong with the parameters, as (field, found, expected).
    pub fn problem(&self) -> Option<(String, String, String)> {
        let bad = |field: &str, found: &dyn ToString, expected: &str| {
            Some((field.to_owned(), found.to_string(), expected.to_owned()))
        };
        let rates: Vec<(&str, f64)> = match self {
            Shape::Constant { rate } => vec![("rate", *rate)],
            Shape::Ramp { from, to, .. } => vec![("from", *from), ("to", *to)],
            Shape::Periodic { mean, amplitude, .. } => vec![("mean", *mean), ("amplitude", *amplitude)],
            Shape::Diurnal { low, high, .. } | Shape::Random { low, high, .. } => vec![("low", *low), ("high", *high)],
            Shape::Walk { mean, deviation, .. } => vec![("mean", *mean), ("deviation", *deviation)],
            Shape::Spike { base, peak, .. } | Shape::Burst { base, peak, .. } => vec![("base", *base), ("peak", *peak)],
            Shape::Step { steps } => steps.iter().map(|s| ("steps", s.1)).collect(),
            Shape::Mmpp { rates, .. } => rates.iter().map(|&r| ("rates", r)).collect(),
            Shape::Sum { .. } | Shape::Product { .. } => vec![],
        };
        if let Some((field, rate)) = rates.iter().find(|(_, rate)| !(rate.is_finite() && *rate >= 0.0)) {
            return bad(field, rate, "a finite rate of at least 0");
        }
        let spans: Vec<(&str, Span)> = match self {
            Shape::Ramp { over, .. } => vec![("over", *over)],
            Shape::Periodic { period, .. } => vec![("period", *period)],
            Shape::Diurnal { day, .. } => vec![("day", *day)],
            Shape::Random { every, .. } => vec![("every", *every)],
            Shape::Walk { every, relaxation, .. } => vec![("every", *every), ("relaxation", *relaxation)],
            Shape::Burst { mean_gap, mean_length, .. } => vec![("mean_gap", *mean_gap), ("mean_length", *mean_length)],
            Shape::Mmpp { mean_stays, .. } => mean_stays.iter().map(|&s| ("mean_stays", s)).collect(),
            _ => vec![],
        };
        // Curves are laid out in advance: below a millisecond they would fill memory and mean nothing.
        if let Some((field, span)) = spans.iter().find(|(_, span)| *span < Span::millis(1)) {
            return bad(field, span, "at least 1ms");
        }
        match self {
            Shape::Periodic { mean, amplitude, .. } if amplitude > mean => {
                bad("amplitude", amplitude, "at most mean, so that the rate stays at or above 0")
            }
            Shape::Diurnal { low, high, .. } | Shape::Random { low, high, .. } if high < low => {
                bad("high", high, "at least low")
            }
            Shape::Step { steps } if steps.is_empty() => bad("steps", &"none", "at least one"),
            Shape::Step { steps } if steps.windows(2).any(|w| w[1].0 <= w[0].0) => {
                bad("steps", &"times that do not ascend", "ascending times")
            }
            Shape::Mmpp { rates, mean_stays } if rates.is_empty() || rates.len() != mean_stays.len() => bad(
                "mean_stays",
                &format!("{} stays for {} rates", mean_stays.len(), rates.len()),
                "one for each rate, and at least one",
            ),
            Shape::Sum { of } | Shape::Product { of } => {
                if of.is_empty() {
                    return bad("of", &"nothing", "at least one shape");
                }
                of.iter().enumerate().find_map(|(index, shape)| {
                    shape.problem().map(|(field, found, expected)| (format!("of[{index}].{field}"), found, expected))
                })
            }
            _ => None,
        }
    }

    /// The shape's curve up to `end` seconds; random shapes draw theirs from `rng`.
    pub fn curve(&self, end: f64, rng: &mut Stream) -> Curve {
        match self {
            Shape::Constant { rate } => Curve::constant(*rate, end),
            Shape::Ramp { from, to, start, over } => {
                let (start, stop) = (start.as_secs_f64(), start.as_secs_f64() + over.as_secs_f64());
                let mut segments = vec![Segment { start: 0.0, from: *from, to: *from }];
                if start == 0.0 {
                    segments.clear();
                }
                segments.push(Segment { start, from: *from, to: *to });
                segments.push(Segment { start: stop, from: *to, to: *to });
                cut(segments, end)
            }
            Shape::Periodic { mean, amplitude, period, phase } => {
                let period = period.as_secs_f64();
                let phase = phase.as_secs_f64();
                smooth(end, period / PIECES, |t| mean + amplitude * (TAU * (t + phase) / period).sin())
            }
            Shape::Diurnal { low, high, day, peak_at } => {
                let (day, peak) = (day.as_secs_f64(), peak_at.as_secs_f64());
                smooth(end, day / (4.0 * PIECES), |t| {
                    let bell = 0.5 + 0.5 * (TAU * (t - peak) / day).cos();
                    low + (high - low) * bell.powf(1.5)
                })
            }
            Shape::Random { low, high, every } => stairs(end, every.as_secs_f64(), |_| rng.random_range(*low..=*high)),
            Shape::Walk { mean, deviation, relaxation, every } => {
                let every = every.as_secs_f64();
                let keep = (-every / relaxation.as_secs_f64()).exp();
                let noise = deviation * (1.0 - keep * keep).sqrt();
                let mut draw = || -> f64 { StandardNormal.sample(rng) };
                let mut offset = deviation * draw();
                let steps = (end / every).ceil() as usize;
                let mut segments = Vec::with_capacity(steps);
                for step in 0..steps {
                    let next = keep * offset + noise * draw();
                    let rate = |offset: f64| (mean + offset).max(0.0);
                    segments.push(Segment { start: step as f64 * every, from: rate(offset), to: rate(next) });
                    offset = next;
                }
                cut(segments, end)
            }
            Shape::Spike { base, peak, start, lasting } => {
                let start = start.as_secs_f64();
                alternate(*base, *peak, [start, lasting.as_secs_f64()].into_iter(), end)
            }
            Shape::Step { steps } => {
                let mut segments: Vec<Segment> = steps
                    .iter()
                    .map(|(at, rate)| Segment { start: at.as_secs_f64(), from: *rate, to: *rate })
                    .collect();
                segments[0].start = 0.0;
                cut(segments, end)
            }
            Shape::Burst { base, peak, mean_gap, mean_length } => {
                let means = [mean_gap.as_secs_f64(), mean_length.as_secs_f64()];
                let mut turn = 0;
                let stays = std::iter::from_fn(|| {
                    let unit: f64 = Exp1.sample(rng);
                    turn += 1;
                    Some(unit * means[(turn + 1) % 2])
                });
                alternate(*base, *peak, stays, end)
            }
            Shape::Mmpp { rates, mean_stays } => {
                let mut state = rng.random_range(0..rates.len());
                let (mut time, mut segments) = (0.0, Vec::new());
                while time < end {
                    segments.push(Segment { start: time, from: rates[state], to: rates[state] });
                    let unit: f64 = Exp1.sample(rng);
                    time += unit * mean_stays[state].as_secs_f64();
                    if rates.len() > 1 {
                        let other = rng.random_range(0..rates.len() - 1);
                        state = other + usize::from(other >= state);
                    }
                }
                Curve::new(segments, end)
            }
            Shape::Sum { of } => fold(of, end, rng, f64::INFINITY, |a, b| a + b),
            Shape::Product { of } => fold(of, end, rng, 1.0, |a, b| a * b),
        }
    }
}

fn fold(of: &[Shape], end: f64, rng: &mut Stream, resolution: f64, combine: fn(f64, f64) -> f64) -> Curve {
    let mut curves = of.iter().map(|shape| shape.curve(end, rng)).collect::<Vec<_>>().into_iter();
    let first = curves.next().unwrap_or_default();
    curves.fold(first, |a, b| a.combine(&b, resolution, combine))
}

fn cut(mut segments: Vec<Segment>, end: f64) -> Curve {
    // A segment that straddles the end keeps its slope: its far end moves to the curve's.
    let next_start = |segments: &[Segment], i: usize| segments.get(i + 1).map(|s| s.start);
    if let Some(last) = segments.iter().rposition(|s| s.start < end) {
        if let Some(stop) = next_start(&segments, last)
            && stop > end
        {
            let s = segments[last];
            segments[last].to = s.from + (s.to - s.from) * (end - s.start) / (stop - s.start);
        }
        segments.truncate(last + 1);
    }
    Curve::new(segments, end)
}

fn smooth(end: f64, step: f64, rate: impl Fn(f64) -> f64) -> Curve {
    let pieces = (end / step).ceil().max(1.0) as usize;
    let segments = (0..pieces)
        .map(|i| {
            let (start, stop) = (i as f64 * step, ((i + 1) as f64 * step).min(end));
            Segment { start, from: rate(start).max(0.0), to: rate(stop).max(0.0) }
        })
        .collect();
    Curve::new(segments, end)
}

fn stairs(end: f64, every: f64, mut rate: impl FnMut(usize) -> f64) -> Curve {
    let steps = (end / every).ceil().max(1.0) as usize;
    let segments = (0..steps)
        .map(|i| {
            let rate = rate(i);
            Segment { start: i as f64 * every, from: rate, to: rate }
        })
        .collect();
    Curve::new(segments, end)
}

/// `base` for the first stay, `peak` for the second, and so on; `base` once there are no more.
fn alternate(base: f64, peak: f64, stays: impl Iterator<Item = f64>, end: f64) -> Curve {
    let (mut time, mut high, mut segments) = (0.0, false, Vec::new());
    for stay in stays {
        if time >= end {
            break;
        }
        let rate = if high { peak } else { base };
        if stay > 0.0 {
            segments.push(Segment { start: time, from: rate, to: rate });
        }
        time += stay;
        high = !high;
    }
    if time < end {
        segments.push(Segment { start: time, from: base, to: base });
    }
    Curve::new(segments, end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    fn curve(shape: &Shape, end: f64) -> Curve {
        assert_eq!(shape.problem(), None);
        shape.curve(end, &mut stream(1, Purpose::Arrivals, 0))
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9 + expected.abs() * 1e-3, "{found} against {expected}");
    }

    #[test]
    fn shapes_have_the_rates_they_say() {
        let seconds = Span::secs;
        let ramp = curve(&Shape::Ramp { from: 2.0, to: 10.0, start: seconds(10), over: seconds(20) }, 60.0);
        for (t, rate) in [(0.0, 2.0), (9.0, 2.0), (20.0, 6.0), (30.0, 10.0), (59.0, 10.0)] {
            close(ramp.at(t), rate);
        }
        let cut_ramp = curve(&Shape::Ramp { from: 0.0, to: 10.0, start: seconds(0), over: seconds(20) }, 10.0);
        close(cut_ramp.integral(), 25.0);
        let sine =
            curve(&Shape::Periodic { mean: 10.0, amplitude: 5.0, period: seconds(60), phase: seconds(0) }, 120.0);
        for (t, rate) in [(0.0, 10.0), (15.0, 15.0), (45.0, 5.0)] {
            close(sine.at(t), rate);
        }
        close(sine.integral(), 1200.0);
        let spike = curve(&Shape::Spike { base: 1.0, peak: 9.0, start: seconds(10), lasting: seconds(5) }, 20.0);
        close(spike.integral(), 15.0 + 45.0);
        let spike_now = curve(&Shape::Spike { base: 1.0, peak: 9.0, start: seconds(0), lasting: seconds(5) }, 20.0);
        close(spike_now.at(0.0), 9.0);
        let step = curve(&Shape::Step { steps: vec![(seconds(5), 3.0), (seconds(10), 7.0)] }, 20.0);
        close(step.integral(), 30.0 + 70.0);
        let sum = curve(&Shape::Sum { of: vec![Shape::Constant { rate: 1.0 }, Shape::Constant { rate: 2.0 }] }, 5.0);
        close(sum.integral(), 15.0);
        let day =
            curve(&Shape::Diurnal { low: 1.0, high: 9.0, day: seconds(86_400), peak_at: seconds(50_400) }, 86_400.0);
        close(day.at(50_400.0), 9.0);
        close(day.at(7_200.0), 1.0);
    }

    #[test]
    fn random_shapes_have_their_moments() {
        let seconds = Span::secs;
        let mean = |curve: &Curve| curve.integral() / curve.end();
        let random = curve(&Shape::Random { low: 10.0, high: 100.0, every: seconds(30) }, 600_000.0);
        assert!((mean(&random) - 55.0).abs() < 1.0);
        let walk = Shape::Walk { mean: 50.0, deviation: 10.0, relaxation: seconds(60), every: seconds(5) };
        let walk = curve(&walk, 600_000.0);
        assert!((mean(&walk) - 50.0).abs() < 1.0);
        let n = 100_000;
        let variance = (0..n).map(|i| (walk.at(i as f64 * 5.0) - 50.0).powi(2)).sum::<f64>() / f64::from(n);
        assert!((variance.sqrt() - 10.0).abs() < 0.3, "{variance}");
        let burst = Shape::Burst { base: 1.0, peak: 11.0, mean_gap: seconds(90), mean_length: seconds(10) };
        assert!((mean(&curve(&burst, 1e6)) - 2.0).abs() < 0.1);
        let mmpp = Shape::Mmpp { rates: vec![1.0, 4.0], mean_stays: vec![seconds(20), seconds(10)] };
        assert!((mean(&curve(&mmpp, 1e6)) - 2.0).abs() < 0.05);
    }

    #[test]
    fn bad_shapes_are_named() {
        let nested = Shape::Sum { of: vec![Shape::Constant { rate: 1.0 }, Shape::Constant { rate: f64::NAN }] };
        let (field, found, _) = nested.problem().expect("NaN");
        assert_eq!((field.as_str(), found.as_str()), ("of[1].rate", "NaN"));
        assert!(Shape::Random { low: 3.0, high: 1.0, every: Span::secs(1) }.problem().is_some());
        assert!(
            Shape::Walk { mean: 1.0, deviation: 1.0, relaxation: Span::secs(1), every: Span::secs(0) }
                .problem()
                .is_some()
        );
    }
}
