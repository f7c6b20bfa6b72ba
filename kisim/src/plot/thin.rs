//! Fewer rows for long runs, and rows turned into steps.

/// Rows that a series keeps at most. A panel is less than half as many pixels wide.
pub(super) const MOST_ROWS: usize = 1500;

/// Numbers of the rows to draw, ascending: all of them if they are few, else those where a column is least or most
/// among its neighbours, so that no spike is lost. A stretch where a column has no value keeps a row that says so,
/// unless it is too short to be seen.
pub(super) fn thin(rows: usize, columns: &[&[f64]]) -> Vec<usize> {
    if rows <= MOST_ROWS || columns.is_empty() {
        return (0..rows).collect();
    }
    let buckets = (MOST_ROWS - 2) / (2 * columns.len());
    let mut kept = vec![0, rows - 1];
    for bucket in 0..buckets {
        let (from, to) = (bucket * rows / buckets, (bucket + 1) * rows / buckets);
        for column in columns {
            let value = |row: usize| column.get(row).copied().unwrap_or(f64::NAN);
            let known = || (from..to).filter(|&row| value(row).is_finite());
            let least = known().min_by(|&a, &b| value(a).total_cmp(&value(b)));
            let most = known().max_by(|&a, &b| value(a).total_cmp(&value(b)));
            kept.extend(least);
            kept.extend(most);
            if least.is_none() {
                kept.push(from);
            }
        }
    }
    kept.sort_unstable();
    kept.dedup();
    kept
}

/// Stretches that a noisy series is cut into if it has more than [`MOST_ROWS`]: one about every two pixels.
const STRETCHES: usize = 400;

/// What stands for a stretch of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Middle {
    Mean,
    Median,
}

/// A noisy series: a line, and the range that the values behind it span.
#[derive(Clone, Debug, Default)]
pub(super) struct Envelope {
    /// (time, value); NaN where there is none.
    pub line: Vec<(f64, f64)>,
    /// (time, least, most); empty if the line has every row.
    pub range: Vec<(f64, f64, f64)>,
}

/// `values` as they are if they are few, else the `middle` of each stretch and its extremes.
pub(super) fn envelope(times: &[f64], values: &[f64], middle: Middle) -> Envelope {
    let rows = times.len().min(values.len());
    let mut out = Envelope::default();
    if rows <= MOST_ROWS {
        out.line = times.iter().copied().zip(values.iter().copied()).collect();
        return out;
    }
    for stretch in stretches(rows, STRETCHES) {
        let at = times[stretch.start];
        let mut known: Vec<f64> = values[stretch].iter().copied().filter(|v| v.is_finite()).collect();
        known.sort_unstable_by(f64::total_cmp);
        let (Some(&least), Some(&most)) = (known.first(), known.last()) else {
            out.line.push((at, f64::NAN));
            out.range.push((at, f64::NAN, f64::NAN));
            continue;
        };
        let value = match middle {
            Middle::Mean => known.iter().sum::<f64>() / known.len() as f64,
            Middle::Median => known[known.len() / 2],
        };
        out.line.push((at, value));
        out.range.push((at, least, most));
    }
    out
}

/// The most in each of at most `count` stretches of `values`.
pub(super) fn highest(times: &[f64], values: &[f64], count: usize) -> Vec<(f64, f64)> {
    let rows = times.len().min(values.len());
    let most = |stretch: std::ops::Range<usize>| {
        (times[stretch.start], values[stretch].iter().copied().filter(|v| v.is_finite()).fold(f64::NAN, f64::max))
    };
    stretches(rows, rows.min(count)).map(most).collect()
}

/// How the length of one of `count` stretches reads; `None` if a stretch is no more than a row.
pub(super) fn stretch_length(times: &[f64], rows_at_most: usize, count: usize) -> Option<String> {
    let seconds = (end_of(times) - start_of(times)) / count as f64;
    let (value, unit) = match seconds {
        s if s < 90.0 => (s, "s"),
        s if s < 5400.0 => (s / 60.0, "min"),
        s => (s / 3600.0, "h"),
    };
    let digits = usize::from(value < 9.95);
    (times.len() > rows_at_most && seconds.is_finite()).then(|| format!("{value:.digits$} {unit}"))
}

/// What a plot with envelopes must say about them, if it has any.
pub(super) fn envelope_note(times: &[f64]) -> String {
    stretch_length(times, MOST_ROWS, STRETCHES).map_or(String::new(), |length| {
        format!(
            "Lines are averages (latencies: medians) over {length}; the shades around them reach from least to most."
        )
    })
}

fn stretches(rows: usize, count: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..count).map(move |i| i * rows / count..(i + 1) * rows / count)
}

/// The `(time, value)` points at `rows`; a missing value is NaN.
pub(super) fn points(times: &[f64], values: &[f64], rows: &[usize]) -> Vec<(f64, f64)> {
    rows.iter().filter_map(|&row| Some((*times.get(row)?, *values.get(row)?))).collect()
}

/// Points that hold their value until the next one, the last until `end`.
pub(super) fn steps(points: &[(f64, f64)], end: f64) -> Vec<(f64, f64)> {
    let mut out: Vec<(f64, f64)> = Vec::with_capacity(points.len() * 2);
    for (i, &(at, value)) in points.iter().enumerate() {
        let until = points.get(i + 1).map_or(end, |next| next.0);
        match out.last_mut() {
            // The step goes on; one long line is shorter to write than many.
            Some(last) if last.1 == value => last.0 = until,
            _ => out.extend([(at, value), (until, value)]),
        }
    }
    out
}

/// When the last row ends: it is as long as the one before it.
pub(super) fn end_of(times: &[f64]) -> f64 {
    let mut finite = times.iter().rev().copied().filter(|t| t.is_finite());
    match (finite.next(), finite.next()) {
        (Some(last), Some(before)) if last > before => last + (last - before),
        (Some(last), _) => last,
        _ => f64::NAN,
    }
}

/// First and last finite time.
pub(super) fn start_of(times: &[f64]) -> f64 {
    times.iter().copied().find(|t| t.is_finite()).unwrap_or(f64::NAN)
}

/// `values` with NaN where there is none.
pub(super) fn known(values: &[Option<f64>]) -> Vec<f64> {
    values.iter().map(|v| v.unwrap_or(f64::NAN)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_extremes_ends_and_gaps() {
        let rows = 200_000;
        let mut values: Vec<f64> = (0..rows).map(|i| (i as f64 * 0.01).sin()).collect();
        values[77_777] = 9.0;
        values[123_456] = -9.0;
        values[50_000..60_000].fill(f64::NAN);
        let kept = thin(rows, &[&values]);
        assert!(kept.len() <= MOST_ROWS, "{}", kept.len());
        assert!([0, 77_777, 123_456, rows - 1].iter().all(|row| kept.contains(row)));
        assert!(kept.iter().any(|&row| values[row].is_nan()));
        assert!(kept.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(thin(3, &[&values]), [0, 1, 2]);
        let three = thin(rows, &[&values, &values[..5], &[]]);
        assert!(three.len() <= MOST_ROWS && three.contains(&77_777));
    }

    #[test]
    fn envelopes_span_all_values() {
        let times: Vec<f64> = (0..10_000).map(f64::from).collect();
        let mut values: Vec<f64> = times.iter().map(|t| t % 10.0).collect();
        values[5_000] = 99.0;
        values[2_000..3_000].fill(f64::NAN);
        let drawn = envelope(&times, &values, Middle::Mean);
        assert_eq!((drawn.line.len(), drawn.range.len()), (STRETCHES, STRETCHES));
        assert!(drawn.range.iter().any(|r| r.2 == 99.0) && drawn.line.iter().any(|p| p.1.is_nan()));
        assert_eq!(drawn.line[0], (0.0, 4.0));
        assert!(envelope_note(&times).contains("over 25 s"));
        assert!(highest(&times, &values, 100).contains(&(5_000.0, 99.0)));
        let few = envelope(&times[..5], &values, Middle::Median);
        assert_eq!((few.line.len(), few.range.len()), (5, 0));
        assert_eq!(envelope_note(&times[..5]), "");
    }

    #[test]
    fn steps_hold_and_merge() {
        let held = steps(&[(0.0, 1.0), (1.0, 1.0), (2.0, 3.0)], 4.0);
        assert_eq!(held, [(0.0, 1.0), (2.0, 1.0), (2.0, 3.0), (4.0, 3.0)]);
        assert!(steps(&[], 1.0).is_empty());
        assert_eq!(end_of(&[0.0, 5.0, f64::NAN]), 10.0);
        assert!(end_of(&[]).is_nan());
    }
}
