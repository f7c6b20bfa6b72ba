//! What is forecast, and by which models.

use std::fmt;

/// What a forecast is of, over the steps from `horizon_from` to `horizon_to` ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForecastTarget {
    /// The largest value of those steps: what capacity has to be ready for.
    Maximum,
    /// The value at `horizon_to`.
    Value,
}

/// The length of the season.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Season {
    /// There is none.
    None,
    /// That many steps, at least 2.
    Steps(usize),
    /// Looked for in the autocorrelation of the history.
    Detect {
        /// The longest season looked for, in steps; half the capacity at most.
        max_steps: usize,
    },
}

/// What models are compared by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// The absolute error, which the median minimises.
    Absolute,
    /// The pinball loss of a quantile in (0, 1), which that quantile minimises: `q` times what a forecast was too low,
    /// `1 - q` times what it was too high.
    Pinball(f64),
}

impl Loss {
    /// The loss of a forecast that was `residual` too low.
    pub fn of(self, residual: f64) -> f64 {
        match self {
            Self::Absolute => residual.abs(),
            Self::Pinball(q) if residual >= 0.0 => q * residual,
            Self::Pinball(q) => (q - 1.0) * residual,
        }
    }
}

/// Which models take part; without any, persistence does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Models {
    /// The last value.
    pub persistence: bool,
    /// The largest value of the last 1, 3 and 10 horizons.
    pub maximum: bool,
    /// Exponential smoothing with a damped trend: 18 sets of parameters.
    pub holt: bool,
    /// Exponential smoothing with a trend and an additive season: 12 sets of parameters.
    pub holt_winters: bool,
    /// The values of the last season.
    pub seasonal_naive: bool,
}

impl Models {
    /// All models.
    pub const ALL: Self =
        Self { persistence: true, maximum: true, holt: true, holt_winters: true, seasonal_naive: true };
    /// None, to switch on what is wanted.
    pub const NONE: Self =
        Self { persistence: false, maximum: false, holt: false, holt_winters: false, seasonal_naive: false };
}

/// The settings of a [`super::Forecaster`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForecastConfig {
    /// Steps of history that are kept: 1024. Raised where a season of given length needs twice its steps.
    pub capacity: usize,
    /// The first step ahead that counts, 1 at least: 1.
    pub horizon_from: usize,
    /// The last step ahead that counts, `horizon_from` at least: 1.
    pub horizon_to: usize,
    /// What is forecast of those steps: the maximum.
    pub target: ForecastTarget,
    /// The season: looked for, up to 512 steps.
    pub season: Season,
    /// By which share the history has to have grown until a season is looked for again, above 0: 1, when it has doubled.
    pub search_growth: f64,
    /// What models are compared by: the absolute error.
    pub loss: Loss,
    /// How much a loss counts one step later, in [0, 1]: 0.99, which remembers some hundred steps.
    pub discount: f64,
    /// The models that take part: all.
    pub models: Models,
}

impl Default for ForecastConfig {
    fn default() -> Self {
        Self {
            capacity: 1024,
            horizon_from: 1,
            horizon_to: 1,
            target: ForecastTarget::Maximum,
            season: Season::Detect { max_steps: 512 },
            search_growth: 1.0,
            loss: Loss::Absolute,
            discount: 0.99,
            models: Models::ALL,
        }
    }
}

impl ForecastConfig {
    /// The settings with what is out of range brought into it.
    pub(super) fn normal(mut self) -> Self {
        self.capacity = self.capacity.max(2);
        self.horizon_from = self.horizon_from.max(1);
        self.horizon_to = self.horizon_to.max(self.horizon_from);
        if let Season::Steps(steps) = &mut self.season {
            *steps = (*steps).max(2);
            self.capacity = self.capacity.max(steps.saturating_mul(2));
        }
        if let Season::Detect { max_steps } = &mut self.season {
            *max_steps = (*max_steps).min(self.capacity / 2);
        }
        // NaN becomes 1 in both.
        self.search_growth = if self.search_growth <= 1e6 { self.search_growth.max(0.0) } else { 1.0 };
        self.discount = if (0.0..1.0).contains(&self.discount) { self.discount } else { 1.0 };
        if let Loss::Pinball(q) = &mut self.loss {
            *q = q.clamp(0.0, 1.0);
            if q.is_nan() {
                *q = 0.5;
            }
        }
        if self.models == Models::NONE {
            self.models.persistence = true;
        }
        self
    }
}

/// A model with its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ModelName {
    /// The last value.
    Persistence,
    /// The largest of the last values.
    Maximum {
        /// How many steps back.
        steps: usize,
    },
    /// Holt's exponential smoothing with a damped trend.
    Holt {
        /// Weight of the newest value in the level.
        alpha: f64,
        /// Weight of the newest change of the level in the trend.
        beta: f64,
        /// What is left of the trend after a step; 1 for no damping.
        phi: f64,
    },
    /// Holt–Winters with a trend and an additive season.
    HoltWinters {
        /// Weight of the newest value in the level.
        alpha: f64,
        /// Weight of the newest change of the level in the trend.
        beta: f64,
        /// Weight of the newest value in its place of the season.
        gamma: f64,
    },
    /// The values of the last season.
    SeasonalNaive,
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Persistence => f.write_str("persistence"),
            Self::Maximum { steps } => write!(f, "maximum of {steps} steps"),
            Self::Holt { alpha, beta, phi } => write!(f, "Holt (alpha {alpha}, beta {beta}, phi {phi})"),
            Self::HoltWinters { alpha, beta, gamma } => {
                write!(f, "Holt-Winters (alpha {alpha}, beta {beta}, gamma {gamma})")
            }
            Self::SeasonalNaive => f.write_str("seasonal naive"),
        }
    }
}
