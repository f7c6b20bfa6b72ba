//! What a command says of itself to shells and to `man`: two subcommands that every command of this project has, and that its
//! help does not show.

use std::path::PathBuf;

use clap::{Command, Subcommand};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::report::{OutputError, write_atomically};

/// The subcommands.
#[derive(Clone, Debug, Subcommand)]
pub enum Manual {
    /// Print a completion script for a shell
    #[command(hide = true)]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Write manual pages, one a subcommand
    #[command(hide = true)]
    Man {
        /// The folder, such as /usr/local/share/man/man1
        folder: PathBuf,
    },
}

impl Manual {
    /// Does it, for `command`; what is to be printed.
    ///
    /// # Errors
    /// If a page cannot be written.
    pub fn write(&self, mut command: Command) -> Result<String, OutputError> {
        match self {
            Manual::Completions { shell } => {
                let name = command.get_name().to_owned();
                let mut script = Vec::new();
                clap_complete::generate(*shell, &mut command, name, &mut script);
                Ok(String::from_utf8_lossy(&script).into_owned())
            }
            Manual::Man { folder } => {
                let mut command = command.disable_help_subcommand(true);
                command.build();
                let mut pages = vec![command];
                let mut files = String::new();
                while let Some(command) = pages.pop() {
                    pages.extend(command.get_subcommands().filter(|command| !command.is_hide_set()).cloned());
                    let page = Man::new(command);
                    let path = folder.join(page.get_filename());
                    write_atomically(&path, |out| page.render(out))?;
                    files.push_str(&format!("{}\n", path.display()));
                }
                Ok(files)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        let deep = Command::new("deep").about("At the bottom");
        Command::new("tool").subcommand(Command::new("one").about("The first").subcommand(deep))
    }

    #[test]
    fn every_shell_is_told_of_every_subcommand() {
        for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::PowerShell, Shell::Zsh] {
            let script = Manual::Completions { shell }.write(command()).unwrap();
            for name in ["tool", "one", "deep"] {
                assert!(script.contains(name), "{shell}: {name}");
            }
        }
    }

    #[test]
    fn every_subcommand_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let said = Manual::Man { folder: folder.path().to_owned() }.write(command()).unwrap();
        for (page, text) in [("tool.1", "tool"), ("tool-one.1", "The first"), ("tool-one-deep.1", "At the bottom")] {
            assert!(std::fs::read_to_string(folder.path().join(page)).unwrap().contains(text), "{page}");
            assert!(said.contains(page), "{said}");
        }
    }
}
