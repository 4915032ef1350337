//! The command line: what the words mean, and which command carries them out (contract §5).
//!
//! Called by `main`. Each command lives in a file of its own and knows neither exit codes nor the parser. Exit codes are
//! chosen here: 0 done, 1 failed (one line on standard error), 2 wrong usage or configuration.

mod admin;
mod backup;
pub mod client;
mod doctor;
mod generate;
mod install;
mod ports;
mod reach;
mod servers;
mod table;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{Config, ConfigError};
use crate::systemd::journal;
use crate::{daemon, demo};

/// Left 4 Dead 2 server host: one binary, a web page, no root.
#[derive(Debug, Parser)]
#[command(name = "left4me", version, about)]
struct Words {
    /// Configuration file (default /etc/left4me/config.yaml, when it exists).
    #[arg(long, global = true, value_name = "FILE", env = "LEFT4ME_CONFIG")]
    config: Option<PathBuf>,

    /// Recovery: make or restore this admin (default `admin`) with a new random password, and print both.
    #[arg(long, value_name = "USERNAME", num_args = 0..=1, default_missing_value = "admin")]
    reset_admin: Option<String>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: the web page and the game servers.
    Serve,
    /// A first look: everything in a throw-away folder, with a simulated game and sample data.
    Demo {
        /// Address of the web page (default 127.0.0.1:27080, or any free port where that is taken).
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
    },
    /// Make a user an admin.
    PromoteAdmin {
        /// Name of the user.
        username: String,
    },
    /// Ports: who holds which, what is wrong, letting go.
    Ports {
        /// For programs.
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        command: ports::Command,
    },
    /// Servers: what runs, up and down, consoles.
    Servers {
        #[command(subcommand)]
        command: servers::Command,
    },
    /// Install or update the game files.
    Install {
        /// Show the job until it ends.
        #[arg(long)]
        follow: bool,
        /// First let SteamCMD log in as this account, on this terminal; later installs use its cached login.
        #[arg(long, value_name = "USER")]
        login: Option<String>,
    },
    /// Look at this box: what works, what is missing, what to do about it.
    Doctor {
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Write a consistent copy of the store, also while the daemon runs.
    Backup {
        /// A file that does not exist yet.
        file: PathBuf,
    },
    /// Put a copy of the store in place; the daemon must not run. The store that was there is kept beside it.
    Restore {
        /// What `backup` wrote.
        file: PathBuf,
    },
    /// Print shell completions.
    #[command(hide = true)]
    Completions {
        /// bash, zsh, fish, elvish or powershell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    #[command(hide = true)]
    Man,
}

/// Everything that is not a simulated program and not a shim. `words` as the system gave them, the program's name first.
pub fn main(words: Vec<OsString>) -> ExitCode {
    if words.len() < 2 {
        // Standard output may be closed: then nobody reads help.
        let _ = Words::command().print_help();
        return ExitCode::SUCCESS;
    }
    let words = match parse(words) {
        Ok(words) => words,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    match run(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("left4me: {error:#}");
            ExitCode::from(if error.is::<ConfigError>() { 2 } else { 1 })
        }
    }
}

fn parse<W: Into<OsString> + Clone>(words: impl IntoIterator<Item = W>) -> Result<Words, clap::Error> {
    let words = Words::try_parse_from(words)?;
    // clap knows no conflict between a flag and a command.
    if words.reset_admin.is_some() && words.command.is_some() {
        let text = "--reset-admin stands alone, without a command";
        return Err(Words::command().error(clap::error::ErrorKind::ArgumentConflict, text));
    }
    Ok(words)
}

/// How long work on the machine that nobody waits for any more may hold up the end.
const LEFT_OVER: std::time::Duration = std::time::Duration::from_secs(5);

fn run(words: Words) -> Result<()> {
    let config = || Config::load_here(words.config.as_deref());
    let Some(command) = words.command else {
        return match words.reset_admin {
            Some(username) => quietly(admin::reset(&config()?, &username)),
            None => Ok(Words::command().print_help()?),
        };
    };
    match command {
        Command::Serve => {
            let config = config()?;
            journal::start(config.log_level);
            let runtime = runtime(tokio::runtime::Builder::new_multi_thread())?;
            let ended = runtime.block_on(daemon::serve(config, |_| {}));
            // Nobody waits for what a disk that hangs may never answer: the look at the machine, say.
            runtime.shutdown_timeout(LEFT_OVER);
            Ok(ended?)
        }
        Command::Demo { listen } => {
            journal::start(log::LevelFilter::Warn);
            runtime(tokio::runtime::Builder::new_multi_thread())?.block_on(demo::run(listen))
        }
        Command::PromoteAdmin { username } => quietly(admin::promote(&config()?, &username)),
        Command::Ports { json, command } => quietly(ports::run(&config()?, command, json)),
        Command::Servers { command } => quietly(servers::run(&config()?, command)),
        Command::Install { follow, login } => {
            let config = config()?;
            if let Some(account) = login {
                install::log_in(&config, &account)?;
            }
            quietly(install::run(&config, follow))
        }
        Command::Doctor { json } => quietly(doctor::run(&config()?, json)),
        Command::Backup { file } => quietly(backup::backup(&config()?, &file)),
        Command::Restore { file } => quietly(backup::restore(&config()?, &file)),
        Command::Completions { shell } => generate::completions(Words::command(), shell),
        Command::Man => generate::man(Words::command()),
    }
}

/// Runs a short command: one thread, and only errors are logged.
fn quietly(command: impl Future<Output = Result<()>>) -> Result<()> {
    journal::start(log::LevelFilter::Error);
    runtime(tokio::runtime::Builder::new_current_thread())?.block_on(command)
}

fn runtime(mut builder: tokio::runtime::Builder) -> Result<tokio::runtime::Runtime> {
    Ok(builder.enable_all().build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_consistent() {
        Words::command().debug_assert();
    }

    #[test]
    fn reset_admin_takes_a_name_or_none() {
        let parse = |words: &[&str]| super::parse([&["left4me"], words].concat());
        assert_eq!(parse(&["--reset-admin"]).unwrap().reset_admin.as_deref(), Some("admin"));
        assert_eq!(parse(&["--reset-admin", "--config", "/c"]).unwrap().reset_admin.as_deref(), Some("admin"));
        assert_eq!(parse(&["--reset-admin", "zoe"]).unwrap().reset_admin.as_deref(), Some("zoe"));
        assert!(parse(&["--reset-admin", "zoe", "serve"]).is_err());
    }
}
