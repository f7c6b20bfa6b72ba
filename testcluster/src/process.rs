//! Processes that end with us, however we end.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};

/// A running process: killed when dropped, and also when the process that started it dies without dropping anything.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// A shell that waits for the end of its input, which is the end of us, and then kills the child.
    watchdog: Child,
}

impl Process {
    /// Starts `command` with both outputs in the file `log`.
    ///
    /// # Errors
    ///
    /// The log cannot be written, or the command cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let copy = file.try_clone().with_context(|| format!("cannot write {}", log.display()))?;
        Self::spawn(command.stdout(copy).stderr(file))
    }

    /// Starts `command` and hands out what it writes, with its errors in the file `log`.
    ///
    /// # Errors
    ///
    /// The log cannot be written, or the command cannot be started.
    pub fn start_piped(command: &mut Command, log: &Path) -> Result<(Self, ChildStdout)> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut process = Self::spawn(command.stdout(Stdio::piped()).stderr(file))?;
        let output = process.child.stdout.take().context("a piped process has no output")?;
        Ok((process, output))
    }

    fn spawn(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_owned();
        let mut child =
            command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot start {}", name.display()))?;
        let watchdog = Command::new("sh")
            .args(["-c", "trap '' INT TERM; read -r _; kill -9 \"$1\"", "sh", &child.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match watchdog {
            Ok(watchdog) => Ok(Self { child, watchdog }),
            Err(error) => {
                // Best effort: the error that matters is the one returned.
                let _ = child.kill();
                let _ = child.wait();
                Err(error).context("cannot start sh")
            }
        }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The watchdog first: afterwards the number could be another process's.
        for process in [&mut self.watchdog, &mut self.child] {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// 128 random bits in hexadecimal.
///
/// # Errors
///
/// The system has no `/dev/urandom`.
pub fn random_token() -> Result<String> {
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes)).context("cannot read /dev/urandom")?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}
