//! The files of one run.

use std::path::Path;

use super::{OutputError, Row, write_atomically, write_csv_atomically, write_requests, write_timeline};
use crate::plot;
use crate::prepared::Prepared;
use crate::run::Run;

/// Writes a run to the folder `out`: timeline.csv, decisions.csv, timeline.svg, with `requests` requests.csv and, last,
/// summary.json.
pub fn write_run(out: &Path, prepared: &Prepared, run: &Run, requests: bool) -> Result<(), OutputError> {
    let pools: Vec<String> = prepared.pools.iter().map(|p| p.name.clone()).collect();
    write_timeline(&out.join("timeline.csv"), &run.rows)?;
    write_csv_atomically(&out.join("decisions.csv"), |csv| {
        csv.write_record(["time_s", "pool", "replicas_before", "replicas_after", "reason"])?;
        for d in &run.decisions {
            let numbers = [format!("{:.3}", d.at), d.pool.clone(), d.before.to_string(), d.after.to_string()];
            csv.write_record(numbers.iter().map(String::as_str).chain([d.reason.as_str()]))?;
        }
        Ok(())
    })?;
    let title = format!("{} under {}, seed {}", run.summary.scenario, run.summary.autoscaler, run.summary.seed);
    let plot = timeline_plot(title, prepared, &run.rows);
    write_atomically(&out.join("timeline.svg"), |file| {
        file.write_all(plot::timeline(&plot).map_err(std::io::Error::other)?.as_bytes())
    })?;
    if requests {
        write_requests(&out.join("requests.csv"), &run.requests, &pools)?;
    }
    // Last, so that its presence says that the others are there.
    write_atomically(&out.join("summary.json"), |file| {
        serde_json::to_writer_pretty(&mut *file, &run.summary)?;
        file.write_all(b"\n")
    })
}

fn timeline_plot(title: String, prepared: &Prepared, rows: &[Row]) -> plot::TimelinePlot {
    let column = |f: &dyn Fn(&Row) -> f64| rows.iter().map(f).collect::<Vec<f64>>();
    let optional = |f: &dyn Fn(&Row) -> Option<f64>| rows.iter().map(f).collect::<Vec<Option<f64>>>();
    let pools = (0..prepared.pools.len())
        .map(|number| plot::TimelinePool {
            name: prepared.pools[number].name.clone(),
            desired: column(&|r| f64::from(r.pools[number].desired)),
            scheduled: column(&|r| f64::from(r.pools[number].scheduled)),
            ready: column(&|r| f64::from(r.pools[number].ready)),
            draining: column(&|r| f64::from(r.pools[number].draining)),
            utilization: optional(&|r| r.pools[number].utilization),
        })
        .collect();
    plot::TimelinePlot {
        title,
        time_s: column(&|r| r.time_s),
        offered_rps: column(&|r| r.arrival_rate),
        capacity_rps: column(&|r| r.capacity_rate),
        pools,
        p50_ms: optional(&|r| r.p50_ms),
        p95_ms: optional(&|r| r.p95_ms),
        p99_ms: optional(&|r| r.p99_ms),
        slo_ms: prepared.scenario.slo.latency.as_secs_f64() * 1e3,
        violation_share: column(&|r| r.violation_ratio.unwrap_or(f64::NAN)),
    }
}
