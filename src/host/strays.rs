//! Games that no server of ours owns: left over from another panel, an older daemon or a crash.
//!
//! `left4me ports check` and the page of ports show them; an admin may end one. Nothing is ended by itself: it may be
//! somebody's game.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::paths::{Paths, Run};
use super::shim::{client, state};
use crate::model::id::ServerId;
use crate::model::machine::StrayError;
use crate::model::port::StrayGame;
use crate::sys::process;

/// Programs of the game: the server itself, and Valve's wrapper that starts it again when it ends.
const PROGRAMS: [&str; 3] = ["srcds_linux", "srcds_linux64", "srcds_run"];
/// What runs the wrapper, which is a script.
const SHELLS: [&str; 3] = ["sh", "bash", "dash"];
/// A game younger than this may be one of ours whose shim has not written its state yet.
const SETTLED: Duration = Duration::from_secs(2);
/// How long a game may take to end after SIGTERM.
const GENTLE: Duration = Duration::from_secs(5);
/// Longest command line that is kept, in bytes.
const COMMAND_MAX: usize = 1000;

/// Processes of our own runs, read from what their shims wrote. Needs no daemon. `known`: whether a server has a record;
/// a run without one (the store was restored from before it) is nobody's.
pub fn own_processes(paths: &Paths, known: impl Fn(ServerId) -> bool) -> HashSet<i32> {
    let mut own = HashSet::new();
    for run in client::runs(paths).unwrap_or_default() {
        if matches!(run, Run::Server(host) if !known(host.server())) {
            continue;
        }
        let Ok(Some(found)) = state::read_state(&paths.run(run)) else { continue };
        own.extend([found.shim, found.init, found.program].iter().filter(|one| one.is_alive()).map(|one| one.pid));
    }
    own
}

/// Games of the box that descend from none of `own`, oldest first. Of a wrapper and its game only the wrapper is
/// named: ending it ends both.
pub fn find(own: &HashSet<i32>) -> Vec<StrayGame> {
    let mut found: Vec<StrayGame> = process::all().into_iter().filter_map(|pid| look(pid, own)).collect();
    let all: HashSet<i32> = found.iter().map(|game| game.pid as i32).collect();
    found.retain(|game| !process::parents(game.pid as i32).any(|parent| all.contains(&parent)));
    found.sort_by_key(|game| std::cmp::Reverse(game.age_seconds));
    found
}

/// Ends a stray game and everything below it: SIGTERM, and SIGKILL for what is left after five seconds. `start_time`
/// tells the process that was shown from another that got its number since. Blocks until it has ended.
pub fn end(pid: u32, start_time: u64, own: &HashSet<i32>) -> Result<(), StrayError> {
    let number = i32::try_from(pid).map_err(|_| StrayError::Gone(pid))?;
    // Opened before it is looked at: from here on the descriptor, not the number, is what is signalled.
    let opened = open(number).map_err(|_| StrayError::Gone(pid))?;
    let game = look(number, own).filter(|game| game.start_time == start_time).ok_or(StrayError::Gone(pid))?;
    let mut tree: Vec<OwnedFd> = below(number).into_iter().filter_map(|child| open(child).ok()).collect();
    for process in std::iter::once(&opened).chain(&tree) {
        match pidfd_send_signal(process, Signal::TERM) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(rustix::io::Errno::PERM) => return Err(StrayError::NotPermitted { pid, uid: game.uid }),
            Err(error) => return Err(StrayError::Failed { pid, error: error.to_string() }),
        }
    }
    let until = Instant::now() + GENTLE;
    tree.retain(|process| !has_ended(process, until.saturating_duration_since(Instant::now())));
    // What it started meanwhile. Only while it lives is the number its own.
    let later: Vec<OwnedFd> = below(number).into_iter().filter_map(|child| open(child).ok()).collect();
    if !has_ended(&opened, until.saturating_duration_since(Instant::now())) {
        tree.extend(later);
        tree.push(opened);
    }
    for process in &tree {
        let _ = pidfd_send_signal(process, Signal::KILL);
    }
    if tree.iter().all(|process| has_ended(process, GENTLE)) {
        return Ok(());
    }
    Err(StrayError::Failed { pid, error: "it outlives SIGKILL: it waits for a disk".into() })
}

fn open(pid: i32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Waits for the end of a process, at most `patience`.
fn has_ended(process: &OwnedFd, patience: Duration) -> bool {
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Found by the parents of all: the kernel's own list of children is not complete while some of them end (proc(5)).
fn below(pid: i32) -> Vec<i32> {
    process::all().into_iter().filter(|other| process::parents(*other).any(|parent| parent == pid)).collect()
}

/// The process, if it is a game and not one of ours.
fn look(pid: i32, own: &HashSet<i32>) -> Option<StrayGame> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<String> = line
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    if !is_game(&words) || own.contains(&pid) || process::parents(pid).any(|parent| own.contains(&parent)) {
        return None;
    }
    let start_time = process::start_time(pid).ok()?;
    let age = process::age(start_time)?;
    let mut command = words.join(" ");
    command.truncate(command.floor_char_boundary(COMMAND_MAX));
    let uid = std::os::unix::fs::MetadataExt::uid(&fs::metadata(format!("/proc/{pid}")).ok()?);
    (age >= SETTLED && process::runs(pid, start_time)).then(|| StrayGame {
        pid: pid as u32,
        start_time,
        port: port_of(&words),
        age_seconds: age.as_secs(),
        uid,
        command,
    })
}

/// Whether a command line starts the game: by itself, or as a script that a shell was given.
fn is_game(words: &[String]) -> bool {
    let name = |word: Option<&String>| word.and_then(|word| word.rsplit('/').next()).map(ToOwned::to_owned);
    let is = |word: Option<&String>, names: &[&str]| name(word).is_some_and(|name| names.contains(&name.as_str()));
    is(words.first(), &PROGRAMS) || (is(words.first(), &SHELLS) && is(words.get(1), &PROGRAMS))
}

/// What follows `-port`, the last one if there are several, as srcds reads it.
fn port_of(words: &[String]) -> Option<u16> {
    let at = words.iter().rposition(|word| word == "-port" || word == "+hostport")?;
    words.get(at + 1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    /// A process that looks like a game: a shell under its name, which waits for its input to end.
    fn game(script: &str) -> (tempfile::TempDir, Child) {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("srcds_run");
        fs::write(&program, script).unwrap();
        let child = Command::new("/bin/sh")
            .arg(&program)
            .args(["-game", "left4dead2", "-port", "27999"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        (folder, child)
    }

    fn found(child: &Child, own: &HashSet<i32>) -> Option<StrayGame> {
        find(own).into_iter().find(|game| game.pid == child.id())
    }

    fn settled(child: &Child) -> StrayGame {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(game) = found(child, &HashSet::new()) {
                return game;
            }
            assert!(Instant::now() < until, "the game is never found");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    #[test]
    fn a_game_that_nobody_owns_is_found_with_its_port_and_one_of_ours_is_not() {
        let (_folder, mut child) = game("read line\n");
        let stray = settled(&child);
        assert_eq!(stray.port, Some(27999));
        assert!(stray.command.contains("srcds_run -game left4dead2 -port 27999"), "{stray:?}");
        // Ours are known by any process above them.
        let me = std::process::id() as i32;
        assert!(found(&child, &[me].into()).is_none());
        assert!(found(&child, &[child.id() as i32].into()).is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn ending_a_stray_ends_all_below_it_even_what_ignores_the_request() {
        let (_folder, mut child) =
            game("trap '' TERM\n(trap '' TERM; echo ready; while :; do read line; done) &\nwait\n");
        let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        let stray = settled(&child);
        let children = below(stray.pid as i32);
        assert!(!children.is_empty());
        // The child is ours to collect; until then it counts as ended.
        end(stray.pid, stray.start_time, &HashSet::new()).unwrap();
        child.wait().unwrap();
        let still = |pid: &i32| process::start_time(*pid).is_ok_and(|start| process::runs(*pid, start));
        assert!(!children.iter().any(still), "{children:?}");
    }

    #[test]
    fn only_the_very_process_that_was_shown_is_ended() {
        let (_folder, mut child) = game("read line\n");
        let stray = settled(&child);
        let none = HashSet::new();
        assert_eq!(end(stray.pid, stray.start_time + 1, &none), Err(StrayError::Gone(stray.pid)));
        let me = std::process::id();
        assert_eq!(end(me, process::start_time(me as i32).unwrap(), &none), Err(StrayError::Gone(me)));
        assert_eq!(end(u32::MAX, 0, &none), Err(StrayError::Gone(u32::MAX)));
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_command_line_is_told_apart_by_its_program() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for line in ["./srcds_linux -game x", "/bin/sh ./srcds_run -port 1", "/srv/l4d2/srcds_linux"] {
            assert!(is_game(&words(line)), "{line}");
        }
        for line in ["vim srcds_run", "tail -f srcds_linux.log", "grep srcds_linux /etc", "sh -c srcds_run", ""] {
            assert!(!is_game(&words(line)), "{line}");
        }
        assert_eq!(port_of(&words("./srcds_linux -port 27015 -port 27016")), Some(27016));
        assert_eq!(port_of(&words("./srcds_linux -port")), None);
        assert_eq!(port_of(&words("./srcds_linux +map c1m1_hotel")), None);
    }
}
