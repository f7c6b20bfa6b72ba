//! Which parameters a fit determines, from the Jacobian at its end.
//!
//! In logarithms of parameters and measurements the Jacobian says by how many per cent each prediction moves when a
//! parameter moves by one. A parameter escapes the data in two ways: no prediction moves with it, or another
//! parameter moves them in the same manner, so that only a combination of the two is determined. Both show as a large
//! standard error; the singular vectors of the (column-normalised) Jacobian tell them apart.

use super::report::Estimate;

/// What counts as determined.
pub(super) struct Criteria {
    /// Relative error of a single measurement, at least: perfect agreement must not make everything look certain.
    pub measurement_error: f64,
    /// Largest relative standard error of an identified parameter.
    pub max_relative_error: f64,
    /// Value at or below which a parameter sits at its lower bound.
    pub lower_bound: f64,
}

/// Judges each parameter (`names` and `values`, one per column of `jacobian`). Returns the estimates and the condition
/// number of the column-normalised Jacobian (one is best).
pub(super) fn identify(
    names: &[&str],
    values: &[f64],
    jacobian: &[Vec<f64>],
    residuals: &[f64],
    criteria: &Criteria,
) -> (Vec<Estimate>, f64) {
    let k = names.len();
    let rows = residuals.len();
    let norms: Vec<f64> = (0..k).map(|j| jacobian.iter().map(|row| row[j] * row[j]).sum::<f64>().sqrt()).collect();
    let (eigenvalues, vectors) = jacobi_eigen(normalised_gram(jacobian, &norms));
    let squares: f64 = residuals.iter().map(|r| r * r).sum();
    let scatter = match rows > k {
        true => (squares / (rows - k) as f64).sqrt(),
        false => 0.0,
    };
    let sigma = scatter.max(criteria.measurement_error);
    let weakest = (0..k).min_by(|a, b| eigenvalues[*a].total_cmp(&eigenvalues[*b])).unwrap_or_default();
    let estimates = (0..k)
        .map(|j| {
            // Rounding may leave a null direction with a tiny eigenvalue of either sign.
            let inverse: f64 = (0..k).map(|e| vectors[j][e] * vectors[j][e] / eigenvalues[e].max(1e-14)).sum();
            let alone = sigma / norms[j];
            let relative_error = alone * inverse.sqrt();
            if relative_error <= criteria.max_relative_error {
                return Estimate::Identified { value: values[j], std_error: Some(relative_error * values[j]) };
            }
            let why = if values[j] <= criteria.lower_bound {
                format!("{} ran down to its bound: these data do not tell it from zero", names[j])
            } else if alone > criteria.max_relative_error {
                let moves = 10.0 * norms[j] / (rows as f64).sqrt();
                format!(
                    "a change of {} by 10 % moves the predictions by only {moves:.2} % (root mean square), against \
                     an error of {:.1} %",
                    names[j],
                    100.0 * sigma
                )
            } else {
                let partners: Vec<&str> = (0..k)
                    .filter(|other| *other != j && vectors[*other][weakest].abs() > 0.3)
                    .map(|other| names[other])
                    .collect();
                let percent = 100.0 * relative_error;
                match partners.is_empty() {
                    true => format!(
                        "its standard error is {percent:.0} % of its value, above {:.0} %",
                        100.0 * criteria.max_relative_error
                    ),
                    false => format!(
                        "these rows determine only a combination of {} and {}: alone its standard error is {} its \
                         value",
                        names[j],
                        partners.join(" and "),
                        if percent < 1e4 { format!("{percent:.0} % of") } else { "over 100 times".to_owned() }
                    ),
                }
            };
            Estimate::NotIdentified { why }
        })
        .collect();
    let largest = eigenvalues.iter().copied().fold(0.0, f64::max);
    let smallest = eigenvalues.iter().copied().fold(f64::INFINITY, f64::min);
    let condition = (largest / smallest.max(1e-14)).sqrt();
    (estimates, condition)
}

/// Cosines between the columns; a column of zeros is taken as orthogonal to all others.
fn normalised_gram(jacobian: &[Vec<f64>], norms: &[f64]) -> Vec<Vec<f64>> {
    let k = norms.len();
    (0..k)
        .map(|i| {
            (0..k)
                .map(|j| {
                    let product: f64 = jacobian.iter().map(|row| row[i] * row[j]).sum();
                    let scale = norms[i] * norms[j];
                    match (i == j, scale > 0.0) {
                        (true, _) => 1.0,
                        (false, true) => product / scale,
                        (false, false) => 0.0,
                    }
                })
                .collect()
        })
        .collect()
}

/// Eigenvalues and eigenvectors (columns) of a small symmetric matrix by Jacobi's rotations (Jacobi 1846; Golub and Van
/// Loan, *Matrix Computations*, §8.5).
fn jacobi_eigen(mut a: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let k = a.len();
    let mut v: Vec<Vec<f64>> = (0..k).map(|i| (0..k).map(|j| if i == j { 1.0 } else { 0.0 }).collect()).collect();
    // Four by four converges in about five sweeps; the limit only guards against not-a-number.
    for _ in 0..60 {
        let off: f64 = (0..k).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| a[i][j] * a[i][j]).sum();
        if off < 1e-30 {
            break;
        }
        for p in 0..k {
            for q in p + 1..k {
                if a[p][q] == 0.0 {
                    continue;
                }
                let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                for row in &mut a {
                    let (x, y) = (row[p], row[q]);
                    row[p] = c * x - s * y;
                    row[q] = s * x + c * y;
                }
                let (above, below) = a.split_at_mut(q);
                for (first, second) in above[p].iter_mut().zip(&mut below[0]) {
                    let (x, y) = (*first, *second);
                    *first = c * x - s * y;
                    *second = s * x + c * y;
                }
                for row in &mut v {
                    let (x, y) = (row[p], row[q]);
                    row[p] = c * x - s * y;
                    row[q] = s * x + c * y;
                }
            }
        }
    }
    ((0..k).map(|i| a[i][i]).collect(), v)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRITERIA: Criteria = Criteria { measurement_error: 0.02, max_relative_error: 0.3, lower_bound: 1e-6 };

    fn why(estimate: &Estimate) -> &str {
        match estimate {
            Estimate::Identified { .. } => "identified",
            Estimate::NotIdentified { why } => why,
        }
    }

    #[test]
    fn eigenvalues_of_a_known_matrix() {
        let (mut values, vectors) = jacobi_eigen(vec![vec![2.0, 1.0, 0.0], vec![1.0, 2.0, 1.0], vec![0.0, 1.0, 2.0]]);
        values.sort_by(f64::total_cmp);
        let root = f64::sqrt(2.0);
        for (found, expected) in values.iter().zip([2.0 - root, 2.0, 2.0 + root]) {
            assert!((found - expected).abs() < 1e-12);
        }
        for column in 0..3 {
            let length: f64 = vectors.iter().map(|row| row[column] * row[column]).sum();
            assert!((length - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn independent_columns_are_identified_with_their_standard_error() {
        let jacobian = vec![vec![1.0, 0.0], vec![0.0, 0.5], vec![1.0, 0.0], vec![0.0, 0.5]];
        let (found, condition) = identify(&["a", "b"], &[10.0, 2.0], &jacobian, &[0.0; 4], &CRITERIA);
        assert!((condition - 1.0).abs() < 1e-12);
        let expected = [0.02 / f64::sqrt(2.0) * 10.0, 0.02 / (0.5 * f64::sqrt(2.0)) * 2.0];
        for (estimate, expected) in found.iter().zip(expected) {
            assert!(
                matches!(estimate, Estimate::Identified { std_error: Some(e), .. } if (e - expected).abs() < 1e-12)
            );
        }
    }

    #[test]
    fn equal_columns_are_confounded_with_each_other_only() {
        let jacobian = vec![vec![0.7, 0.7, 0.1], vec![0.7, 0.7, 0.9], vec![0.7, 0.7, 0.3]];
        let (found, condition) = identify(&["a", "b", "c"], &[1.0; 3], &jacobian, &[0.0; 3], &CRITERIA);
        assert!(condition > 1e3);
        assert!(why(&found[0]).contains("combination of a and b"), "{}", why(&found[0]));
        assert!(why(&found[1]).contains("combination of b and a"), "{}", why(&found[1]));
        assert_eq!(why(&found[2]), "identified");
    }

    #[test]
    fn a_column_without_effect_and_one_at_its_bound() {
        let jacobian = vec![vec![1.0, 0.001, 0.0]; 4];
        let (found, _) = identify(&["a", "b", "c"], &[1.0, 1.0, 1e-6], &jacobian, &[0.0; 4], &CRITERIA);
        assert!(why(&found[1]).contains("by 10 % moves the predictions by only 0.01 %"), "{}", why(&found[1]));
        assert!(why(&found[2]).contains("do not tell it from zero"), "{}", why(&found[2]));
    }
}
