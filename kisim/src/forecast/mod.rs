//! Forecasts of a demand series, from nothing but its past: no clock, no randomness, bounded memory.
//!
//! The series has one value per step, and a step is as many seconds as the caller likes; nothing here goes by them. A
//! [`Forecaster`] keeps a number of simple models, lets each of them forecast at every step, and compares what they said
//! with what came. The forecast is that of the model that has done best lately, and the spread around it is that of its
//! own errors.
//!
//! | module | holds | after |
//! |---|---|---|
//! | `models` | persistence, moving maximum, Holt with damped trend, Holt–Winters, seasonal naive | Holt 1957; Winters 1960; Gardner and McKenzie 1985, "Forecasting trends in time series" |
//! | `season` | the length of the season from the autocorrelation | Box and Jenkins 1970, chapter 2 |
//! | `backtest` | discounted losses and the latest errors | Gneiting 2011, "Making and evaluating point forecasts" |
//!
//! ```
//! use kisim::forecast::{ForecastConfig, Forecaster};
//! // The largest value of the next one to five steps.
//! let mut forecaster = Forecaster::new(ForecastConfig { horizon_to: 5, ..ForecastConfig::default() });
//! for step in 0..100 {
//!     forecaster.observe(10.0 + 2.0 * f64::from(step));
//! }
//! let forecast = forecaster.forecast(0.9).unwrap();
//! assert!((forecast.value - 218.0).abs() < 1e-6, "{}", forecast.model);
//! ```

mod backtest;
mod config;
mod forecaster;
mod history;
mod models;
mod season;

#[cfg(test)]
mod tests;

pub use config::{ForecastConfig, ForecastTarget, Loss, ModelName, Models, Season};
pub use forecaster::{Forecast, Forecaster};
