//! What the models recover, what is chosen, and what holds for every series.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use rand_distr::{Distribution, Exp1, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

use super::{ForecastConfig, ForecastTarget, Forecaster, Loss, ModelName, Models, Season};

const HOLT: Models = Models { holt: true, ..Models::NONE };
const HOLT_WINTERS: Models = Models { holt_winters: true, ..Models::NONE };

fn rng(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

fn normal(rng: &mut Xoshiro256PlusPlus) -> f64 {
    StandardNormal.sample(rng)
}

fn fed(config: ForecastConfig, values: impl IntoIterator<Item = f64>) -> Forecaster {
    let mut forecaster = Forecaster::new(config);
    for value in values {
        forecaster.observe(value);
    }
    forecaster
}

/// A line with a season of 12 steps.
fn seasonal_line(step: usize) -> f64 {
    const SEASON: [f64; 12] = [5.0, 9.0, 2.0, -3.0, 0.0, 1.0, -7.0, -4.0, 8.0, 3.0, -6.0, -8.0];
    100.0 + 0.25 * step as f64 + SEASON[step % 12]
}

fn sine(step: usize, period: usize) -> f64 {
    (step as f64 / period as f64 * std::f64::consts::TAU).sin()
}

#[test]
fn nothing_before_the_first_value() {
    let mut forecaster = Forecaster::new(ForecastConfig::default());
    assert!(forecaster.forecast(0.5).is_none());
    forecaster.skip();
    forecaster.observe(f64::NAN);
    assert!(forecaster.forecast(0.5).is_none());
    forecaster.observe(3.0);
    let forecast = forecaster.forecast(0.9).unwrap();
    assert_eq!((forecast.value, forecast.quantile, forecast.model), (3.0, 3.0, ModelName::Persistence));
    // A history of nothing but gaps is no data.
    for _ in 0..forecaster.config().capacity {
        forecaster.skip();
    }
    assert!(forecaster.forecast(0.5).is_none());
}

#[test]
fn holt_recovers_a_line() {
    for (slope, target, want) in [
        (2.0, ForecastTarget::Maximum, 2.0 * 109.0),
        (-2.0, ForecastTarget::Maximum, -2.0 * 102.0),
        (-2.0, ForecastTarget::Value, -2.0 * 109.0),
    ] {
        let config =
            ForecastConfig { horizon_from: 3, horizon_to: 10, target, models: HOLT, ..ForecastConfig::default() };
        let forecaster = fed(config, (0..100).map(|i| 10.0 + slope * f64::from(i)));
        let forecast = forecaster.forecast(0.9).unwrap();
        assert!((forecast.value - 10.0 - want).abs() < 1e-9, "{slope} {target:?}: {forecast:?}");
        assert!(matches!(forecast.model, ModelName::Holt { phi, .. } if phi > 0.99), "{}", forecast.model);
    }
}

#[test]
fn holt_winters_recovers_a_line_with_a_season() {
    for season in [Season::Steps(12), Season::Detect { max_steps: 100 }] {
        for (horizon_from, horizon_to, target) in
            [(1, 1, ForecastTarget::Value), (5, 40, ForecastTarget::Maximum), (2, 7, ForecastTarget::Maximum)]
        {
            let config = ForecastConfig {
                horizon_from,
                horizon_to,
                target,
                season,
                models: HOLT_WINTERS,
                ..ForecastConfig::default()
            };
            let forecaster = fed(config, (0..300).map(seasonal_line));
            assert_eq!(forecaster.season(), Some(12));
            let want = (299 + horizon_from..=299 + horizon_to).map(seasonal_line).fold(f64::NEG_INFINITY, f64::max);
            let forecast = forecaster.forecast(0.5).unwrap();
            assert!((forecast.value - want).abs() < 1e-6, "{season:?} {horizon_to}: {forecast:?}, expected {want}");
        }
    }
}

#[test]
fn seasonal_naive_repeats_the_season() {
    let models = Models { seasonal_naive: true, ..Models::NONE };
    let config = ForecastConfig { season: Season::Steps(7), horizon_to: 3, models, ..ForecastConfig::default() };
    let values = [1.0, 9.0, 2.0, 4.0, 8.0, 3.0, 0.0];
    let mut forecaster = fed(config, (0..70).map(|i| values[i % 7]));
    for i in 70..140 {
        let want = (0..3).map(|h| values[(i + h) % 7]).fold(0.0, f64::max);
        assert!((forecaster.forecast(0.5).unwrap().value - want).abs() < 1e-12, "{i}");
        if i % 5 == 0 { forecaster.skip() } else { forecaster.observe(values[i % 7]) }
    }
}

#[test]
fn moving_maximum() {
    let models = Models { maximum: true, ..Models::NONE };
    let config = ForecastConfig { horizon_to: 4, models, ..ForecastConfig::default() };
    let forecaster = fed(config, [7.0, 1.0, 2.0, 3.0, 1.0, 1.0]);
    assert_eq!(forecaster.forecast(0.5).unwrap().value, 3.0);
}

#[test]
fn season_is_detected() {
    let mut noise = rng(7);
    let mut noisy = |period: usize, sd: f64| -> Vec<f64> {
        (0..1000).map(|i| 20.0 + 10.0 * sine(i, period) + sd * normal(&mut noise)).collect()
    };
    let square =
        |period: usize| -> Vec<f64> { (0..1000).map(|i| if i % period < period / 2 { 10.0 } else { 2.0 }).collect() };
    let pulse: Vec<f64> = (0..1000).map(|i| if i % 60 == 5 { 50.0 } else { 1.0 }).collect();
    let drifting: Vec<f64> = (0..1000).map(|i| 0.5 * i as f64 + 10.0 * sine(i, 48)).collect();
    for (name, values, want) in [
        ("sine", noisy(24, 0.0), 24),
        ("sine and noise", noisy(24, 3.0), 24),
        ("longer sine and noise", noisy(100, 2.0), 100),
        ("square wave", square(40), 40),
        ("pulse", pulse, 60),
        ("sine on a line", drifting, 48),
    ] {
        let forecaster = fed(ForecastConfig { capacity: 1000, ..ForecastConfig::default() }, values);
        let season = forecaster.season().unwrap_or(0);
        // With noise the top of the hill can be a few percent off.
        assert!(season.abs_diff(want) <= want / 25, "{name}: {season}");
    }
    let white = fed(ForecastConfig::default(), (0..2000).map(|_| normal(&mut noise)));
    assert_eq!(white.season(), None);
    assert_eq!(fed(ForecastConfig::default(), (0..2000).map(|_| 5.0)).season(), None);
    assert_eq!(fed(ForecastConfig::default(), (0..2000).map(f64::from)).season(), None);
}

#[test]
fn a_new_season_replaces_the_old() {
    let values = (0..600).map(|i| sine(i, 20)).chain((0..1500).map(|i| sine(i, 31)));
    let forecaster = fed(ForecastConfig { capacity: 512, ..ForecastConfig::default() }, values);
    assert_eq!(forecaster.season(), Some(31));
    let forecast = forecaster.forecast(0.5).unwrap();
    assert!((forecast.value - sine(1500, 31)).abs() < 0.05, "{forecast:?}");
}

#[test]
fn the_seasonal_model_wins_on_a_season() {
    let mut noise = rng(3);
    let values = (0..600).map(|i| 50.0 + 20.0 * sine(i, 48) + normal(&mut noise));
    let config = ForecastConfig { horizon_from: 10, horizon_to: 20, ..ForecastConfig::default() };
    let forecaster = fed(config, values);
    let forecast = forecaster.forecast(0.5).unwrap();
    assert!(matches!(forecast.model, ModelName::HoltWinters { .. } | ModelName::SeasonalNaive), "{}", forecast.model);
    let score = |wanted: fn(&ModelName) -> bool| {
        forecaster.scores().filter(|(name, _)| wanted(name)).filter_map(|(_, s)| s).fold(f64::INFINITY, f64::min)
    };
    assert!(score(|n| matches!(n, ModelName::HoltWinters { .. })) < 0.2 * score(|n| *n == ModelName::Persistence));
}

#[test]
fn persistence_wins_on_a_random_walk() {
    let mut chosen = 0;
    for seed in 0..20 {
        let mut noise = rng(seed);
        let mut value = 1000.0;
        let mut forecaster = Forecaster::new(ForecastConfig {
            discount: 0.999,
            target: ForecastTarget::Value,
            ..ForecastConfig::default()
        });
        for _ in 0..2000 {
            value += normal(&mut noise);
            forecaster.observe(value);
        }
        chosen += i32::from(forecaster.forecast(0.5).unwrap().model == ModelName::Persistence);
    }
    assert!(chosen >= 18, "{chosen} of 20");
}

#[test]
fn quantiles_cover_what_they_say() {
    for q in [0.1, 0.5, 0.9, 0.95] {
        for loss in [Loss::Absolute, Loss::Pinball(q)] {
            let mut noise = rng(11);
            let mut forecaster = Forecaster::new(ForecastConfig { loss, ..ForecastConfig::default() });
            let (mut below, mut count) = (0, 0);
            for i in 0..6000 {
                let value = 100.0 + 10.0 * normal(&mut noise);
                if i > 1000 {
                    count += 1;
                    below += i32::from(value <= forecaster.forecast(q).unwrap().quantile);
                }
                forecaster.observe(value);
            }
            let coverage = f64::from(below) / f64::from(count);
            // 0.03 is about 4 standard deviations with 256 errors at a time.
            assert!((coverage - q).abs() < 0.03, "{q} {loss:?}: {coverage}");
        }
    }
}

#[test]
fn quantiles_are_never_below_zero_and_rise() {
    let forecaster = fed(ForecastConfig::default(), (0..100).map(|i| f64::from((i * 7919) % 13)));
    let quantiles: Vec<f64> =
        [0.0, 0.001, 0.3, 0.6, 0.99, 1.0, f64::NAN].iter().map(|&q| forecaster.forecast(q).unwrap().quantile).collect();
    assert!(quantiles.iter().all(|&x| x >= 0.0 && x.is_finite()), "{quantiles:?}");
    assert!(quantiles[..6].windows(2).all(|pair| pair[0] <= pair[1]), "{quantiles:?}");
}

#[test]
fn gaps_keep_the_time() {
    // Every third step is missing, and once a stretch of 30.
    let missing = |i: usize| i % 3 == 1 || (200..230).contains(&i);
    let play = |config: ForecastConfig, series: &dyn Fn(usize) -> f64, steps: usize| {
        let mut forecaster = Forecaster::new(config);
        for i in 0..steps {
            if missing(i) { forecaster.skip() } else { forecaster.observe(series(i)) }
        }
        forecaster
    };
    let line = |i: usize| 3.0 + 2.0 * i as f64;
    let config = ForecastConfig { horizon_to: 5, models: HOLT, ..ForecastConfig::default() };
    for steps in [100, 215, 232] {
        let forecast = play(config, &line, steps).forecast(0.5).unwrap();
        let want = line(steps + 4);
        assert!((forecast.value - want).abs() < 1e-6, "{steps}: {forecast:?}, expected {want}");
    }
    let season = |i: usize| 50.0 + 10.0 * sine(i, 24);
    let config = ForecastConfig { season: Season::Steps(24), models: HOLT_WINTERS, ..ForecastConfig::default() };
    for steps in [215, 228, 400] {
        let forecast = play(config, &season, steps).forecast(0.5).unwrap();
        let want = season(steps);
        assert!((forecast.value - want).abs() < 2.0, "{steps}: {forecast:?}, expected {want}");
    }
    let detected = play(ForecastConfig::default(), &season, 1000);
    assert_eq!(detected.season(), Some(24));
}

#[test]
fn memory_does_not_grow() {
    let config = ForecastConfig { horizon_to: 30, ..ForecastConfig::default() };
    let mut forecaster = Forecaster::new(config);
    let mut noise = rng(1);
    let at_first = forecaster.allocated();
    for i in 0..100_000_usize {
        let value = 100.0 + 50.0 * sine(i, 60 + i / 30_000 * 17) + normal(&mut noise);
        if i % 11 == 0 {
            forecaster.skip()
        } else {
            forecaster.observe(value)
        }
        if i % 10_000 == 0 {
            assert_eq!(forecaster.allocated(), at_first, "after {i} steps");
        }
    }
    assert!(forecaster.season().is_some());
}

#[test]
#[allow(clippy::print_stderr, reason = "the figure is what the test is for")]
fn an_update_is_quick() {
    // Without optimisation of this crate, or on a busy machine, the same takes longer.
    for (horizon_to, limit) in [(1, Duration::from_micros(10)), (60, Duration::from_micros(40))] {
        let config = ForecastConfig { horizon_to, season: Season::Steps(60), ..ForecastConfig::default() };
        let mut forecaster = fed(config, (0..1000).map(|i| 10.0 + sine(i, 60)));
        assert_eq!(forecaster.scores().count(), 35);
        let mut best = Duration::MAX;
        for batch in 0..50 {
            let start = Instant::now();
            for i in 0..100 {
                forecaster.observe(10.0 + sine(batch * 100 + i, 60));
            }
            best = best.min(start.elapsed() / 100);
        }
        eprintln!("horizon {horizon_to}: {best:?} an update");
        assert!(best < limit, "horizon {horizon_to}: {best:?}");
    }
}

fn configs() -> impl Strategy<Value = ForecastConfig> {
    let season = prop_oneof![
        Just(Season::None),
        (0..40_usize).prop_map(Season::Steps),
        (0..200_usize).prop_map(|max_steps| Season::Detect { max_steps }),
    ];
    let target = prop::sample::select(vec![ForecastTarget::Maximum, ForecastTarget::Value]);
    let loss = prop_oneof![Just(Loss::Absolute), (0.0..=1.0_f64).prop_map(Loss::Pinball)];
    (0..300_usize, 0..12_usize, 0..20_usize, target, season, loss, 0.0..=1.0_f64, any::<[bool; 5]>()).prop_map(
        |(capacity, horizon_from, horizon_to, target, season, loss, discount, on)| ForecastConfig {
            capacity,
            horizon_from,
            horizon_to,
            target,
            season,
            search_growth: [1.0, 0.2, 0.0, f64::NAN][capacity % 4],
            loss,
            discount,
            models: Models {
                persistence: on[0],
                maximum: on[1],
                holt: on[2],
                holt_winters: on[3],
                seasonal_naive: on[4],
            },
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_nan(
        config in configs(),
        values in prop::collection::vec(
            prop_oneof![4 => (-1e3..1e6_f64).prop_map(Some), 1 => Just(None), 1 => any::<f64>().prop_map(Some)],
            1..300,
        ),
        q in any::<f64>(),
    ) {
        let mut forecaster = Forecaster::new(config);
        let mut any = false;
        for value in values {
            match value {
                Some(value) => forecaster.observe(value),
                None => forecaster.skip(),
            }
            any |= value.is_some_and(f64::is_finite);
            if let Some(forecast) = forecaster.forecast(q) {
                prop_assert!(any);
                prop_assert!(forecast.value.is_finite() && forecast.quantile.is_finite(), "{forecast:?}");
                prop_assert!(forecast.quantile >= 0.0);
            }
            for (name, score) in forecaster.scores() {
                prop_assert!(score.is_none_or(f64::is_finite), "{name}: {score:?}");
            }
            let scores: Vec<_> = forecaster.scores().collect();
            for (name, says, score) in forecaster.says() {
                prop_assert!(says.is_finite() && scores.contains(&(name, score)), "{name}: {says}");
            }
            if let Some(forecast) = forecaster.forecast(q) {
                let said = forecaster.says().find(|(name, ..)| *name == forecast.model);
                prop_assert_eq!(said.map(|s| s.1), Some(forecast.value));
            }
        }
    }

    #[test]
    fn scaling_scales(config in configs(), power in -20..20_i32, seed in any::<u64>()) {
        let mut noise = rng(seed);
        let factor = 2.0_f64.powi(power);
        let (mut one, mut other) = (Forecaster::new(config), Forecaster::new(config));
        for i in 0..300 {
            let wait: f64 = Exp1.sample(&mut noise);
            let value = 20.0 + 10.0 * sine(i, 24) + 5.0 * wait;
            one.observe(value);
            other.observe(factor * value);
            match (one.forecast(0.9), other.forecast(0.9)) {
                (Some(a), Some(b)) => {
                    prop_assert_eq!(a.model, b.model);
                    prop_assert!((factor * a.value - b.value).abs() <= 1e-9 * b.value.abs());
                    prop_assert!((factor * a.quantile - b.quantile).abs() <= 1e-9 * b.quantile.abs());
                }
                (a, b) => prop_assert_eq!(a.is_some(), b.is_some()),
            }
        }
    }

    #[test]
    fn a_constant_is_forecast(config in configs(), value in 0.1..1e6_f64) {
        let forecaster = fed(config, std::iter::repeat_n(value, 200));
        if let Some(forecast) = forecaster.forecast(0.9) {
            prop_assert!((forecast.value - value).abs() <= 1e-9 * value, "{forecast:?}");
            prop_assert!((forecast.quantile - value).abs() <= 1e-9 * value, "{forecast:?}");
        }
    }
}
