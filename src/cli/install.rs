//! `left4me install`: asks for the install job and shows how far it is; also follows the jobs of other commands.

use std::io::{IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::client::Client;
use super::reach::{Reach, hand_over};
use crate::config::Config;
use crate::host::paths::Paths;
use crate::host::steamcmd::{self, Program};
use crate::model::ansi;
use crate::model::job::Progress;
use crate::model::pace::{Pace, describe};
use crate::model::user::Actor;

/// Least and most cells of the progress bar: it takes what its words leave.
const CELLS: (u64, u64) = (8, 30);

/// Asks for an install. `follow`: shows it until it ends.
pub async fn run(config: &Config, follow: bool) -> Result<()> {
    match Reach::find(config).await? {
        Reach::Daemon(client) => {
            let job = client.post("/admin/install", &json!({})).await?;
            let job = job["id"].as_u64().context("the daemon answered without a job")?;
            if follow {
                return follow_job(&client, job).await;
            }
            println!("job {job}: install");
            Ok(())
        }
        Reach::Here(domain) => {
            let asked = tokio::task::spawn_blocking(move || domain.request_install(&Actor::system())).await?;
            hand_over(config)?;
            println!("job {}: install is queued; no daemon runs: systemctl start left4me", asked?.id);
            Ok(())
        }
    }
}

/// SteamCMD's own login on this terminal, as the owner of the data. No password passes through us or is stored.
pub fn log_in(config: &Config, account: &str) -> Result<()> {
    if !steamcmd::is_account_name(account) {
        bail!("{account} is no Steam account name: letters, digits and _ only");
    }
    let paths = Paths::new(config.data_dir.clone(), config.overlay_root.clone());
    let program = Program::find(&paths, config.steamcmd_path().as_deref()).map_err(anyhow::Error::msg)?.with_context(|| {
        "SteamCMD is not there yet: run `left4me install` once, which fetches it, then log in; on Debian and Ubuntu `apt \
         install steamcmd` (non-free, i386) brings one, too"
    })?;
    let owner = std::fs::metadata(paths.steam()).with_context(|| {
        format!("{} cannot be read: start left4me once, it makes its folders", paths.steam().display())
    })?;
    let mut command = Command::new(program.path());
    command.args(["+login", account, "+quit"]).current_dir(paths.steam()).env("HOME", paths.steam());
    if rustix::process::geteuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let status = command.status().with_context(|| format!("{} cannot be run", program.path().display()))?;
    if !status.success() {
        bail!("SteamCMD did not log in as {account} ({status}): see what it said above");
    }
    steamcmd::remember_account(&paths, account).context("the account's name cannot be stored")?;
    println!("logged in as {account}; installs use this login where Steam refuses the anonymous one");
    Ok(())
}

/// Prints the log of a job until it ends; an error when it did not succeed.
pub async fn follow_job(client: &Client, job: u64) -> Result<()> {
    let mut seen = 0;
    let terminal = std::io::stderr().is_terminal();
    'streams: loop {
        let mut events = client.events(&format!("/jobs/{job}/stream?last_seq={seen}")).await?;
        let before = seen;
        while let Some(event) = events.next_event().await? {
            seen = event.id.parse().unwrap_or(seen);
            match event.event.as_str() {
                "stdout" | "stderr" => println!("{}{}", clear(terminal), event.data),
                "progress" if terminal => {
                    eprint!("{}{}", clear(true), bar(&event.data, columns()));
                    std::io::stderr().flush()?;
                }
                "end" => break 'streams,
                "more" => break,
                _ => {}
            }
        }
        // The stream may end at its replay limit and is resumed; one that gives nothing new has ended with its daemon.
        if seen == before {
            break;
        }
    }
    eprint!("{}", clear(terminal));
    let ended = client.get(&format!("/jobs/{job}")).await?;
    match ended["state"].as_str() {
        Some("succeeded") => Ok(()),
        Some(state) => {
            let why = ended["error"].as_str().map_or_else(String::new, |error| format!(": {error}"));
            bail!("job {job} is {state}{why}")
        }
        None => bail!("job {job} cannot be read any more"),
    }
}

/// Takes the progress bar away.
fn clear(terminal: bool) -> &'static str {
    if terminal { "\r\x1b[K" } else { "" }
}

/// `[####--------]  33%  downloading  1.2 GiB of 3.6 GiB, 5.0 MiB/s, 8 min 10 s left`, from the progress that the stream
/// carries, on one line of `columns`.
fn bar(data: &str, columns: usize) -> String {
    let value: Value = serde_json::from_str(data).unwrap_or(Value::Null);
    let number = |key: &str| value[key].as_u64();
    let progress = Progress {
        phase: ansi::plain(value["phase"].as_str().unwrap_or_default()).into_owned(),
        done: number("done").unwrap_or(0),
        total: number("total").unwrap_or(0),
    };
    let pace = number("bytes_per_second")
        .map(|bytes_per_second| Pace { bytes_per_second, seconds_left: number("seconds_left") });
    let part = |of: u64| {
        let done = u128::from(progress.done.min(progress.total)) * u128::from(of);
        done.checked_div(u128::from(progress.total)).unwrap_or(0) as u64
    };
    let words = format!("{:>3}%  {}  {}", part(100), progress.phase, describe(&progress, pace));
    let cells = (columns as u64).saturating_sub(words.chars().count() as u64 + 4).clamp(CELLS.0, CELLS.1);
    let filled = part(cells) as usize;
    let line = format!("[{}{}] {words}", "#".repeat(filled), "-".repeat(cells as usize - filled));
    // A line that wraps could not be taken away again.
    line.chars().take(columns.saturating_sub(1)).collect()
}

/// Width of the terminal; one that does not say is taken for the usual one.
fn columns() -> usize {
    match rustix::termios::tcgetwinsize(std::io::stderr()).map(|size| usize::from(size.ws_col)) {
        Ok(0) | Err(_) => 80,
        Ok(columns) => columns,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_drawn_for_any_progress() {
        let half =
            "{\"done\":1048576,\"total\":2097152,\"phase\":\"x\",\"bytes_per_second\":1024,\"seconds_left\":1024}";
        assert_eq!(
            bar(half, 100),
            format!("[{}{}]  50%  x  1.0 MiB of 2.0 MiB, 1.0 KiB/s, 17 min 04 s left", "#".repeat(15), "-".repeat(15))
        );
        assert_eq!(bar(half, 30).chars().count(), 29);
        assert!(bar("{\"done\":18446744073709551615,\"total\":1}", 80).contains("100%"));
        assert!(bar("nonsense", 80).contains("  0%"));
    }
}
