//! Reports for people.

use comfy_table::{CellAlignment, Table, presets};

use crate::compare::Comparison;
use crate::pareto::{LEVELS, Parameter, Pareto};
use crate::report::{Estimate, Summary};

/// A number with as many digits as tell something: four significant ones, thousands in groups.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    if value != 0.0 && value.abs() < 1e-3 {
        return format!("{value:.1e}");
    }
    let decimals = match value.abs() {
        v if v >= 1000.0 || value.fract() == 0.0 => 0,
        v if v >= 100.0 => 1,
        v if v >= 10.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(w, f)| (w, Some(f)));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match fraction {
        Some(fraction) => format!("{sign}{grouped}.{fraction}"),
        None => format!("{sign}{grouped}"),
    }
}

fn optional(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), number)
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header.to_vec());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A run's figures.
pub fn summary_table(summary: &Summary) -> String {
    let mut t = table(&["", "value", "unit"]);
    let mut row = |name: &str, value: String, unit: &str| {
        t.add_row([name.to_owned(), value, unit.to_owned()]);
    };
    let count = |n: u64| number(n as f64);
    let r = &summary.requests;
    row("requests arrived", count(r.arrived), "");
    row("  completed", count(r.completed), "");
    for (name, n) in [
        ("  rejected, queue full", r.queue_full),
        ("  timed out", r.timed_out),
        ("  killed with their pod", r.killed),
        ("  unserved", r.unserved),
        ("  of all, retries", r.retried),
    ] {
        if n > 0 {
            row(name, count(n), "");
        }
    }
    let l = &summary.latency_ms;
    for (name, value) in [
        ("latency mean", l.mean),
        ("  P50", l.p50),
        ("  P95", l.p95),
        ("  P99", l.p99),
        ("  P99.9", l.p999),
        ("  max", l.max),
    ] {
        row(name, optional(value), "ms");
    }
    row("queueing mean", optional(summary.queue_ms.mean), "ms");
    let over = format!("SLO violations (over {} ms)", number(summary.slo.objective_ms));
    row(&over, number(summary.slo.violation_ratio * 100.0), "%");
    for (name, pool) in &summary.pools {
        row(&format!("pool {name}: replicas mean"), number(pool.replicas_mean), "");
        row("  replicas max", count(u64::from(pool.replicas_max)), "");
        row("  utilisation", number(pool.utilization * 100.0), "%");
        row("  cost", number(pool.cost), "$");
    }
    row("cost", number(summary.cost), "$");
    row("replicas added and removed", count(summary.churn), "");
    row("reward, mean a control step", number(summary.reward.get("mean").copied().unwrap_or(f64::NAN)), "");
    for (part, value) in summary.reward.iter().filter(|(part, _)| *part != "mean") {
        row(&format!("  {part}"), number(*value), "");
    }
    t.to_string()
}

fn estimate(e: &Estimate, factor: f64) -> String {
    match e.half_width {
        Some(half) => format!("{} ±{}", number(e.mean * factor), number(half * factor)),
        None => number(e.mean * factor),
    }
}

/// Columns of a comparison: title, figure and factor.
const COLUMNS: [(&str, &str, f64); 6] = [
    ("violations %", "slo.violation_ratio", 100.0),
    ("P95 ms", "latency_ms.p95", 1.0),
    ("P99 ms", "latency_ms.p99", 1.0),
    ("cost $", "cost", 1.0),
    ("churn", "churn", 1.0),
    ("reward", "reward.mean", 1.0),
];

/// Columns about those who knew the future, where they take part.
const REGRETS: [(&str, &str); 2] = [("regret", "regret"), ("to foresight", "regret_to_foresight")];

/// Autoscalers side by side: means with 95 % intervals, then paired differences to the first.
pub fn comparison_table(comparison: &Comparison) -> String {
    let regrets: Vec<(&str, &str)> = REGRETS
        .into_iter()
        .filter(|(_, figure)| comparison.autoscalers.iter().any(|a| a.metrics.contains_key(*figure)))
        .collect();
    let titles = |first| {
        let columns = COLUMNS.iter().map(|c| c.0);
        [first].into_iter().chain(columns).collect::<Vec<&str>>()
    };
    let mut header = titles("autoscaler");
    header.extend(regrets.iter().map(|r| r.0));
    let mut t = table(&header);
    for result in &comparison.autoscalers {
        let mean = |name: &str, factor: f64| result.metrics.get(name).map_or("–".into(), |e| estimate(e, factor));
        let mut row = vec![result.name.clone()];
        row.extend(COLUMNS.iter().map(|&(_, figure, factor)| mean(figure, factor)));
        row.extend(regrets.iter().map(|&(_, figure)| {
            // A difference seed by seed, so its interval says whether it is one.
            let significant = result
                .metrics
                .get(figure)
                .is_some_and(|e| e.half_width.is_some_and(|half| e.mean.abs() > half && e.mean.abs() > 1e-12));
            format!("{}{}", mean(figure, 1.0), if significant { "*" } else { "" })
        }));
        t.add_row(row);
    }
    let mut text = t.to_string();
    if let Some(first) = comparison.autoscalers.first().filter(|_| comparison.autoscalers.len() > 1) {
        let mut d = table(&titles("paired difference"));
        for result in comparison.autoscalers.iter().skip(1) {
            let mut row = vec![format!("{} − {}", result.name, first.name)];
            row.extend(COLUMNS.iter().map(|&(_, figure, factor)| {
                result.paired.get(figure).map_or("–".into(), |p| {
                    let mark = if p.significant { "*" } else { "" };
                    format!("{}{mark}", estimate(&p.difference, factor))
                })
            }));
            d.add_row(row);
        }
        text.push_str("\n\n");
        text.push_str(&d.to_string());
    }
    if comparison.seeds.len() > 1 {
        text.push_str("\n± 95 % interval over seeds; * the interval excludes zero (same seeds, same arrivals)");
    }
    if regrets.iter().any(|r| r.0 == "regret") {
        text.push_str("\nregret: hindsight's reward − its own; hindsight is the best plan found, not a proof");
    }
    text
}

/// Every setting of every autoscaler, then each autoscaler in one line.
pub fn pareto_table(result: &Pareto) -> String {
    let mut t = table(&["autoscaler", "setting", "violations %", "cost $", "replicas", "P95 ms", "reward", "frontier"]);
    for sweep in &result.contenders {
        for point in &sweep.points {
            let setting = match sweep.parameter {
                Parameter::Headroom => format!("×{}", point.value),
                Parameter::Replicas => number(point.value),
            };
            let known = |e: Option<Estimate>| e.map_or("–".to_owned(), |e| estimate(&e, 1.0));
            t.add_row([
                sweep.name.clone(),
                setting,
                estimate(&point.violation_ratio, 100.0),
                estimate(&point.cost, 1.0),
                estimate(&point.replicas_mean, 1.0),
                known(point.p95_ms),
                known(point.reward),
                if point.on_frontier { "*" } else { "" }.to_owned(),
            ]);
        }
    }
    let levels = LEVELS.map(|level| format!("cost $ at {} %", number(level * 100.0)));
    let mut header = vec!["autoscaler"];
    header.extend(levels.iter().map(String::as_str));
    header.push("dominated area");
    let mut a = table(&header);
    for sweep in &result.contenders {
        let mut row = vec![sweep.name.clone()];
        row.extend(sweep.cost_at.iter().map(|at| optional(at.cost)));
        row.push(optional(sweep.area));
        a.add_row(row);
    }
    let interval = if result.seeds.len() > 1 { "± 95 % interval over seeds; " } else { "" };
    format!(
        "{t}\n{interval}setting: × factor on the headroom, or replicas; * nothing here has at most its violations and its \
         cost, and less of one\n\n{a}\ncost at a share of violations, between neighbours on the autoscaler's own frontier; – \
         it lies all above, or all below\ndominated area: share of what lies between no violations at no cost and the \
         worst of either here, {} % and {} $; compares these autoscalers alone",
        number(result.reference.violation_ratio * 100.0),
        number(result.reference.cost)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_grouped() {
        let check = |value: f64, text: &str| assert_eq!(number(value), text);
        check(1234567.0, "1,234,567");
        check(123456.0, "123,456");
        check(-1234.4, "-1,234");
        check(12.345, "12.35");
        check(0.0, "0");
        check(12.0, "12");
        check(0.00004, "4.0e-5");
        check(f64::NAN, "–");
    }
}
