//! A small Levenberg–Marquardt minimiser with a numeric Jacobian.
//!
//! Written here rather than taken from a crate: there are at most four parameters, the residuals come from a
//! simulation (no derivatives, some noise, each call slow), and the Jacobian at the end is needed to say what the data
//! determine. Source of the method: Marquardt, *J. SIAM* 11 (1963); damping as in Press et al., *Numerical Recipes*, §15.5.

/// How the minimiser goes about it. Coordinates are logarithms of the parameters, so steps are relative.
pub(super) struct Settings {
    /// Half-width of the central differences, in coordinates.
    pub step: f64,
    /// Accepted and refused steps together before it gives up.
    pub max_iterations: u32,
    /// Every coordinate stays within these.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

/// Where the minimiser ended.
pub(super) struct Outcome {
    /// Coordinates of the best point seen.
    pub x: Vec<f64>,
    /// Residuals there.
    pub residuals: Vec<f64>,
    /// Derivatives there: one row per residual, one column per coordinate.
    pub jacobian: Vec<Vec<f64>>,
    /// Steps tried.
    pub iterations: u32,
    /// Whether it stopped because no step improves, rather than for lack of iterations.
    pub converged: bool,
}

/// Largest move of a coordinate in one step: a factor of four in a parameter.
const TRUST: f64 = 1.386;

/// Relative gain in the sum of squares below which a step does not count.
const GAIN: f64 = 1e-8;

/// Minimises the sum of squares of `residuals` from `start`; the residuals must be finite and of one length.
pub(super) fn minimise(residuals: &dyn Fn(&[f64]) -> Vec<f64>, start: &[f64], settings: &Settings) -> Outcome {
    let mut x: Vec<f64> = start.iter().map(|v| v.clamp(settings.lower, settings.upper)).collect();
    let mut r = residuals(&x);
    let mut jacobian = differences(residuals, &x, settings);
    let mut cost = squares(&r);
    let mut damping = 1e-3;
    let mut iterations = 0;
    let mut converged = false;
    while iterations < settings.max_iterations {
        iterations += 1;
        let candidate = match damped_step(&jacobian, &r, damping) {
            Some(step) => moved(&x, &step, settings),
            None => x.clone(),
        };
        let shift = x.iter().zip(&candidate).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        if shift < 1e-9 {
            converged = true;
            break;
        }
        let tried = residuals(&candidate);
        let tried_cost = squares(&tried);
        if tried_cost < cost {
            let gain = (cost - tried_cost) / cost;
            x = candidate;
            r = tried;
            cost = tried_cost;
            jacobian = differences(residuals, &x, settings);
            damping = (damping / 5.0).max(1e-12);
            if gain < GAIN || cost < 1e-24 {
                converged = true;
                break;
            }
        } else {
            damping *= 4.0;
            if damping > 1e10 {
                converged = true;
                break;
            }
        }
    }
    Outcome { x, residuals: r, jacobian, iterations, converged }
}

fn squares(r: &[f64]) -> f64 {
    r.iter().map(|v| v * v).sum()
}

fn moved(x: &[f64], step: &[f64], settings: &Settings) -> Vec<f64> {
    x.iter().zip(step).map(|(v, s)| (v + s.clamp(-TRUST, TRUST)).clamp(settings.lower, settings.upper)).collect()
}

/// Central differences, one-sided at a bound.
fn differences(residuals: &dyn Fn(&[f64]) -> Vec<f64>, x: &[f64], settings: &Settings) -> Vec<Vec<f64>> {
    let columns: Vec<Vec<f64>> = (0..x.len())
        .map(|j| {
            let at = |offset: f64| {
                let mut point = x.to_vec();
                if let Some(v) = point.get_mut(j) {
                    *v = (*v + offset).clamp(settings.lower, settings.upper);
                }
                let place = point.get(j).copied().unwrap_or_default();
                (place, residuals(&point))
            };
            let (low, below) = at(-settings.step);
            let (high, above) = at(settings.step);
            below.iter().zip(&above).map(|(b, a)| (a - b) / (high - low)).collect()
        })
        .collect();
    let rows = columns.first().map_or(0, Vec::len);
    (0..rows).map(|i| columns.iter().map(|column| column.get(i).copied().unwrap_or_default()).collect()).collect()
}

/// Solves `(JᵀJ + damping·diag(JᵀJ))·δ = −Jᵀr`; `None` if that is singular.
fn damped_step(jacobian: &[Vec<f64>], r: &[f64], damping: f64) -> Option<Vec<f64>> {
    let k = jacobian.first()?.len();
    let mut system = vec![vec![0.0; k + 1]; k];
    for (row, residual) in jacobian.iter().zip(r) {
        for (equation, a) in system.iter_mut().zip(row) {
            for (entry, b) in equation.iter_mut().zip(row) {
                *entry += a * b;
            }
            *equation.last_mut()? -= a * residual;
        }
    }
    for (j, equation) in system.iter_mut().enumerate() {
        let entry = equation.get_mut(j)?;
        // A column without any effect would make the system singular; it then simply does not move.
        *entry += damping * *entry + 1e-14;
    }
    solve(system)
}

/// Gaussian elimination with partial pivoting on an augmented matrix.
fn solve(mut system: Vec<Vec<f64>>) -> Option<Vec<f64>> {
    let k = system.len();
    for column in 0..k {
        let pivot = (column..k).max_by(|a, b| system[*a][column].abs().total_cmp(&system[*b][column].abs()))?;
        system.swap(column, pivot);
        let top = system.get(column)?.clone();
        let head = *top.get(column)?;
        if head.abs() < 1e-300 || !head.is_finite() {
            return None;
        }
        for equation in system.iter_mut().skip(column + 1) {
            let factor = equation.get(column)? / head;
            for (entry, above) in equation.iter_mut().zip(&top) {
                *entry -= factor * above;
            }
        }
    }
    let mut solution = vec![0.0; k];
    for row in (0..k).rev() {
        let equation = system.get(row)?;
        let known: f64 = equation.iter().zip(&solution).skip(row + 1).map(|(a, s)| a * s).sum();
        let value = (equation.get(k)? - known) / equation.get(row)?;
        *solution.get_mut(row)? = value;
    }
    Some(solution)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings { step: 1e-4, max_iterations: 200, lower: -20.0, upper: 20.0 };

    #[test]
    fn elimination_solves_a_system_that_needs_pivoting() {
        let solution = solve(vec![vec![0.0, 2.0, 4.0], vec![3.0, 1.0, 5.0]]);
        assert_eq!(solution, Some(vec![1.0, 2.0]));
        assert_eq!(solve(vec![vec![1.0, 1.0, 1.0], vec![1.0, 1.0, 2.0]]), None);
    }

    #[test]
    fn the_valley_of_rosenbrock() {
        let valley = |x: &[f64]| vec![10.0 * (x[1] - x[0] * x[0]), 1.0 - x[0]];
        let outcome = minimise(&valley, &[-1.2, 1.0], &SETTINGS);
        assert!(outcome.converged, "{} steps", outcome.iterations);
        assert!(outcome.x.iter().all(|v| (v - 1.0).abs() < 1e-5), "{:?}", outcome.x);
    }

    #[test]
    fn a_coordinate_without_effect_does_not_stop_the_others() {
        let flat = |x: &[f64]| vec![x[0] - 3.0, 2.0 * (x[0] - 3.0)];
        let outcome = minimise(&flat, &[0.0, 1.0], &SETTINGS);
        assert!((outcome.x[0] - 3.0).abs() < 1e-6 && (outcome.x[1] - 1.0).abs() < 1e-9);
        assert!(outcome.jacobian.iter().all(|row| row[1] == 0.0));
    }

    #[test]
    fn a_minimum_outside_ends_on_the_bound() {
        let outside = |x: &[f64]| vec![x[0] - 30.0];
        let outcome = minimise(&outside, &[0.0], &SETTINGS);
        assert_eq!(outcome.x, [20.0]);
        assert!(outcome.converged);
    }
}
