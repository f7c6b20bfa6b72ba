//! A progress bar on standard error, for people, on whatever takes longer than two seconds.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Shown after two seconds, if standard error is a terminal.
pub(crate) struct Bar {
    label: String,
    started: Instant,
    bar: Mutex<Option<ProgressBar>>,
}

impl Bar {
    pub(crate) fn new(label: &str) -> Self {
        Bar { label: label.to_owned(), started: Instant::now(), bar: Mutex::new(None) }
    }

    /// Notes that `share` (0–1) is done; answers whether to go on.
    pub(crate) fn set(&self, share: f64) -> bool {
        if let Ok(mut bar) = self.bar.lock() {
            if bar.is_none() && self.started.elapsed() > Duration::from_secs(2) && std::io::stderr().is_terminal() {
                let new = ProgressBar::new(1000);
                if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:40}] {percent:>3} %  {eta} left") {
                    new.set_style(style.progress_chars("=> "));
                }
                new.set_message(self.label.clone());
                *bar = Some(new);
            }
            if let Some(bar) = bar.as_ref() {
                let position = (share * 1000.0) as u64;
                // Runs report out of order; a bar does not go back.
                if position > bar.position() {
                    bar.set_position(position);
                }
            }
        }
        !super::interrupted()
    }

    /// Takes the bar away; how long it took.
    pub(crate) fn finish(&self) -> Duration {
        if let Ok(mut bar) = self.bar.lock()
            && let Some(bar) = bar.take()
        {
            bar.finish_and_clear();
        }
        self.started.elapsed()
    }
}
