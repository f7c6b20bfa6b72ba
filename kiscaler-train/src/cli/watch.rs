//! Time and people, for whatever runs long.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use kiscaler_train::drive::Watch;
use kiscaler_train::progress::{Progress, Standing};

/// The terminal: shows how training stands, and notices Ctrl-C.
pub(super) struct Terminal {
    started: Instant,
    progress: Progress,
}

impl Terminal {
    pub(super) fn new(label: &str) -> Self {
        // Whoever keeps either in a file wants lines.
        let live = std::io::stderr().is_terminal() && std::io::stdout().is_terminal();
        Terminal { started: Instant::now(), progress: Progress::new(label, live) }
    }

    /// Takes the live line away.
    pub(super) fn finish(&mut self) {
        self.progress.finish();
    }
}

impl Watch for Terminal {
    fn now_s(&self) -> f64 {
        super::now_s()
    }

    fn show(&mut self, standing: &Standing) {
        // Nobody to tell is no reason to stop learning.
        let _ = self.progress.show(standing, self.started.elapsed(), &mut std::io::stderr().lock());
    }

    fn stopped(&self) -> bool {
        super::interrupted()
    }
}

/// A bar on standard error, shown after two seconds if standard error is a terminal.
pub(super) struct Bar {
    label: String,
    started: Instant,
    bar: Mutex<Option<ProgressBar>>,
}

impl Bar {
    pub(super) fn new(label: &str) -> Self {
        Bar { label: label.to_owned(), started: Instant::now(), bar: Mutex::new(None) }
    }

    /// Notes that `share` (0–1) is done; answers whether to go on.
    pub(super) fn set(&self, share: f64) -> bool {
        if let Ok(mut bar) = self.bar.lock() {
            if bar.is_none() && self.started.elapsed() > Duration::from_secs(2) && std::io::stderr().is_terminal() {
                let new = ProgressBar::new(1000).with_message(self.label.clone());
                if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:40}] {percent:>3} %  {eta} left") {
                    new.set_style(style.progress_chars("=> "));
                }
                *bar = Some(new);
            }
            if let Some(bar) = bar.as_ref() {
                // Runs report out of order; a bar does not go back.
                bar.set_position(((share * 1000.0) as u64).max(bar.position()));
            }
        }
        !super::interrupted()
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Ok(mut bar) = self.bar.lock()
            && let Some(bar) = bar.take()
        {
            bar.finish_and_clear();
        }
    }
}
