//! Everything that games need of this box: what the probe tries, and what stands in a person's way besides.
//!
//! Called by `left4me doctor`, and by supervise for the page of the same name. Looks and changes nothing that stays.

use std::path::{Path, PathBuf};

use super::paths::Paths;
use super::ports::{Ours, Owners, snapshot};
use super::probe::{self, Check, Outcome};
use super::shim::starter::ShimStarter;
use super::steamcmd::Program;
use super::strays;
use crate::model::port::PortRange;
use crate::sys::process;

/// Bytes that the game files take, about.
const GAME_BYTES: u64 = 10 << 30;

/// What is looked at.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Where things lie.
    pub paths: Paths,
    /// Automatic ports.
    pub port_range: PortRange,
    /// SteamCMD, where the configuration names one.
    pub steamcmd: Option<PathBuf>,
    /// How shims are started.
    pub starter: ShimStarter,
}

/// Looks at the box. Blocks for some tens of milliseconds.
pub fn look(subject: &Subject) -> Vec<Check> {
    let data_dir = &subject.paths.data_dir;
    let mut checks = vec![user(), folder(data_dir)];
    // The probe writes into the data folder: without one it would only say so again.
    if data_dir.is_dir() {
        checks.extend(probe::run(&subject.starter, &subject.paths));
        checks.push(disk(data_dir));
    }
    checks.extend([
        ports(subject.port_range, &subject.paths),
        firewall(subject.port_range),
        steamcmd(subject.steamcmd.as_deref(), &subject.paths),
        journal(),
    ]);
    checks
}

fn check(name: &str, outcome: Outcome, text: String) -> Check {
    Check { name: name.into(), outcome, text }
}

fn user() -> Check {
    if rustix::process::geteuid().is_root() {
        let text = "this runs as root; left4me needs no root: install the package, whose service has a user of its own";
        return check("user", Outcome::Warning, text.into());
    }
    check("user", Outcome::Ok, "not root".into())
}

fn folder(data_dir: &Path) -> Check {
    let shown = data_dir.display();
    let (outcome, text) = match std::fs::metadata(data_dir) {
        Ok(facts) if !facts.is_dir() => (Outcome::Failure, format!("{shown} is not a folder; set data_dir")),
        Ok(_) => match rustix::fs::access(data_dir, rustix::fs::Access::WRITE_OK) {
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

fn disk(data_dir: &Path) -> Check {
    let (outcome, text) = match rustix::fs::statvfs(data_dir) {
        Ok(facts) => {
            let free = facts.f_bavail * facts.f_frsize;
            let gib = free as f64 / f64::from(1 << 30);
            let installed = std::fs::read_dir(data_dir.join("installation")).is_ok_and(|mut dir| dir.next().is_some());
            let shown = data_dir.display();
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

fn ports(range: PortRange, paths: &Paths) -> Check {
    // Our own games listen there, too: only other programs are worth a word.
    let ours = Ours { pids: strays::own_processes(paths, |_| true), ..Ours::default() };
    let listeners = snapshot(&ours, &Owners::default(), |port| range.contains(port));
    let strangers: Vec<String> = range.ports().filter_map(|port| listeners.on(port)).map(ToString::to_string).collect();
    if strangers.is_empty() {
        return check("ports", Outcome::Ok, format!("nobody else listens in {range}"));
    }
    let text = format!("{}; automatic choice passes over these ports", strangers.join(", "));
    check("ports", Outcome::Warning, text)
}

fn firewall(range: PortRange) -> Check {
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
    let name = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm"));
    process::all().iter().any(|pid| name(pid).is_ok_and(|comm| comm.trim() == program))
}

fn steamcmd(named: Option<&Path>, paths: &Paths) -> Check {
    let name = "SteamCMD";
    if let Some(path) = named {
        return if rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() {
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
