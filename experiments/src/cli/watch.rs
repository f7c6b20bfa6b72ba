//! Time and people, while cells run.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::Result;
use experiments::plan::Place;
use experiments::runner::{Standing, Watch};
use experiments::store::Record;
use indicatif::{ProgressBar, ProgressStyle};

/// Time between plain lines.
const EVERY: Duration = Duration::from_secs(10);

/// One line on standard error that is written anew, or plain lines where no terminal is; and Ctrl-C.
pub(super) struct Terminal {
    live: Option<ProgressBar>,
    written: Option<Instant>,
}

impl Terminal {
    pub(super) fn new() -> Self {
        // Whoever keeps either in a file wants lines.
        let live = (std::io::stderr().is_terminal() && std::io::stdout().is_terminal()).then(|| {
            let bar = ProgressBar::new(1000);
            if let Ok(style) = ProgressStyle::with_template("[{bar:20}] {wide_msg}") {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        Terminal { live, written: None }
    }

    /// Takes the live line away.
    pub(super) fn finish(&mut self) {
        if let Some(bar) = self.live.take() {
            bar.finish_and_clear();
        }
    }
}

impl Watch for Terminal {
    fn show(&mut self, standing: &Standing) {
        if let Some(bar) = &self.live {
            bar.set_position((standing.share * 1000.0) as u64);
            bar.set_message(line(standing));
            return;
        }
        let last = standing.done == standing.total;
        if last || self.written.is_none_or(|written| written.elapsed() >= EVERY) {
            self.written = Some(Instant::now());
            eprintln!("{}", line(standing));
        }
    }

    fn kept(&mut self, _place: Place, _record: &Record, _seconds: f64) -> Result<()> {
        Ok(())
    }

    fn stopped(&self) -> bool {
        super::interrupted()
    }
}

fn line(s: &Standing) -> String {
    let mut parts =
        vec![format!("{:.0} %", (s.share * 100.0 + 1e-9).floor()), format!("{} of {} cells", s.done, s.total)];
    if let Some(left) = s.left_s.filter(|_| s.done < s.total) {
        let left = left.ceil() as u64;
        parts.push(match left / 3600 {
            0 => format!("{}:{:02} left", left / 60, left % 60),
            hours => format!("{hours}:{:02}:{:02} left", left / 60 % 60, left % 60),
        });
    }
    if !s.running.is_empty() {
        parts.push(s.running.join(" "));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_known() {
        let mut standing = Standing {
            done: 3,
            total: 10,
            share: 0.4567,
            left_s: Some(125.2),
            running: vec!["a/b".into(), "c/d".into()],
        };
        assert_eq!(line(&standing), "45 %, 3 of 10 cells, 2:06 left, a/b c/d");
        standing.left_s = Some(3_700.0);
        assert_eq!(line(&standing), "45 %, 3 of 10 cells, 1:01:40 left, a/b c/d");
        let end = Standing { done: 10, total: 10, share: 1.0, left_s: Some(0.0), running: Vec::new() };
        assert_eq!(line(&end), "100 %, 10 of 10 cells");
    }
}
