//! What a person sees while a policy learns: one line that is written anew, or, where no terminal is, plain lines.

use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use kisim::report::number;

/// How training stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    /// Environment steps so far.
    pub steps: u64,
    /// Of so many.
    pub total_steps: u64,
    /// Mean return of the episodes that ended lately.
    pub episode_return: Option<f64>,
    /// Share of requests that broke the objective, in them or in the last evaluation.
    pub violation_ratio: Option<f64>,
    /// What it cost, US dollars an hour.
    pub cost_per_hour: Option<f64>,
    /// Divergence of the last update, nats.
    pub kl: Option<f64>,
}

/// Steps a second and time left are worked out from here on: a resumed run has done its first steps before.
#[derive(Debug)]
pub struct Progress {
    label: String,
    begun: Option<(u64, Duration)>,
    written: Option<Duration>,
    live: Option<ProgressBar>,
}

/// Time between plain lines.
const EVERY: Duration = Duration::from_secs(5);

impl Progress {
    /// A line that is written anew on standard error if `live`, else plain lines.
    pub fn new(label: &str, live: bool) -> Self {
        let bar = live.then(|| {
            let bar = ProgressBar::new(1000);
            if let Ok(style) = ProgressStyle::with_template("[{bar:20}] {msg}") {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        Progress { label: label.to_owned(), begun: None, written: None, live: bar }
    }

    /// Shows `standing` at `now`, a time since any fixed moment; plain lines go to `out`, at most one in five seconds and
    /// always the last.
    ///
    /// # Errors
    /// If `out` fails.
    pub fn show(&mut self, standing: &Standing, now: Duration, out: &mut dyn Write) -> std::io::Result<()> {
        let (steps, begun) = *self.begun.get_or_insert((standing.steps, now));
        let elapsed = now.saturating_sub(begun).as_secs_f64();
        let done = standing.steps.saturating_sub(steps) as f64;
        let rate = (elapsed > 0.0 && done > 0.0).then(|| done / elapsed);
        let line = line(&self.label, standing, rate);
        if let Some(bar) = &self.live {
            bar.set_position(standing.steps.saturating_mul(1000) / standing.total_steps.max(1));
            bar.set_message(line);
            return Ok(());
        }
        let last = standing.steps >= standing.total_steps;
        if last || self.written.is_none_or(|written| now.saturating_sub(written) >= EVERY) {
            self.written = Some(now);
            writeln!(out, "{line}")?;
        }
        Ok(())
    }

    /// Takes the live line away.
    pub fn finish(&mut self) {
        if let Some(bar) = self.live.take() {
            bar.finish_and_clear();
        }
    }
}

/// The line: what is not known is left out.
fn line(label: &str, s: &Standing, steps_per_second: Option<f64>) -> String {
    let mut parts = vec![format!("{} of {} steps", number(s.steps as f64), number(s.total_steps as f64))];
    let mut part = |name: &str, value: Option<f64>, unit: &str| {
        if let Some(value) = value {
            parts.push(format!("{name}{}{unit}", number(value)));
        }
    };
    part("", steps_per_second.map(f64::round), " steps/s");
    part("return ", s.episode_return, "");
    part("violations ", s.violation_ratio.map(|v| v * 100.0), " %");
    part("cost ", s.cost_per_hour, " $/h");
    part("KL ", s.kl, "");
    if let Some(rate) = steps_per_second
        && s.total_steps > s.steps
    {
        parts.push(format!("{} left", clock((s.total_steps - s.steps) as f64 / rate)));
    }
    let text = parts.join(", ");
    if label.is_empty() { text } else { format!("{label}: {text}") }
}

/// `4:05`, `1:04:05`.
fn clock(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_come_now_and_then_and_at_the_end() {
        let mut progress = Progress::new("seed 1", false);
        let mut out = Vec::new();
        for second in 0..=12u64 {
            let standing = Standing {
                steps: 50_000 + second * 1_000,
                total_steps: 62_000,
                episode_return: Some(-1.25),
                violation_ratio: (second > 6).then_some(0.0125),
                cost_per_hour: Some(12.0),
                kl: Some(0.0123),
            };
            progress.show(&standing, Duration::from_secs(100 + second), &mut out).unwrap();
        }
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "seed 1: 50,000 of 62,000 steps, return -1.250, cost 12 $/h, KL 0.012",
                "seed 1: 55,000 of 62,000 steps, 1,000 steps/s, return -1.250, cost 12 $/h, KL 0.012, 0:07 left",
                "seed 1: 60,000 of 62,000 steps, 1,000 steps/s, return -1.250, violations 1.250 %, cost 12 $/h, KL 0.012, \
                 0:02 left",
                "seed 1: 62,000 of 62,000 steps, 1,000 steps/s, return -1.250, violations 1.250 %, cost 12 $/h, KL 0.012",
            ]
        );
    }

    #[test]
    fn clocks() {
        let check = |seconds: f64, text: &str| assert_eq!(clock(seconds), text);
        check(0.2, "0:01");
        check(245.0, "4:05");
        check(3845.0, "1:04:05");
        check(f64::INFINITY, &clock(u64::MAX as f64));
    }
}
