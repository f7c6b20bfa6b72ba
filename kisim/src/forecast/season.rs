//! The length of the season, from the autocorrelation of the history without its trend.
//!
//! Of a series of `n` values the autocorrelation at lag `k` is the mean of the `n - k` products over the mean square. At
//! the season's length it is high, and between 0 and there it falls below zero; a slow series without a season is
//! highest next to 0, which is why the search begins where it first is negative.

/// Of lags whose autocorrelation is within this of the highest, the shortest is the season: multiples are as high.
const NEAR_HIGHEST: f64 = 0.9;
/// The least autocorrelation of a season.
const LEAST: f64 = 0.3;
/// The least in standard deviations of the autocorrelation of white noise.
const LEAST_DEVIATIONS: f64 = 4.0;

/// Memory for the search.
#[derive(Clone, Debug)]
pub(super) struct SeasonSearch {
    residuals: Vec<f64>,
    correlations: Vec<f64>,
    max_steps: usize,
}

impl SeasonSearch {
    pub(super) fn new(capacity: usize, max_steps: usize) -> Self {
        Self {
            residuals: Vec::with_capacity(capacity),
            correlations: Vec::with_capacity(max_steps.saturating_add(1)),
            max_steps,
        }
    }

    /// The length of the season in steps, with its autocorrelation; at least two seasons have to be there.
    pub(super) fn find(&mut self, values: impl Iterator<Item = Option<f64>> + Clone) -> Option<(usize, f64)> {
        self.detrend(values)?;
        let count = self.residuals.len();
        let longest = self.max_steps.min(count / 2);
        let mean_square = self.residuals.iter().map(|x| x * x).sum::<f64>() / count as f64;
        if mean_square <= 0.0 {
            return None;
        }
        self.correlations.clear();
        for lag in 0..=longest {
            let later = self.residuals.get(lag..).unwrap_or_default();
            let products: f64 = self.residuals.iter().zip(later).map(|(a, b)| a * b).sum();
            self.correlations.push(products / (count - lag) as f64 / mean_square);
        }
        let begin = self.correlations.iter().position(|&r| r < 0.0)?;
        let beyond = self.correlations.get(begin..)?;
        let highest = beyond.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if highest < LEAST.max(LEAST_DEVIATIONS * (2.0 / count as f64).sqrt()) {
            return None;
        }
        let near = |r: &f64| *r >= NEAR_HIGHEST * highest;
        let hill = beyond.iter().position(near)?;
        let (mut best, mut height) = (0, f64::NEG_INFINITY);
        for (i, &r) in beyond.iter().enumerate().skip(hill).take_while(|(_, r)| near(r)) {
            if r > height {
                (best, height) = (begin + i, r);
            }
        }
        (best >= 2).then_some((best, height))
    }

    /// The autocorrelation at a lag, after a search.
    pub(super) fn correlation(&self, lag: usize) -> Option<f64> {
        self.correlations.get(lag).copied()
    }

    /// What memory it holds, in values.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.residuals.capacity() + self.correlations.capacity()
    }

    /// What is left of the values without their line of least squares; 0 where there is none.
    fn detrend(&mut self, values: impl Iterator<Item = Option<f64>> + Clone) -> Option<()> {
        let (mut n, mut t_sum, mut y_sum) = (0.0, 0.0, 0.0);
        for (t, y) in values.clone().enumerate() {
            if let Some(y) = y {
                n += 1.0;
                t_sum += t as f64;
                y_sum += y;
            }
        }
        if n < 4.0 {
            return None;
        }
        let (t_mean, y_mean) = (t_sum / n, y_sum / n);
        let (mut square, mut product) = (0.0, 0.0);
        for (t, y) in values.clone().enumerate() {
            if let Some(y) = y {
                let t = t as f64 - t_mean;
                square += t * t;
                product += t * (y - y_mean);
            }
        }
        let slope = product / square;
        self.residuals.clear();
        self.residuals
            .extend(values.enumerate().map(|(t, y)| y.map_or(0.0, |y| y - y_mean - slope * (t as f64 - t_mean))));
        Some(())
    }
}
