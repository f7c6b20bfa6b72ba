//! Models side by side, and the choice among them.

use super::backtest::{Record, Truth};
use super::config::{ForecastConfig, ModelName, Season};
use super::history::History;
use super::models::{Horizon, Model, SeasonFit, members};
use super::season::SeasonSearch;

/// Values beyond are taken as this, so that no sum or product of them overflows.
const LARGEST: f64 = 1e100;
/// A model is chosen after that many forecasts could be compared with what came.
const COMPARED_AT_LEAST: u64 = 10;
/// A model takes over when its score is below this part of that of the one it follows.
const TAKES_OVER_BELOW: f64 = 0.95;
/// The fewest steps between two searches for a season.
const SEARCH_AT_LEAST_EVERY: u64 = 16;
/// A season of another length has to have an autocorrelation higher by this, unless it is a fraction of the old one.
const OTHER_SEASON_BY: f64 = 0.02;

/// A forecast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// What the chosen model says, in units of the series; it may be below 0.
    pub value: f64,
    /// That plus the quantile that was asked for of the model's latest errors, never below 0. Without errors yet, none
    /// is added.
    pub quantile: f64,
    /// The chosen model.
    pub model: ModelName,
}

/// Forecasts one series; see the module.
#[derive(Clone, Debug)]
pub struct Forecaster {
    config: ForecastConfig,
    horizon: Horizon,
    history: History,
    /// Steps so far.
    step: u64,
    members: Vec<Model>,
    records: Vec<Record>,
    truth: Truth,
    /// What each member said at each of the last `horizon_to` steps; NaN for nothing.
    said: Vec<f64>,
    /// What each member says now.
    says: Vec<f64>,
    chosen: usize,
    season: Option<usize>,
    search: SeasonSearch,
    search_at: u64,
    /// Memory for the beginning of a season.
    filled: Vec<f64>,
    fit: SeasonFit,
}

impl Forecaster {
    /// A forecaster of a series that has not begun. Settings out of range are brought into it.
    pub fn new(config: ForecastConfig) -> Self {
        let config = config.normal();
        let (longest, searched) = match config.season {
            Season::None => (0, 0),
            Season::Steps(steps) => (steps, 0),
            Season::Detect { max_steps } => (max_steps, max_steps),
        };
        let horizon = Horizon::new(&config);
        let members = members(&config, longest);
        let count = members.len();
        let seasonal = if members.iter().any(Model::is_seasonal) { config.capacity } else { 0 };
        Self {
            horizon,
            history: History::new(config.capacity),
            step: 0,
            records: (0..count).map(|_| Record::new()).collect(),
            truth: Truth::new(horizon),
            said: vec![f64::NAN; config.horizon_to.saturating_mul(count)],
            says: vec![f64::NAN; count],
            chosen: 0,
            season: None,
            search: SeasonSearch::new(if searched > 0 { seasonal } else { 0 }, searched),
            search_at: match config.season {
                Season::Steps(steps) if seasonal > 0 => steps as u64 * 2,
                Season::Detect { .. } if seasonal > 0 => SEARCH_AT_LEAST_EVERY,
                _ => u64::MAX,
            },
            filled: Vec::with_capacity(seasonal),
            fit: SeasonFit::new(longest),
            members,
            config,
        }
    }

    /// The settings, with what was out of range brought into it.
    pub const fn config(&self) -> &ForecastConfig {
        &self.config
    }

    /// Takes the value of the next step. What is not finite counts as missing.
    pub fn observe(&mut self, value: f64) {
        let value = value.is_finite().then(|| value.clamp(-LARGEST, LARGEST));
        self.advance(value);
    }

    /// Lets a step pass without a value: no data is not zero.
    pub fn skip(&mut self) {
        self.advance(None);
    }

    /// The forecast, with the `q`-quantile of the errors, `q` in (0, 1). `None` before the first value, and when all
    /// steps of the history went without one.
    pub fn forecast(&self, q: f64) -> Option<Forecast> {
        if self.history.observed() == 0 {
            return None;
        }
        let value = *self.says.get(self.chosen).filter(|value| value.is_finite())?;
        let error = self.records.get(self.chosen).and_then(|record| record.quantile(q)).unwrap_or(0.0);
        let model = self.members.get(self.chosen)?.name();
        Some(Forecast { value, quantile: (value + error).max(0.0), model })
    }

    /// The length of the season in steps, once there are two of them.
    pub const fn season(&self) -> Option<usize> {
        self.season
    }

    /// The models with their discounted mean losses, in units of the series; `None` for one that could not be compared.
    pub fn scores(&self) -> impl Iterator<Item = (ModelName, Option<f64>)> + '_ {
        self.members.iter().zip(&self.records).map(|(member, record)| (member.name(), record.score()))
    }

    /// The models with what each says now, in units of the series, and its discounted mean loss; as [`Self::scores`]
    /// in the same order. A model that cannot say anything yet is left out.
    pub fn says(&self) -> impl Iterator<Item = (ModelName, f64, Option<f64>)> + '_ {
        let models = self.members.iter().zip(&self.says).zip(&self.records);
        models
            .filter(|((_, says), _)| says.is_finite())
            .map(|((member, &says), record)| (member.name(), says, record.score()))
    }

    fn advance(&mut self, value: Option<f64>) {
        self.history.push(value);
        self.truth.push(self.step, value);
        // What was said `horizon_to` steps ago is in the row that this step's forecasts go to.
        let count = self.members.len();
        let row = (self.step % self.config.horizon_to as u64) as usize * count;
        let said = self.said.get_mut(row..row + count).unwrap_or_default();
        if let Some(truth) = self.truth.get() {
            for (said, record) in said.iter().zip(&mut self.records) {
                if !said.is_nan() {
                    record.add(truth - said, self.config.loss, self.config.discount);
                }
            }
        }
        for member in &mut self.members {
            member.update(value);
        }
        self.step += 1;
        if self.step >= self.search_at {
            self.examine_season();
        }
        for (says, member) in self.says.iter_mut().zip(&self.members) {
            *says = member.forecast(self.horizon).unwrap_or(f64::NAN);
        }
        if let Some(said) = self.said.get_mut(row..row + count) {
            said.copy_from_slice(&self.says);
        }
        self.choose();
    }

    /// Takes the best model, unless the chosen one is about as good.
    fn choose(&mut self) {
        let able = |i: usize| self.says.get(i).is_some_and(|says| says.is_finite());
        let mut best: Option<(usize, f64)> = None;
        for (i, record) in self.records.iter().enumerate() {
            if record.count() >= COMPARED_AT_LEAST
                && able(i)
                && let Some(score) = record.score()
                && best.is_none_or(|(_, lowest)| score < lowest)
            {
                best = Some((i, score));
            }
        }
        let current = self.records.get(self.chosen).and_then(Record::score).filter(|_| able(self.chosen));
        match (best, current) {
            (Some((i, score)), Some(current)) if score < TAKES_OVER_BELOW * current => self.chosen = i,
            (Some((i, _)), None) => self.chosen = i,
            (None, _) if !able(self.chosen) => {
                self.chosen = (0..self.says.len()).find(|&i| able(i)).unwrap_or(self.chosen);
            }
            _ => (),
        }
    }

    /// Looks for the season, or takes the given one, and begins it where it is new.
    fn examine_season(&mut self) {
        let found = match self.config.season {
            Season::None => None,
            Season::Steps(steps) => {
                self.search_at = u64::MAX;
                Some(steps)
            }
            Season::Detect { .. } => {
                // When the history has doubled, or grown by another share; once it is full, as if it grew by half of that.
                let half = self.config.capacity as u64 / 2;
                let more = (self.config.search_growth * self.step.min(half) as f64) as u64;
                self.search_at = self.step + more.max(SEARCH_AT_LEAST_EVERY);
                let found = self.search.find(self.history.iter());
                match (found, self.season) {
                    (Some((steps, r)), Some(now)) if steps != now => {
                        let before = self.search.correlation(now).unwrap_or(f64::NEG_INFINITY);
                        // What is as high at half the steps or fewer was a multiple so far.
                        let shorter = steps <= now / 2 && r > before - OTHER_SEASON_BY;
                        (shorter || r > before + OTHER_SEASON_BY).then_some(steps)
                    }
                    (Some((steps, _)), None) => Some(steps),
                    _ => None,
                }
            }
        };
        if let Some(steps) = found {
            self.begin_season(steps);
        }
    }

    /// Fits the first two seasons of the history, and replays the rest.
    fn begin_season(&mut self, steps: usize) {
        // Gaps are filled with the value before, or the first one.
        self.filled.clear();
        let mut last = self.history.iter().flatten().next().unwrap_or(0.0);
        for value in self.history.iter() {
            last = value.unwrap_or(last);
            self.filled.push(last);
        }
        // With fewer values than that a given season waits for more.
        if self.history.observed() < steps || !self.fit.fit(&self.filled, steps) {
            self.search_at = self.search_at.min(self.step + SEARCH_AT_LEAST_EVERY);
            return;
        }
        self.season = Some(steps);
        let last_season = self.filled.get(steps..2 * steps).unwrap_or_default();
        let count = self.members.len();
        for (i, (member, record)) in self.members.iter_mut().zip(&mut self.records).enumerate() {
            if !member.is_seasonal() {
                continue;
            }
            member.begin_season(&self.fit, last_season);
            for value in self.history.iter().skip(2 * steps) {
                member.update(value);
            }
            record.clear();
            for said in self.said.iter_mut().skip(i).step_by(count.max(1)) {
                *said = f64::NAN;
            }
        }
    }

    /// What memory it holds, in values.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        let records: usize = self.records.iter().map(Record::allocated).sum();
        self.history.allocated()
            + records
            + self.said.capacity()
            + self.says.capacity()
            + self.filled.capacity()
            + self.fit.allocated()
            + self.search.allocated()
            + self.members.iter().map(Model::allocated).sum::<usize>()
    }
}
