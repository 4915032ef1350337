//! The shim's loop while the program runs: one `poll`, no threads.
//!
//! ```text
//!  running ── stop / SIGTERM ──▶ asked (line typed) ── line_ms ──▶ interrupted (SIGINT) ── interrupt_ms ──▶ killed
//!     │                              │                                  │                                     │
//!     └──────────── init ended ──────┴──────────────────────────────────┴─────────────────────────────────────┘──▶ end
//! ```

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions};

use super::super::launch::{ExitStatus, StopPlan};
use super::clients::Clients;
use super::init::report;
use super::journal::Journal;
use super::log::Log;
use super::protocol::{FromShim, Hello, LINE_MAX, ToShim};
use crate::model::time::Timestamp;
use crate::sys;

/// Typed bytes that may wait for a program that does not read.
const TYPED_MAX: usize = 64 << 10;
/// How long the last notices may take to leave.
const FAREWELL: Duration = Duration::from_millis(300);

/// How long nothing must have happened before memory is given back. What the loop needs then comes back within a fraction of
/// a millisecond; a game that nobody plays on says nothing for hours.
const QUIET: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// How far the ending is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Nobody asked.
    No,
    /// The line was typed.
    Asked(Instant),
    /// SIGINT was sent.
    Interrupted(Instant),
    /// SIGKILL was sent.
    Killed,
}

/// Everything that the loop works with.
#[derive(Debug)]
pub struct Shim {
    /// Our end of the terminal.
    pub terminal: OwnedFd,
    /// Init.
    pub init: OwnedFd,
    /// Where init reports.
    pub reports: OwnedFd,
    /// SIGTERM and SIGINT to us.
    pub signals: OwnedFd,
    /// Where clients come in.
    pub listener: OwnedFd,
    /// What they are told first.
    pub hello: Hello,
    /// How the program is ended.
    pub stop: StopPlan,
    /// The console.
    pub log: Log,
    /// The same for the journal.
    pub journal: Journal,
    /// The game's cgroup, if there is one.
    pub group: Option<sys::cgroup::GameGroup>,
}

/// The changing part.
struct Turn {
    clients: Clients,
    typed: VecDeque<u8>,
    /// The last byte that the terminal took left a line open.
    half_line: bool,
    ending: Ending,
    asked: bool,
    ended: Option<String>,
    /// The terminal's other end is closed everywhere: nothing more to wait for there.
    hung_up: bool,
    /// Something happened since memory was given back.
    stirred: bool,
    /// Init has closed its end; the kernel takes milliseconds to take the sandbox down after that.
    silent: bool,
}

impl Shim {
    /// Runs until init has ended and everything printed is in the log. Clients are told, the caller writes it down.
    pub fn run(&mut self, before_farewell: impl FnOnce(&ExitStatus)) -> io::Result<ExitStatus> {
        let mut turn = Turn {
            clients: Clients::default(),
            typed: VecDeque::new(),
            half_line: false,
            ending: Ending::No,
            asked: false,
            ended: None,
            hung_up: false,
            stirred: true,
            silent: false,
        };
        while !self.turn(&mut turn)? {}
        while self.read_terminal(&mut turn)? {}
        self.journal.flush();
        while super::init::has_report(&self.reports) && self.read_report(&mut turn) {}
        let status = self.status(&turn)?;
        before_farewell(&status);
        turn.clients.tell_end(self.log.end());
        turn.clients.tell_all(&FromShim::Exit(status.clone()));
        farewell(&mut turn.clients);
        Ok(status)
    }

    /// Waits once and does what there is to do. Answers whether init has ended.
    fn turn(&mut self, turn: &mut Turn) -> io::Result<bool> {
        let terminal = if turn.typed.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
        // A terminal that hung up would wake us for ever.
        let terminal = if turn.hung_up { PollFlags::empty() } else { terminal };
        // A socket that hung up would, too; the end that is waited for then is that of init.
        let reports: &OwnedFd = if turn.silent { &self.init } else { &self.reports };
        let mut wait = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.init, PollFlags::IN),
            PollFd::new(reports, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        wait.extend(turn.clients.interests().map(|(fd, flags)| PollFd::new(fd, flags)));
        if !turn.hung_up {
            wait.push(PollFd::new(&self.terminal, terminal));
        }
        let timeout = deadline(turn.ending).map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
        });
        let quiet = turn.stirred.then_some(QUIET).filter(|_| timeout.is_none());
        match rustix::event::poll(&mut wait, timeout.or(quiet).as_ref()) {
            Ok(0) if quiet.is_some() => {
                drop(wait);
                turn.stirred = false;
                sys::memory::give_back();
                return Ok(false);
            }
            Ok(_) | Err(Errno::INTR) => turn.stirred = true,
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<PollFlags> = wait.iter().map(PollFd::revents).collect();
        drop(wait);
        let clients = turn.clients.len();

        if !turn.hung_up && !ready[4 + clients].is_empty() {
            // A chatty program gets several reads a turn, and still cannot keep the others waiting.
            for _ in 0..16 {
                if !self.read_terminal(turn)? {
                    break;
                }
            }
            self.write_terminal(turn);
        }
        if !ready[0].is_empty() {
            while sys::process::next_signal(&self.signals)?.is_some() {
                self.begin_stop(turn);
            }
        }
        if !ready[2].is_empty() && !self.read_report(turn) {
            turn.silent = true;
        }
        // From the last on, so that a removal moves none that is still to be looked at.
        for index in (0..clients).rev() {
            if !ready[4 + index].is_empty() {
                self.serve_client(turn, index);
            }
        }
        if !ready[3].is_empty() {
            turn.clients.accept(&self.listener, &self.hello);
        }
        turn.clients.tell_end(self.log.end());
        self.escalate(turn);
        Ok(!ready[1].is_empty())
    }

    /// Moves what the program printed into the log. Answers whether there may be more.
    fn read_terminal(&mut self, turn: &mut Turn) -> io::Result<bool> {
        // A terminal hands out at most 4,095 bytes at once.
        let mut buffer = [0_u8; 4096];
        match rustix::io::read(&self.terminal, &mut buffer) {
            Ok(0) | Err(Errno::AGAIN) => Ok(false),
            Ok(n) => {
                self.log.append(&buffer[..n]);
                self.journal.append(&buffer[..n]);
                Ok(true)
            }
            Err(Errno::INTR) => Ok(true),
            // Every program that had the terminal has closed it.
            Err(Errno::IO) => {
                turn.hung_up = true;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn write_terminal(&mut self, turn: &mut Turn) {
        while !turn.typed.is_empty() {
            match rustix::io::write(&self.terminal, turn.typed.as_slices().0) {
                Ok(0) => break,
                Ok(n) => turn.half_line = turn.typed.drain(..n).next_back().is_some_and(|byte| byte != b'\n'),
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
    }

    fn read_report(&self, turn: &mut Turn) -> bool {
        let mut buffer = [0_u8; 64];
        match rustix::net::recv(&self.reports, &mut buffer, rustix::net::RecvFlags::DONTWAIT) {
            Ok((_, n)) if n > 0 => {
                if buffer[0] == report::ENDED {
                    turn.ended = Some(String::from_utf8_lossy(&buffer[1..n]).into_owned());
                }
                true
            }
            _ => false,
        }
    }

    fn serve_client(&mut self, turn: &mut Turn, index: usize) {
        let Some(said) = turn.clients.hear(index) else {
            turn.clients.remove(index);
            return;
        };
        for command in said {
            match command {
                ToShim::Line(line) => {
                    if let Err(reason) = self.type_line(turn, &line) {
                        turn.clients.tell(index, &FromShim::Refused(reason));
                    }
                }
                ToShim::Stop => self.begin_stop(turn),
                ToShim::Kill => self.kill(turn),
                ToShim::Subscribe => turn.clients.subscribe(index, self.log.end()),
            }
        }
        if !turn.clients.flush(index) {
            turn.clients.remove(index);
        }
    }

    fn type_line(&mut self, turn: &mut Turn, line: &str) -> Result<(), String> {
        if line.len() > LINE_MAX {
            return Err(format!("the line has {} bytes; the console takes {LINE_MAX}", line.len()));
        }
        if line.chars().any(|c| c.is_control() && c != '\t') {
            return Err("the line holds a control character".into());
        }
        if turn.typed.len() + line.len() >= TYPED_MAX {
            return Err("the program does not read its console".into());
        }
        turn.typed.extend(line.bytes());
        turn.typed.push_back(b'\n');
        self.write_terminal(turn);
        Ok(())
    }

    fn begin_stop(&mut self, turn: &mut Turn) {
        if turn.ending != Ending::No {
            return;
        }
        turn.asked = true;
        match self.stop.line.clone() {
            Some(line) => {
                // Nothing typed before matters any more, and the line must reach a program whose queue is full.
                turn.typed.clear();
                if turn.half_line {
                    // Else the line would become the end of another that was being typed.
                    turn.typed.push_back(b'\n');
                }
                // Refused or not, the deadline goes on.
                let _ = self.type_line(turn, &line);
                turn.ending = Ending::Asked(Instant::now() + Duration::from_millis(self.stop.line_ms));
            }
            None => self.interrupt(turn),
        }
    }

    fn interrupt(&mut self, turn: &mut Turn) {
        // Init hands it on to the program. Init may have ended already.
        let _ = rustix::process::pidfd_send_signal(&self.init, Signal::INT);
        turn.ending = Ending::Interrupted(Instant::now() + Duration::from_millis(self.stop.interrupt_ms));
    }

    fn kill(&mut self, turn: &mut Turn) {
        turn.asked = true;
        turn.ending = Ending::Killed;
        // PID 1 takes its whole namespace along. It may have ended already.
        let _ = rustix::process::pidfd_send_signal(&self.init, Signal::KILL);
    }

    fn escalate(&mut self, turn: &mut Turn) {
        let now = Instant::now();
        match turn.ending {
            Ending::Asked(at) if now >= at => self.interrupt(turn),
            Ending::Interrupted(at) if now >= at => self.kill(turn),
            Ending::No | Ending::Asked(_) | Ending::Interrupted(_) | Ending::Killed => {}
        }
    }

    fn status(&self, turn: &Turn) -> io::Result<ExitStatus> {
        use std::os::fd::AsFd;
        let waited = rustix::process::waitid(WaitId::PidFd(self.init.as_fd()), WaitIdOptions::EXITED)?;
        let (mut code, mut signal) = (None, None);
        if let Some((kind, number)) = turn.ended.as_deref().and_then(|text| text.split_at_checked(1)) {
            let number = number.parse().ok();
            if kind == "c" { code = number } else { signal = number }
        } else {
            // Init did not get to say it: it was killed, and the program with it.
            signal = waited.and_then(|status| status.terminating_signal());
        }
        Ok(ExitStatus {
            code,
            signal,
            asked: turn.asked,
            out_of_memory: self.group.as_ref().is_some_and(sys::cgroup::GameGroup::was_out_of_memory),
            at: Timestamp::now().0,
        })
    }
}

fn deadline(ending: Ending) -> Option<Instant> {
    match ending {
        Ending::Asked(at) | Ending::Interrupted(at) => Some(at),
        Ending::No | Ending::Killed => None,
    }
}

/// Gives clients that read a moment to take the last notice.
fn farewell(clients: &mut Clients) {
    let until = Instant::now() + FAREWELL;
    while clients.has_waiting() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let mut wait: Vec<PollFd<'_>> =
            clients.interests().map(|(fd, flags)| PollFd::new(fd, flags & PollFlags::OUT)).collect();
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(left.subsec_nanos()) };
        let ready = rustix::event::poll(&mut wait, Some(&timeout)).unwrap_or(0);
        drop(wait);
        if ready == 0 {
            return;
        }
        for index in (0..clients.len()).rev() {
            if !clients.flush(index) {
                clients.remove(index);
            }
        }
    }
}
