//! Being told to stop.

use tokio::sync::watch;

/// Tells many that it is time to stop: once, and whoever asks later hears of it, too.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Hears of it.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// One who tells, and one who hears.
pub fn stop() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Says so.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Returns once it was said, or nobody is left to say it.
    pub async fn heard(&mut self) {
        // An error means that nobody is left.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}
