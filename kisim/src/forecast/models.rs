//! The models, each updated by one value at a time.
//!
//! A step without a value moves a model on by what it expects: trends go on, seasons turn, levels stay.

use super::config::{ForecastConfig, ForecastTarget, ModelName};
use super::history::SlidingMax;

/// The steps ahead that a forecast is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Horizon {
    from: usize,
    to: usize,
}

impl Horizon {
    /// Of the value at a step, only that step.
    pub(super) const fn new(config: &ForecastConfig) -> Self {
        let from = match config.target {
            ForecastTarget::Maximum => config.horizon_from,
            ForecastTarget::Value => config.horizon_to,
        };
        Self { from, to: config.horizon_to }
    }

    pub(super) const fn steps(self) -> usize {
        self.to - self.from + 1
    }
}

/// A season as it begins: two seasons of values fitted by a line and a mean deviation per place.
#[derive(Clone, Debug)]
pub(super) struct SeasonFit {
    level: f64,
    trend: f64,
    deviations: Vec<f64>,
}

impl SeasonFit {
    /// With memory for seasons of up to `steps`.
    pub(super) fn new(steps: usize) -> Self {
        Self { level: 0.0, trend: 0.0, deviations: Vec::with_capacity(steps) }
    }

    /// What memory it holds, in values.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.deviations.capacity()
    }

    /// Fits the first two seasons of `values`, of `period` steps each, without gaps. Exact for a line plus a season.
    /// False if there are not as many values.
    pub(super) fn fit(&mut self, values: &[f64], period: usize) -> bool {
        let Some((first, rest)) = values.split_at_checked(period) else { return false };
        let Some(second) = rest.get(..period) else { return false };
        let count = period as f64;
        let mean = |season: &[f64]| season.iter().sum::<f64>() / count;
        let begin = mean(first);
        self.trend = (mean(second) - begin) / count;
        // The mean of a season is the line in its middle.
        let middle = (count - 1.0) / 2.0;
        let line = |step: usize| begin + self.trend * (step as f64 - middle);
        self.deviations.clear();
        self.deviations
            .extend(first.iter().zip(second).enumerate().map(|(i, (a, b))| (a - line(i) + b - line(i + period)) / 2.0));
        self.level = line(2 * period - 1);
        true
    }
}

/// One model with its state.
#[derive(Clone, Debug)]
pub(super) enum Model {
    Persistence {
        last: Option<f64>,
    },
    Maximum {
        window: SlidingMax,
        last: Option<f64>,
        step: u64,
        steps: usize,
    },
    Holt {
        parameters: [f64; 3],
        /// The sums of `phi` to the powers 1 to h, for the ends of the horizon.
        sums: (f64, f64),
        state: HoltState,
    },
    HoltWinters {
        parameters: [f64; 3],
        level: f64,
        trend: f64,
        season: Vec<f64>,
        /// The place in the season of the next step.
        next: usize,
    },
    SeasonalNaive {
        season: Vec<f64>,
        next: usize,
    },
}

/// Holt's level and trend; two values make them.
#[derive(Clone, Copy, Debug)]
pub(super) enum HoltState {
    Empty,
    /// The first value, and steps since.
    One(f64, u32),
    Running {
        level: f64,
        trend: f64,
    },
}

/// All models of a configuration. Memory for seasons of up to `season` steps is set aside at once.
pub(super) fn members(config: &ForecastConfig, season: usize) -> Vec<Model> {
    let horizon = Horizon::new(config);
    let mut members = Vec::new();
    if config.models.persistence {
        members.push(Model::Persistence { last: None });
    }
    if config.models.maximum {
        for horizons in [1, 3, 10] {
            let steps = config.horizon_to.saturating_mul(horizons).min(config.capacity);
            members.push(Model::Maximum { window: SlidingMax::new(steps), last: None, step: 0, steps });
        }
    }
    const ALPHAS: [f64; 3] = [0.2, 0.5, 0.8];
    const BETAS: [f64; 2] = [0.05, 0.2];
    for alpha in ALPHAS {
        for beta in BETAS {
            if config.models.holt {
                for phi in [0.9, 0.98, 1.0] {
                    let sums = (damped_sum(phi, horizon.from), damped_sum(phi, horizon.to));
                    members.push(Model::Holt { parameters: [alpha, beta, phi], sums, state: HoltState::Empty });
                }
            }
            if config.models.holt_winters && season > 0 {
                for gamma in [0.1, 0.3] {
                    members.push(Model::HoltWinters {
                        parameters: [alpha, beta, gamma],
                        level: 0.0,
                        trend: 0.0,
                        season: Vec::with_capacity(season),
                        next: 0,
                    });
                }
            }
        }
    }
    if config.models.seasonal_naive && season > 0 {
        members.push(Model::SeasonalNaive { season: Vec::with_capacity(season), next: 0 });
    }
    members
}

/// `phi + phi^2 + ... + phi^steps`.
fn damped_sum(phi: f64, steps: usize) -> f64 {
    let (mut power, mut sum) = (1.0, 0.0);
    for _ in 0..steps {
        power *= phi;
        sum += power;
    }
    sum
}

impl Model {
    pub(super) fn name(&self) -> ModelName {
        match *self {
            Self::Persistence { .. } => ModelName::Persistence,
            Self::Maximum { steps, .. } => ModelName::Maximum { steps },
            Self::Holt { parameters: [alpha, beta, phi], .. } => ModelName::Holt { alpha, beta, phi },
            Self::HoltWinters { parameters: [alpha, beta, gamma], .. } => ModelName::HoltWinters { alpha, beta, gamma },
            Self::SeasonalNaive { .. } => ModelName::SeasonalNaive,
        }
    }

    pub(super) const fn is_seasonal(&self) -> bool {
        matches!(self, Self::HoltWinters { .. } | Self::SeasonalNaive { .. })
    }

    /// Begins a season anew, after the two seasons that were fitted.
    pub(super) fn begin_season(&mut self, fit: &SeasonFit, last_season: &[f64]) {
        match self {
            Self::HoltWinters { level, trend, season, next, .. } => {
                (*level, *trend, *next) = (fit.level, fit.trend, 0);
                season.clear();
                season.extend_from_slice(&fit.deviations);
            }
            Self::SeasonalNaive { season, next } => {
                *next = 0;
                season.clear();
                season.extend_from_slice(last_season);
            }
            _ => (),
        }
    }

    /// What memory it holds, in values.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        match self {
            Self::Maximum { window, .. } => window.allocated(),
            Self::HoltWinters { season, .. } | Self::SeasonalNaive { season, .. } => season.capacity(),
            _ => 0,
        }
    }

    /// Takes the value of the next step, or that there is none.
    pub(super) fn update(&mut self, value: Option<f64>) {
        match self {
            Self::Persistence { last } => *last = value.or(*last),
            Self::Maximum { window, last, step, .. } => {
                window.push(*step, value);
                *step += 1;
                *last = value.or(*last);
            }
            Self::Holt { parameters: [alpha, beta, phi], state, .. } => {
                *state = state.after(value, *alpha, *beta, *phi);
            }
            Self::HoltWinters { parameters: [alpha, beta, gamma], level, trend, season, next } => {
                let Some(place) = season.get_mut(*next) else { return };
                let expected = *level + *trend;
                let error = value.map_or(0.0, |value| value - expected - *place);
                *level = expected + *alpha * error;
                *trend += *alpha * *beta * error;
                *place += *gamma * (1.0 - *alpha) * error;
                *next = if *next + 1 == season.len() { 0 } else { *next + 1 };
            }
            Self::SeasonalNaive { season, next } => {
                let Some(place) = season.get_mut(*next) else { return };
                *place = value.unwrap_or(*place);
                *next = if *next + 1 == season.len() { 0 } else { *next + 1 };
            }
        }
    }

    /// The largest value over the horizon; `None` before there is enough to go by.
    pub(super) fn forecast(&self, horizon: Horizon) -> Option<f64> {
        match self {
            Self::Persistence { last } => *last,
            Self::Maximum { window, last, .. } => window.get().or(*last),
            Self::Holt { sums, state, .. } => match *state {
                // Between the ends of the horizon the trend only goes one way.
                HoltState::Running { level, trend } => Some(level + (sums.0 * trend).max(sums.1 * trend)),
                _ => None,
            },
            Self::HoltWinters { level, trend, season, next, .. } => {
                let places = ahead(season, *next, horizon)?;
                let first = horizon.from as f64;
                let start = (f64::NEG_INFINITY, first * *trend);
                let (highest, _) = places
                    .take(horizon.steps())
                    .fold(start, |(highest, rise), &place| (highest.max(rise + place), rise + *trend));
                Some(*level + highest)
            }
            Self::SeasonalNaive { season, next } => {
                // After a whole season they come again.
                let count = horizon.steps().min(season.len());
                Some(ahead(season, *next, horizon)?.take(count).fold(f64::NEG_INFINITY, |a, &b| a.max(b)))
            }
        }
    }
}

/// The places of a season from the beginning of the horizon on, without end.
fn ahead(season: &[f64], next: usize, horizon: Horizon) -> Option<impl Iterator<Item = &f64>> {
    let at = (next + horizon.from - 1).checked_rem(season.len())?;
    let (before, after) = season.split_at(at);
    Some(after.iter().chain(before.iter().chain(after).cycle()))
}

impl HoltState {
    fn after(self, value: Option<f64>, alpha: f64, beta: f64, phi: f64) -> Self {
        match (self, value) {
            (Self::Empty, None) => Self::Empty,
            (Self::Empty, Some(value)) => Self::One(value, 0),
            (Self::One(first, gap), None) => Self::One(first, gap.saturating_add(1)),
            (Self::One(first, gap), Some(value)) => {
                Self::Running { level: value, trend: (value - first) / (f64::from(gap) + 1.0) }
            }
            (Self::Running { level, trend }, value) => {
                let expected = level + phi * trend;
                let error = value.map_or(0.0, |value| value - expected);
                Self::Running { level: expected + alpha * error, trend: phi * trend + alpha * beta * error }
            }
        }
    }
}
