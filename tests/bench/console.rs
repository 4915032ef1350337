//! Row 4 and a part of row 5: what a shim costs while a game prints: bytes a second through it, beside a bare copy from a pseudo-terminal into a file; and
//! its memory while the game is silent, beside Debian's conmon and a tmux pane.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use left4me::host::shim::client::Event;

use crate::host::{Place, await_exit, eventually, kill};
use crate::table::{Goal, Rounds, Row};

const ROUNDS: usize = 5;
const LINES: u64 = 3_000_000;

fn printer() -> String {
    format!("echo ready; read -r go; exec seq 1 {LINES}")
}

/// Bytes of the console of one run through a shim, from the typed word to the end, and how long that took.
async fn through_a_shim() -> (f64, u64) {
    let place = Place::with_game(&printer());
    let mut launch = place.launch(1);
    launch.console.keep_bytes = 1 << 30;
    let mut client = place.start(&launch).await;
    place.await_console(&mut client, 1, "ready").await;
    let begun = Instant::now();
    client.send_line("go").await.expect("a shim that listens");
    await_exit(&mut client).await;
    (begun.elapsed().as_secs_f64(), place.console(1).len() as u64)
}

/// The same program on a terminal of its own, and a loop that copies.
fn bare() -> (f64, u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let pty = left4me::sys::pty::open().expect("a terminal");
    let end = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
    let mut child =
        Command::new("sh").args(["-c", &printer()]).stdin(end()).stdout(end()).stderr(end()).spawn().expect("sh");
    drop(pty.slave);
    let mut file = fs::File::create(folder.path().join("log")).expect("a file");
    let mut buffer = [0_u8; 4096];
    let (mut bytes, mut begun) = (0, None);
    loop {
        let mut wait = [rustix::event::PollFd::new(&pty.master, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut wait, None).expect("a wait");
        match rustix::io::read(&pty.master, &mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                bytes += n as u64;
                file.write_all(&buffer[..n]).expect("room");
                if begun.is_none() {
                    begun = Some(Instant::now());
                    rustix::io::write(&pty.master, b"go\n").expect("a line");
                }
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            // The other end is closed everywhere.
            Err(_) => break,
        }
    }
    let seconds = begun.expect("a beginning").elapsed().as_secs_f64();
    child.wait().expect("its end");
    (seconds, bytes)
}

/// Proportional set size of a process, KiB; what of it is its own memory, KiB.
fn pss(pid: u32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    (field("Pss:"), field("Pss_Anon:"))
}

/// [`pss`] once it has not changed for three seconds: what the process holds while its program is silent.
fn settled(pid: u32) -> (u64, u64) {
    let (mut last, mut same) = (pss(pid), 0);
    while same < 12 {
        std::thread::sleep(Duration::from_millis(250));
        let now = pss(pid);
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}

async fn shim_memory() -> [(u64, u64); 2] {
    let place = Place::with_game("echo ready; read -r line");
    let mut client = place.start(&place.launch(1)).await;
    place.await_console(&mut client, 1, "ready").await;
    let state = client.state().expect("a state");
    let found = [state.shim.pid, state.init.pid].map(|pid| settled(pid as u32));
    client.stop().await.expect("a shim that listens");
    while !matches!(client.next_event().await, Event::Exit(_) | Event::Lost) {}
    found
}

/// conmon with a runtime that starts a sleep: what podman and cri-o have beside each container.
fn conmon_memory(folder: &Path) -> Result<(u64, u64), String> {
    let runtime = folder.join("runtime");
    let script = "#!/bin/sh\nwhile [ $# -gt 0 ]; do case $1 in --pid-file) shift; file=$1 ;; esac; shift; done\n\
                  sleep 1000 </dev/null >/dev/null 2>&1 &\necho $! > \"$file\"\n";
    fs::write(&runtime, script).expect("a script");
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755)).expect("permissions");
    let path = |name: &str| folder.join(name).display().to_string();
    let log = format!("k8s-file:{}", path("log"));
    let status = Command::new("conmon")
        .args(["-c", "bench", "-u", "bench", "-n", "bench", "-l", &log, "--log-level", "error"])
        .args(["-r", &runtime.display().to_string(), "-b", &folder.display().to_string(), "-p", &path("pid")])
        .args(["--conmon-pidfile", &path("conmon"), "--exit-dir", &folder.display().to_string()])
        .args(["--socket-dir-path", &folder.display().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
        return Err(format!("conmon is not measured ({status:?}): apt-get install conmon"));
    }
    let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u32>().ok();
    eventually("conmon and its program", || number("conmon").is_some() && number("pid").is_some());
    let found = number("conmon").map(settled);
    if let Some(pid) = number("pid") {
        kill(pid as i32);
    }
    found.ok_or_else(|| "conmon ended at once".to_owned())
}

fn tmux_memory(folder: &Path) -> Result<(u64, u64), String> {
    let socket = folder.join("tmux").display().to_string();
    let tmux = |words: &[&str]| Command::new("tmux").args(["-S", &socket, "-f", "/dev/null"]).args(words).output();
    let made = tmux(&["new-session", "-d", "-x", "80", "-y", "24", "sleep 1000"]);
    if !made.as_ref().is_ok_and(|output| output.status.success()) {
        return Err(format!("tmux is not measured ({made:?}): apt-get install tmux"));
    }
    let pid = tmux(&["display-message", "-p", "#{pid}"]).map_err(|error| error.to_string())?;
    let found = String::from_utf8_lossy(&pid.stdout).trim().parse().map(settled);
    let _ = tmux(&["kill-server"]);
    found.map_err(|error| format!("tmux says no number: {error}"))
}

/// Measures both.
pub fn measure() -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut rates = Rounds::beside("bare pty copied to a file");
    for _ in 0..ROUNDS {
        let (seconds, bytes) = bare();
        let limit = bytes as f64 / seconds / 1e6;
        let (seconds, bytes) = runtime.block_on(through_a_shim());
        rates.add(bytes as f64 / seconds / 1e6, limit);
    }
    let mut rows = vec![Row::rounds(5, "console from the game to disk", "MB/s", &rates, Goal::RatioAtLeast(0.7))];

    let folder = tempfile::tempdir().expect("a folder");
    let [shim, init] = runtime.block_on(shim_memory());
    let row = |work: &str, (pss, own): (u64, u64), goal: Goal| {
        Row::new(4, format!("memory (PSS), {work}"), "KiB", pss as f64, goal).note(format!("{own} KiB of it its own"))
    };
    let ours = row("shim of a silent game", shim, Goal::AtMostAndRival(1024.0));
    rows.push(match conmon_memory(folder.path()) {
        Ok((pss, own)) => ours.beside(pss as f64, format!("conmon, {own} KiB its own")),
        Err(why) => ours.note(why),
    });
    let init = row("the init beside each game", init, Goal::None);
    rows.push(match tmux_memory(folder.path()) {
        Ok((pss, own)) => init.beside(pss as f64, format!("tmux with one pane, {own} KiB its own")),
        Err(why) => init.note(why),
    });
    rows
}
