//! Prints the speed of the engine as a Markdown table: requests per second on one core, and the ratio to the textbook
//! loop.
//!
//! The two loops take turns, and each cell is a median over the rounds: a machine that is slower for a while then slows
//! both, and the ratio stands.
//!
//! ```text
//! cargo run --release -p kisim-benches --bin speed_table [ROUNDS]
//! ```
//!
//! # Instructions per request
//!
//! Counts of instructions do not depend on what else the machine does. With valgrind installed:
//!
//! ```text
//! cargo build --release -p kisim-benches --bin speed_table
//! valgrind --tool=callgrind target/release/speed_table --callgrind least_outstanding 16 1000000
//! valgrind --tool=callgrind target/release/speed_table --callgrind least_outstanding 16 2000000
//! ```
//!
//! `--callgrind NAME PODS REQUESTS` runs one loop once and prints nothing else; NAME is a routing or `textbook`. The
//! difference of the two "Collected" counts over the difference of the requests is the cost of one request, without
//! start-up.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use kisim::router::Routing;
use kisim_benches::{Engine, PODS, ROUTINGS, UTILIZATION, textbook_loop};

const ROUNDS: usize = 7;

fn requests(pods: usize) -> u64 {
    if pods > 100 { 1_000_000 } else { 3_000_000 }
}

/// Runs the textbook loop, or the engine with a routing; returns the completed requests.
fn run(routing: Option<Routing>, pods: usize, requests: u64) -> u64 {
    match routing {
        None => textbook_loop(pods, UTILIZATION, requests, 1).0,
        Some(routing) => Engine::new(pods, UTILIZATION, routing, 1).run(requests),
    }
}

/// Requests per second.
fn speed(routing: Option<Routing>, pods: usize) -> f64 {
    let requests = requests(pods);
    let start = Instant::now();
    black_box(run(routing, black_box(pods), black_box(requests)));
    requests as f64 / start.elapsed().as_secs_f64()
}

/// The middle of `values`; the mean of the two middle ones if their number is even.
fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 }
}

fn table(rounds: usize) {
    println!("| pods | loop | requests/s, one core | ratio to textbook | range of the ratio |");
    println!("| ---: | --- | ---: | ---: | ---: |");
    for pods in PODS {
        let mut textbook = Vec::new();
        let mut rows = Vec::new();
        for (name, routing) in ROUTINGS {
            let (mut speeds, mut ratios) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                // The engine runs between two yardsticks, so that a drift of the machine cancels.
                let before = speed(None, pods);
                let ours = speed(Some(routing), pods);
                let after = speed(None, pods);
                speeds.push(ours);
                ratios.push(2.0 * ours / (before + after));
                textbook.extend([before, after]);
            }
            rows.push((name, median(&mut speeds), median(&mut ratios), ratios[0], ratios[rounds - 1]));
        }
        println!("| {pods} | textbook | {:.2} M | 1 | |", median(&mut textbook) / 1e6);
        for (name, speed, ratio, least, most) in rows {
            println!("| {pods} | {name} | {:.2} M | {ratio:.2} | {least:.2}–{most:.2} |", speed / 1e6);
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => table(ROUNDS),
        ["--callgrind", name, pods, requests] => {
            let routing = ROUTINGS.into_iter().find(|routing| routing.0 == name).map(|routing| routing.1);
            let (Ok(pods @ 1..), Ok(requests)) = (pods.parse(), requests.parse()) else { return usage() };
            if routing.is_none() && name != "textbook" {
                return usage();
            }
            black_box(run(routing, pods, requests));
        }
        [rounds] => match rounds.parse() {
            Ok(rounds @ 1..) => table(rounds),
            _ => return usage(),
        },
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: speed_table [ROUNDS] | speed_table --callgrind NAME PODS REQUESTS");
    ExitCode::FAILURE
}
