//! PID 1 of a sandbox: builds the inside, starts the program, reaps, forwards signals, reports to the shim.
//!
//! Runs in the clone that the shim makes, and never returns to the shim's code. When the program ends, init ends, and the
//! kernel ends every process that the program left behind. When the shim ends, so does init: PR_SET_PDEATHSIG.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions};

use super::super::launch::Launch;
use super::super::sandbox;
use crate::sys;

/// What init tells the shim, one message each, first byte and text.
pub mod report {
    /// From the program's process before it becomes the program: the kernel adds its number in the reader's view.
    pub const PROGRAM: u8 = b'P';
    /// The program runs.
    pub const RUNNING: u8 = b'R';
    /// It does not; the text says why.
    pub const FAILED: u8 = b'F';
    /// It ended: `c` and an exit code or `s` and a signal.
    pub const ENDED: u8 = b'E';
    /// From the shim: the limits are in place, begin.
    pub const BEGIN: u8 = b'B';
}

/// Becomes PID 1. `socket`: to the shim. `terminal`: the program's. `uid`, `gid`: the service user outside.
pub fn run(launch: &Launch, socket: OwnedFd, terminal: OwnedFd, uid: u32, gid: u32) -> ! {
    let code = match work(launch, &socket, terminal, uid, gid) {
        Ok(()) => 0,
        Err(text) => {
            say(&socket, report::FAILED, &text);
            1
        }
    };
    sys::process::exit_now(code)
}

fn say(socket: &OwnedFd, kind: u8, text: &str) {
    let mut message = vec![kind];
    // A seqpacket message has to fit the socket's buffer; a text for people does after this.
    message.extend(text.bytes().take(16 << 10));
    // The shim may be gone; then nobody needs to know.
    let _ = rustix::net::send(socket, &message, rustix::net::SendFlags::NOSIGNAL);
}

fn work(launch: &Launch, socket: &OwnedFd, terminal: OwnedFd, uid: u32, gid: u32) -> Result<(), String> {
    let failed = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    sys::process::block_signals(None).map_err(failed("signals cannot be held back"))?;
    die_with_the_shim(socket)?;
    let mut begin = [0_u8; 1];
    match rustix::net::recv(socket, &mut begin, rustix::net::RecvFlags::empty()) {
        Ok((_, 1)) if begin[0] == report::BEGIN => {}
        _ => return Err("the shim did not say begin".into()),
    }
    let _ = rustix::process::setsid();

    sandbox::apply::apply(&sandbox::plan(launch), uid, gid)?;

    // Once more: the kernel forgets the wish when a process changes its credentials.
    die_with_the_shim(socket)?;
    // The program has our user id: it must not reach our memory and descriptors through /proc/1.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| format!("the sandbox cannot be closed: {error}"))?;

    let program = start(launch, socket, terminal)?;
    say(socket, report::RUNNING, "");
    sys::memory::give_back();
    let ended = reap(program).map_err(failed("the program was lost"))?;
    say(socket, report::ENDED, &ended);
    Ok(())
}

fn die_with_the_shim(socket: &OwnedFd) -> Result<(), String> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("the sandbox cannot be tied to its shim: {error}"))?;
    // The shim may have died before the line above. getppid() is 0 in this namespace either way; the socket knows.
    let mut wait = [PollFd::new(socket, PollFlags::empty())];
    rustix::event::poll(&mut wait, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).map_err(|error| error.to_string())?;
    if wait[0].revents().contains(PollFlags::HUP) {
        return Err("the shim is gone".into());
    }
    Ok(())
}

/// Clones once more; the child becomes the program.
fn start(launch: &Launch, socket: &OwnedFd, terminal: OwnedFd) -> Result<Pid, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{} cannot be started: {error}", launch.program);
    let (mut reading, writing) = io::pipe().map_err(|error| failed(&error))?;
    match sys::process::clone(0).map_err(|error| failed(&error))? {
        sys::process::Cloned::Child => {
            drop(reading);
            let error = become_program(launch, socket, &terminal);
            let _ = io::PipeWriter::write_all(&mut { writing }, error.to_string().as_bytes());
            sys::process::exit_now(127)
        }
        sys::process::Cloned::Parent { pid, pidfd: _ } => {
            drop((writing, terminal));
            // Closed by the exec that succeeds.
            let mut error = String::new();
            reading.read_to_string(&mut error).map_err(|error| failed(&error))?;
            if error.is_empty() { Ok(pid) } else { Err(exec_failed(launch, &error)) }
        }
    }
}

fn exec_failed(launch: &Launch, error: &str) -> String {
    // The kernel says "no such file" of a program whose interpreter or loader is missing, too.
    let missing = std::path::Path::new(&launch.program).exists() && error.contains("os error 2");
    let remedy = if missing {
        ": the program is there, its loader or interpreter is not. For the game and SteamCMD install the 32-bit libraries \
         (Debian, Ubuntu: lib32gcc-s1 lib32stdc++6 libc6-i386 lib32z1; RPM systems: glibc.i686 libstdc++.i686 libgcc.i686)"
    } else if error.contains("os error 2") {
        ": the merged game has no such file; install the game files first"
    } else {
        ""
    };
    format!("{} cannot be started: {error}{remedy}", launch.program)
}

fn become_program(launch: &Launch, socket: &OwnedFd, terminal: &OwnedFd) -> io::Error {
    let prepared = (|| {
        say(socket, report::PROGRAM, "");
        rustix::process::setsid()?;
        rustix::process::ioctl_tiocsctty(terminal)?;
        // Init holds all signals back; a program that inherits that cannot be interrupted.
        sys::process::usual_signals()?;
        let end = || rustix::io::fcntl_dupfd_cloexec(terminal, 3).map(Stdio::from);
        io::Result::Ok((end()?, end()?, end()?))
    })();
    match prepared {
        Ok((input, output, errors)) => Command::new(&launch.program)
            .args(&launch.arguments)
            .env_clear()
            .envs(launch.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&launch.working_folder)
            .stdin(input)
            .stdout(output)
            .stderr(errors)
            .exec(),
        Err(error) => error,
    }
}

/// Waits for the program, reaping whatever else ends here. Answers how it ended.
fn reap(program: Pid) -> io::Result<String> {
    loop {
        let signal = sys::process::wait_signal()?;
        if signal != libc::SIGCHLD {
            // The program may have ended a moment ago; then there is nobody to tell.
            let _ = sys::process::signal_group(program, signal);
            continue;
        }
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == program => {
                    return Ok(match (status.exit_status(), status.terminating_signal()) {
                        (Some(code), _) => format!("c{code}"),
                        (None, signal) => format!("s{}", signal.unwrap_or_default()),
                    });
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) | Err(Errno::CHILD) => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Whether a report is waiting on `socket`.
pub fn has_report(socket: impl AsFd) -> bool {
    let mut wait = [PollFd::new(&socket, PollFlags::IN)];
    rustix::event::poll(&mut wait, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}
