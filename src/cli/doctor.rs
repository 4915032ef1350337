//! `left4me doctor`: everything a game needs of this box, each ok, warning or failure with its remedy.
//!
//! Looks and changes nothing that stays. Exit code 1 when something fails; warnings do not fail.

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::json;

use super::client::Client;
use super::table;
use crate::config::Config;
use crate::host::paths::Paths;
use crate::host::ports::{Ours, snapshot};
use crate::host::probe::{self, Check, Outcome};
use crate::host::shim::starter::ShimStarter;
use crate::host::steamcmd::Program;
use crate::host::strays;

/// Bytes that the game files take, about.
const GAME_BYTES: u64 = 10 << 30;

/// Looks at the box and prints what was found.
pub async fn run(config: &Config, as_json: bool) -> Result<()> {
    let daemon = Client::reach(&config.socket).await;
    let looked_at = config.clone();
    let mut checks = tokio::task::spawn_blocking(move || look(&looked_at)).await?;
    checks.push(match daemon {
        Ok(Some(_)) => check("daemon", Outcome::Ok, format!("answers on {}", config.socket.display())),
        Ok(None) => check("daemon", Outcome::Warning, "does not run: systemctl start left4me, or left4me serve".into()),
        Err(error) => check("daemon", Outcome::Warning, format!("{error:#}")),
    });
    if as_json {
        table::print_json(&json!({"checks": checks}));
    } else {
        for found in &checks {
            let word = match found.outcome {
                Outcome::Ok => "ok      ",
                Outcome::Warning => "warning ",
                Outcome::Failure => "FAILURE ",
            };
            println!("{word} {}: {}", found.name, found.text);
        }
    }
    match checks.iter().filter(|check| check.outcome == Outcome::Failure).count() {
        0 => Ok(()),
        1 => bail!("one check failed; its remedy stands beside it"),
        several => bail!("{several} checks failed; their remedies stand beside them"),
    }
}

fn check(name: &str, outcome: Outcome, text: String) -> Check {
    Check { name: name.into(), outcome, text }
}

fn look(config: &Config) -> Vec<Check> {
    let paths = Paths::new(config.data_dir.clone(), config.overlay_root.clone());
    let mut checks = vec![user(), folder(config)];
    // The probe writes into the data folder: without one it would only say so again.
    if config.data_dir.is_dir() {
        checks.extend(probe::run(&ShimStarter::Exec { program: "/proc/self/exe".into() }, &paths));
        checks.push(disk(config));
    }
    checks.extend([ports(config, &paths), firewall(config), steamcmd(config, &paths), journal()]);
    checks
}

fn user() -> Check {
    if rustix::process::geteuid().is_root() {
        let text = "this runs as root; left4me needs no root: install the package, whose service has a user of its own";
        return check("user", Outcome::Warning, text.into());
    }
    check("user", Outcome::Ok, "not root".into())
}

fn folder(config: &Config) -> Check {
    let shown = config.data_dir.display();
    let (outcome, text) = match std::fs::metadata(&config.data_dir) {
        Ok(facts) if !facts.is_dir() => (Outcome::Failure, format!("{shown} is not a folder; set data_dir")),
        Ok(_) => match rustix::fs::access(&config.data_dir, rustix::fs::Access::WRITE_OK) {
            Ok(()) => (Outcome::Ok, shown.to_string()),
            Err(error) => (
                Outcome::Failure,
                format!("{shown} cannot be written ({error}): run this as root or as the service user"),
            ),
        },
        Err(error) => {
            (Outcome::Failure, format!("{shown} cannot be read ({error}): install the package, or set data_dir"))
        }
    };
    check("data folder", outcome, text)
}

fn disk(config: &Config) -> Check {
    let (outcome, text) = match rustix::fs::statvfs(&config.data_dir) {
        Ok(facts) => {
            let free = facts.f_bavail * facts.f_frsize;
            let gib = free as f64 / f64::from(1 << 30);
            let installed =
                std::fs::read_dir(config.data_dir.join("installation")).is_ok_and(|mut dir| dir.next().is_some());
            let shown = config.data_dir.display();
            if free < 1 << 30 {
                (Outcome::Failure, format!("{gib:.1} GiB free in {shown}: games cannot write; free some space"))
            } else if !installed && free < GAME_BYTES {
                (Outcome::Warning, format!("{gib:.1} GiB free in {shown}: the game takes about 10 GiB"))
            } else {
                (Outcome::Ok, format!("{gib:.1} GiB free"))
            }
        }
        Err(error) => (Outcome::Warning, format!("cannot be asked: {error}")),
    };
    check("disk", outcome, text)
}

fn ports(config: &Config, paths: &Paths) -> Check {
    // Our own games listen there, too: only other programs are worth a word.
    let ours = Ours { pids: strays::own_processes(paths, |_| true), ..Ours::default() };
    let listeners = snapshot(&ours, |port| config.port_range.contains(port));
    let strangers: Vec<String> =
        config.port_range.ports().filter_map(|port| listeners.on(port)).map(ToString::to_string).collect();
    if strangers.is_empty() {
        return check("ports", Outcome::Ok, format!("nobody else listens in {}", config.port_range));
    }
    let text = format!("{}; automatic choice passes over these ports", strangers.join(", "));
    check("ports", Outcome::Warning, text)
}

fn firewall(config: &Config) -> Check {
    let range = config.port_range;
    let ufw = std::fs::read_to_string("/etc/ufw/ufw.conf").is_ok_and(|text| text.contains("ENABLED=yes"));
    let (outcome, text) = if ufw {
        let ports = format!("{}:{}", range.first, range.last);
        let open = format!("ufw allow {ports}/udp; ufw allow {ports}/tcp");
        (Outcome::Warning, format!("ufw is on: players get in once the ports are open: {open}"))
    } else if is_running("firewalld") {
        let open =
            format!("firewall-cmd --permanent --add-port={range}/udp --add-port={range}/tcp; firewall-cmd --reload");
        (Outcome::Warning, format!("firewalld runs: players get in once the ports are open: {open}"))
    } else {
        let text =
            format!("no ufw and no firewalld here; whatever else is in between must let {range} through, UDP and TCP");
        (Outcome::Ok, text)
    };
    check("firewall", outcome, text)
}

/// Whether a program of that name runs, as far as its name can be read.
fn is_running(program: &str) -> bool {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("comm")).ok())
        .any(|comm| comm.trim() == program)
}

fn steamcmd(config: &Config, paths: &Paths) -> Check {
    let name = "SteamCMD";
    if let Some(path) = config.steamcmd_path() {
        return if rustix::fs::access(&path, rustix::fs::Access::EXEC_OK).is_ok() {
            check(name, Outcome::Ok, path.display().to_string())
        } else {
            let text = format!("{} cannot be executed; set steamcmd to auto or to the right path", path.display());
            check(name, Outcome::Failure, text)
        };
    }
    match Program::find(paths, None) {
        Ok(Some(program)) => check(name, Outcome::Ok, program.path().display().to_string()),
        Ok(None) => {
            let text = "not there yet; the first install fetches it from Valve, or: apt install steamcmd";
            check(name, Outcome::Warning, text.into())
        }
        Err(text) => check(name, Outcome::Failure, text),
    }
}

fn journal() -> Check {
    if Path::new("/run/systemd/journal/socket").exists() {
        check("journal", Outcome::Ok, "journalctl -t left4me-server@ID shows a console".into())
    } else {
        let text = "no systemd journal here; logs go to standard error, consoles to files as always";
        check("journal", Outcome::Warning, text.into())
    }
}
