//! `left4me shim`: the process that runs one program from outside. Started by the daemon or by systemd with the launch
//! request on descriptor 0; never by hand.
//!
//! Single-threaded from the first to the last line; knows no configuration and no store.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType};
use rustix::process::{Signal, WaitId, WaitIdOptions};

use super::super::launch::{LAUNCH_BYTES_MAX, Launch};
use super::super::{instance, remedy};
use super::init::{self, report};
use super::journal::Journal;
use super::log::Log;
use super::protocol::{Answer, Hello, LAUNCH, PROBE, PROTOCOL_VERSION, take_frame};
use super::serve::Shim;
use super::state::{self, Identity, State};
use crate::model::time::Timestamp;
use crate::sys;

/// How long the starter may take to send its request.
const REQUEST: Duration = Duration::from_secs(30);
/// How long the sandbox may take. Mounting takes milliseconds; a disk that hangs takes longer.
const BUILD: Duration = Duration::from_mins(1);
/// Argument by which a starter asks for a shim in a session of its own.
pub const DETACHED: &str = "--detached";

/// Everything. Reads its own arguments: the word `shim` has been read.
pub fn run() -> ExitCode {
    let argument = std::env::args().nth(2);
    if sys::process::close_from(3).is_err() {
        return ExitCode::FAILURE;
    }
    if argument.as_deref() == Some(DETACHED) {
        // Away from the starter's terminal. Refused to a leader of a group, which is away from it already.
        let _ = rustix::process::setsid();
    }
    let Ok(starter) = take_starter() else { return ExitCode::FAILURE };
    // What a shim makes is for the service user alone.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let request = match read_request(&starter) {
        Ok((LAUNCH, request)) => request,
        Ok((PROBE, request)) => return probe(&starter, &request),
        Ok((tag, _)) => return refuse(&starter, format!("the first frame has tag {tag}, not a launch request")),
        Err(text) => return refuse(&starter, text),
    };
    match start(&request) {
        Ok((shim, launch)) => serve(shim, launch, starter),
        Err(text) => refuse(&starter, text),
    }
}

fn refuse(starter: &OwnedFd, text: String) -> ExitCode {
    answer(starter, &Answer::Failed(text));
    ExitCode::FAILURE
}

/// Tries the sandbox where games would run, and starts none.
fn probe(starter: &OwnedFd, request: &[u8]) -> ExitCode {
    match serde_json::from_slice::<std::path::PathBuf>(request) {
        Ok(data_dir) => {
            answer(starter, &Answer::Probed(super::super::probe::run_inside(&data_dir)));
            ExitCode::SUCCESS
        }
        Err(error) => refuse(starter, format!("the probe request is bad: {error}")),
    }
}

/// Moves the starter's connection away from descriptor 0, which then is `/dev/null`.
fn take_starter() -> io::Result<OwnedFd> {
    let starter = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(starter)
}

fn answer(starter: &OwnedFd, answer: &Answer) {
    // A starter that has gone away adopts later, or never; the program runs on.
    let _ = rustix::net::send(starter, &answer.encode(), rustix::net::SendFlags::NOSIGNAL);
}

/// The first frame: its tag and payload.
fn read_request(starter: &OwnedFd) -> Result<(u8, Vec<u8>), String> {
    let until = Instant::now() + REQUEST;
    let mut buffer = Vec::new();
    let mut piece = [0_u8; 8192];
    loop {
        let frame = take_frame(&mut buffer, LAUNCH_BYTES_MAX).map_err(|error| error.to_string())?;
        if let Some(frame) = frame {
            return Ok(frame);
        }
        if !wait_readable(starter, until)? {
            return Err("no launch request came".into());
        }
        match rustix::io::read(starter, &mut piece) {
            Ok(0) => return Err("the launch request ended early".into()),
            Ok(n) => buffer.extend_from_slice(&piece[..n]),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn wait_readable(fd: &OwnedFd, until: Instant) -> Result<bool, String> {
    let left = until.saturating_duration_since(Instant::now());
    let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
    let mut wait = [PollFd::new(fd, PollFlags::IN)];
    match rustix::event::poll(&mut wait, Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(true),
        Err(error) => Err(error.to_string()),
    }
}

/// What outlives the launch request.
struct Kept {
    folder: std::path::PathBuf,
    /// Held until init has ended: one upper is never mounted twice.
    lock: OwnedFd,
}

fn start(request: &[u8]) -> Result<(Shim, Kept), String> {
    let launch: Launch =
        serde_json::from_slice(request).map_err(|error| format!("the launch request is bad: {error}"))?;
    let here = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let folder = launch.folder.clone();
    std::fs::create_dir_all(folder.join("root")).map_err(here("the run's folder cannot be made"))?;
    let lock = state::take_lock(&folder)
        .map_err(here("the run's lock cannot be opened"))?
        .ok_or_else(|| format!("{} already runs: its lock is held", launch.run))?;
    end_leftovers(&folder).map_err(here("what an earlier run left behind cannot be ended"))?;
    state::clear(&folder).map_err(here("the state of the run before cannot be removed"))?;
    instance::prepare(&launch)?;

    let log =
        Log::open(&folder.join("console"), launch.console.clone()).map_err(here("the console log cannot be opened"))?;
    let journal = Journal::open(&launch.journal, launch.server_id);
    let listener = listen(&folder).map_err(here("the shim's socket cannot be opened"))?;
    sys::process::block_signals(Some(&[Signal::TERM, Signal::INT, Signal::HUP]))
        .and_then(|()| sys::process::signal_descriptor(&[Signal::TERM, Signal::INT]))
        .map_err(here("signals cannot be read"))
        .and_then(|signals| begin(launch, Kept { folder, lock }, log, journal, listener, signals))
}

/// Ends a game whose shim died so recently that the kernel has not finished taking it down.
fn end_leftovers(folder: &Path) -> io::Result<()> {
    // A state that cannot be read is of no run that still lives: those wrote it whole.
    let Ok(Some(old)) = state::read_state(folder) else { return Ok(()) };
    if old.boot_id != sys::process::boot_id()? {
        return Ok(());
    }
    for identity in [old.init, old.program] {
        let Some(pid) = rustix::process::Pid::from_raw(identity.pid) else { continue };
        let Ok(process) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else { continue };
        if identity.is_alive() {
            rustix::process::pidfd_send_signal(&process, Signal::KILL).or_else(|error| match error {
                rustix::io::Errno::SRCH => Ok(()),
                other => Err(other),
            })?;
            wait_readable(&process, Instant::now() + BUILD).map_err(io::Error::other)?;
        }
    }
    Ok(())
}

fn listen(folder: &Path) -> io::Result<OwnedFd> {
    // Through a descriptor: a socket's path may have 107 bytes, a data folder's more.
    let handle = sys::fs::open_handle(folder)?;
    let listener = UnixListener::bind(sys::fs::path_of(&handle).join("shim.sock"))?;
    listener.set_nonblocking(true)?;
    Ok(listener.into())
}

fn begin(
    launch: Launch,
    kept: Kept,
    log: Log,
    journal: Journal,
    listener: OwnedFd,
    signals: OwnedFd,
) -> Result<(Shim, Kept), String> {
    let here = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let pty = sys::pty::open().map_err(here("no pseudo-terminal"))?;
    let (reports, inner) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|error| format!("no socket to the sandbox: {error}"))?;
    rustix::net::sockopt::set_socket_passcred(&reports, true).map_err(|error| error.to_string())?;
    let (group, missing) = match sys::cgroup::own_delegated() {
        None => (None, Vec::new()),
        Some(own) => {
            let limits = sys::cgroup::GroupLimits {
                memory_max: launch.limits.memory_max,
                pids_max: launch.limits.pids_max,
                cpu_weight: launch.limits.cpu_weight,
            };
            let (group, missing) =
                sys::cgroup::divide(&own, limits).map_err(here("the unit's cgroup cannot be divided"))?;
            (Some(group), missing)
        }
    };
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let (init_pid, init) = match sys::process::clone(sys::namespace::SANDBOX) {
        Err(error) => return Err(remedy::user_namespaces(&error)),
        Ok(sys::process::Cloned::Child) => {
            // The shim's ends must close with the shim.
            drop((reports, pty.master, listener, signals));
            init::run(&launch, inner, pty.slave, uid, gid)
        }
        Ok(sys::process::Cloned::Parent { pid, pidfd }) => (pid.as_raw_nonzero().get(), pidfd),
    };
    drop((inner, pty.slave));
    let started = group
        .as_ref()
        .map_or(Ok(()), |group| group.take(init_pid))
        .map_err(here("the sandbox cannot enter its cgroup"))
        .and_then(|()| await_program(&reports))
        .and_then(|program| record(&kept.folder, init_pid, program).map_err(here("the run's state cannot be written")));
    let state = match started {
        Ok(state) => state,
        Err(text) => {
            // It may have ended by itself; then there is only a zombie to collect.
            let _ = rustix::process::pidfd_send_signal(&init, Signal::KILL);
            use std::os::fd::AsFd;
            let _ = rustix::process::waitid(WaitId::PidFd(init.as_fd()), WaitIdOptions::EXITED);
            let _ = state::clear(&kept.folder);
            return Err(text);
        }
    };
    let mut log = log;
    if !missing.is_empty() {
        log.append(format!("[left4me: limits that do not hold here: {}]\n", missing.join(", ")).as_bytes());
    }
    let hello = hello(&state);
    let shim =
        Shim { terminal: pty.master, init, reports, signals, listener, hello, stop: launch.stop, log, journal, group };
    Ok((shim, kept))
}

fn hello(state: &State) -> Hello {
    Hello { version: PROTOCOL_VERSION, pid: state.program.pid, start_time: state.program.start_time }
}

/// Lets init begin and waits until the program runs. Answers the program's number.
fn await_program(reports: &OwnedFd) -> Result<i32, String> {
    rustix::net::send(reports, &[report::BEGIN], rustix::net::SendFlags::NOSIGNAL)
        .map_err(|error| format!("the sandbox ended at once: {error}"))?;
    let until = Instant::now() + BUILD;
    let mut program = None;
    let mut buffer = vec![0_u8; 17 << 10];
    loop {
        if !wait_readable(reports, until)? {
            return Err(format!("the sandbox was not ready after {} s: does the disk answer?", BUILD.as_secs()));
        }
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got =
            rustix::net::recvmsg(reports, &mut [io::IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::DONTWAIT);
        let n = match got {
            Ok(got) => got.bytes,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => continue,
            Err(error) => return Err(error.to_string()),
        };
        match buffer[..n].first().copied() {
            None => return Err("the sandbox ended while it was built".into()),
            Some(report::PROGRAM) => {
                // The kernel wrote the sender's number, as seen from here.
                program = control.drain().find_map(|message| match message {
                    RecvAncillaryMessage::ScmCredentials(sender) => Some(sender.pid.as_raw_nonzero().get()),
                    _ => None,
                });
            }
            Some(report::RUNNING) => return program.ok_or_else(|| "the program's number is unknown".into()),
            _ => return Err(String::from_utf8_lossy(&buffer[1..n]).into_owned()),
        }
    }
}

fn record(folder: &Path, init: i32, program: i32) -> io::Result<State> {
    // A program that has ended already is a zombie of init, or gone: its start time is then of no use to anybody.
    let program = Identity::of(program).unwrap_or(Identity { pid: program, start_time: 0 });
    let state = State {
        protocol: PROTOCOL_VERSION,
        left4me: env!("CARGO_PKG_VERSION").into(),
        boot_id: sys::process::boot_id()?,
        shim: Identity::of(std::process::id() as i32)?,
        init: Identity::of(init).unwrap_or(Identity { pid: init, start_time: 0 }),
        program,
        started_at: Timestamp::now().0,
    };
    state::write_state(folder, &state)?;
    Ok(state)
}

fn serve(mut shim: Shim, kept: Kept, starter: OwnedFd) -> ExitCode {
    answer(&starter, &Answer::Started(shim.hello.clone()));
    drop(starter);
    notify(&format!("running {}", kept.folder.display()));
    let ended = shim.run(move |status| {
        // On a full disk the connected daemon still hears it; a later one finds neither process nor exit: gone.
        let _ = state::write_exit(&kept.folder, status);
        let _ = std::fs::remove_file(state::socket_path(&kept.folder));
        // Before anybody is told: who hears of the end may start the next run at once.
        drop(kept.lock);
    });
    match ended {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Tells systemd, where a unit waits for it.
fn notify(status: &str) {
    // Nobody waits where there is no socket; a failure leaves the unit to its start timeout.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready, sd_notify::NotifyState::Status(status)]);
}
