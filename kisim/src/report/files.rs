//! Files that are whole or not there: written under a temporary name in the same folder, then renamed.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::compare::Comparison;
use crate::ledger::RequestRecord;
use crate::pareto::Pareto;
use crate::plot;
use crate::prepared::Prepared;
use crate::report::{Estimate, Row};

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {reason}")]
pub struct OutputError {
    /// The file.
    pub path: PathBuf,
    /// The operating system's reason.
    pub reason: std::io::Error,
}

/// Writes a file by `fill`. Until it is complete nothing of it is at `path`, and what was there stays.
pub fn write_atomically(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), OutputError> {
    let write = || -> std::io::Result<()> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::Builder::new().prefix(".kisim-").suffix(".tmp").tempfile_in(folder)?;
        {
            let mut buffered = std::io::BufWriter::new(file.as_file_mut());
            fill(&mut buffered)?;
            buffered.flush()?;
        }
        // A temporary file is private to its owner; a result is not a secret.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        }
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(|reason| OutputError { path: path.to_owned(), reason })
}

/// Writes a CSV file by `fill`, see [`write_atomically`].
pub fn write_csv_atomically(
    path: &Path,
    fill: impl FnOnce(&mut csv::Writer<&mut dyn Write>) -> Result<(), csv::Error>,
) -> Result<(), OutputError> {
    write_atomically(path, |out| {
        let mut writer = csv::Writer::from_writer(out);
        fill(&mut writer).map_err(std::io::Error::other)?;
        writer.flush()
    })
}

/// Writes a comparison to `folder`: each autoscaler's timeline, `compare.svg` and, last, `comparison.json`.
pub fn write_comparison(folder: &Path, prepared: &Prepared, result: &Comparison) -> Result<(), OutputError> {
    let mut runs = Vec::new();
    for autoscaler in &result.autoscalers {
        let name = autoscaler.name.replace([':', '+', '=', '/', ' ', '(', ')'], "-");
        write_timeline(&folder.join(format!("timeline-{name}.csv")), &autoscaler.rows)?;
        runs.push(plot::ComparedRun {
            name: autoscaler.name.clone(),
            ready: autoscaler.rows.iter().map(|r| r.pools.iter().map(|p| f64::from(p.ready)).sum()).collect(),
            p95_ms: autoscaler.rows.iter().map(|r| r.p95_ms).collect(),
        });
    }
    let first = result.autoscalers.first().map(|a| a.rows.as_slice()).unwrap_or_default();
    let sheet = plot::ComparePlot {
        title: format!("{}, seed {}", result.scenario, result.seeds.first().copied().unwrap_or_default()),
        time_s: first.iter().map(|r| r.time_s).collect(),
        offered_rps: first.iter().map(|r| r.arrival_rate).collect(),
        slo_ms: prepared.scenario.slo.latency.as_secs_f64() * 1e3,
        runs,
    };
    write_atomically(&folder.join("compare.svg"), |file| {
        file.write_all(plot::compare(&sheet).map_err(std::io::Error::other)?.as_bytes())
    })?;
    write_atomically(&folder.join("comparison.json"), |file| {
        serde_json::to_writer_pretty(&mut *file, result)?;
        file.write_all(b"\n")
    })
}

/// Writes a timeline: a row a scrape.
pub fn write_timeline(path: &Path, rows: &[Row]) -> Result<(), OutputError> {
    write_csv_atomically(path, |csv| {
        let Some(first) = rows.first() else { return Ok(()) };
        let mut header: Vec<String> = [
            "time_s",
            "arrival_rate",
            "completion_rate",
            "capacity_rate",
            "queued",
            "in_flight",
            "p50_ms",
            "p95_ms",
            "p99_ms",
            "violations",
            "violation_ratio",
            "nodes",
        ]
        .map(String::from)
        .to_vec();
        for pool in &first.pools {
            for column in ["desired", "scheduled", "ready", "draining", "queued", "in_flight", "utilization"] {
                header.push(format!("{}_{column}", pool.name));
            }
        }
        // The first rows come before the first reward: its parts are named by a later one.
        let parts = rows.iter().map(|r| &r.reward).find(|r| !r.is_empty()).cloned().unwrap_or_default();
        header.extend(parts.iter().map(|(name, _)| format!("reward_{name}")));
        header.push("reward".into());
        csv.write_record(&header)?;
        let optional = |v: Option<f64>| v.map_or(String::new(), |v| format!("{v:.6}"));
        for row in rows {
            let mut record = vec![
                format!("{:.3}", row.time_s),
                format!("{:.6}", row.arrival_rate),
                format!("{:.6}", row.completion_rate),
                format!("{:.6}", row.capacity_rate),
                row.queued.to_string(),
                row.in_flight.to_string(),
                optional(row.p50_ms),
                optional(row.p95_ms),
                optional(row.p99_ms),
                row.violations.to_string(),
                optional(row.violation_ratio),
                row.nodes.to_string(),
            ];
            for p in &row.pools {
                record.extend([p.desired, p.scheduled, p.ready, p.draining].map(|n| n.to_string()));
                record.extend([p.queued, p.in_flight].map(|n| n.to_string()));
                record.push(optional(p.utilization));
            }
            for (name, _) in &parts {
                let value = row.reward.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
                record.push(optional(value));
            }
            record.push(if row.reward.is_empty() { String::new() } else { format!("{:.6}", row.reward_total + 0.0) });
            csv.write_record(&record)?;
        }
        Ok(())
    })
}

/// Writes a row a request. `pools` are the pools' names.
pub fn write_requests(path: &Path, requests: &[RequestRecord], pools: &[String]) -> Result<(), OutputError> {
    write_csv_atomically(path, |csv| {
        csv.write_record(["sent_s", "pool", "started_s", "finished_s", "outcome"])?;
        let seconds = |ns: u64| format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
        for r in requests {
            let pool = pools.get(r.pool).map_or("", String::as_str);
            csv.write_record([
                seconds(r.sent).as_str(),
                pool,
                &seconds(r.started),
                &seconds(r.finished),
                r.outcome.name(),
            ])?;
        }
        Ok(())
    })
}

/// Writes a row a setting of each autoscaler. Means and half widths of 95 % intervals are as exact as they are known, for
/// a violation ratio may be small; what was not measured is an empty cell.
pub fn write_pareto(path: &Path, result: &Pareto) -> Result<(), OutputError> {
    write_csv_atomically(path, |csv| {
        let mut header: Vec<String> =
            ["scenario", "autoscaler", "parameter", "value", "seeds"].map(String::from).to_vec();
        for figure in ["violation_ratio", "cost", "replicas_mean", "p95_ms", "reward"] {
            header.extend([figure.to_owned(), format!("{figure}_half_width")]);
        }
        header.extend(["on_frontier", "on_own_frontier"].map(String::from));
        csv.write_record(&header)?;
        let text = |v: Option<f64>| v.map_or(String::new(), |v| v.to_string());
        for sweep in &result.contenders {
            for point in &sweep.points {
                let mut record = vec![
                    result.scenario.clone(),
                    sweep.name.clone(),
                    sweep.parameter.name().to_owned(),
                    point.value.to_string(),
                    result.seeds.len().to_string(),
                ];
                let always = [point.violation_ratio, point.cost, point.replicas_mean].map(Some);
                for estimate in always.into_iter().chain([point.p95_ms, point.reward]) {
                    record.push(text(estimate.map(|e: Estimate| e.mean)));
                    record.push(text(estimate.and_then(|e| e.half_width)));
                }
                record.extend([point.on_frontier, point.on_own_frontier].map(|on| on.to_string()));
                csv.write_record(&record)?;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_leaves_what_was_there() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("deep/summary.json");
        write_atomically(&path, |out| out.write_all(b"first")).expect("writable");
        let error = write_atomically(&path, |out| {
            out.write_all(b"half")?;
            Err(std::io::Error::other("disk full"))
        });
        assert!(error.expect_err("fails").to_string().contains("disk full"));
        assert_eq!(std::fs::read_to_string(&path).expect("readable"), "first");
        assert_eq!(std::fs::read_dir(path.parent().expect("has one")).expect("readable").count(), 1);
    }
}
