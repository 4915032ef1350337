//! The files by which a run is found again: `state` while it lives, `exit` once it has ended. Written by the shim, each in
//! one step; read by the daemon, and by the next shim of the same run.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::super::launch::ExitStatus;
use crate::sys;

/// One process, for ever: its number may be used again, number, start time and boot together never are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Process number in the host's view.
    pub pid: i32,
    /// Clock ticks since boot.
    pub start_time: u64,
}

impl Identity {
    /// Of a process that exists.
    pub fn of(pid: i32) -> io::Result<Self> {
        Ok(Self { pid, start_time: sys::process::start_time(pid)? })
    }

    /// Whether it still exists, given that the box has not been booted since.
    pub fn is_alive(&self) -> bool {
        sys::process::runs(self.pid, self.start_time)
    }
}

/// What a run is, while it lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Version of the protocol that the shim speaks.
    pub protocol: u32,
    /// Version of left4me that the shim is.
    pub left4me: String,
    /// Which boot of the box.
    pub boot_id: String,
    /// The shim.
    pub shim: Identity,
    /// PID 1 of the sandbox: all its processes end with it.
    pub init: Identity,
    /// The program.
    pub program: Identity,
    /// When it was started, milliseconds since 1970.
    pub started_at: i64,
}

fn state_path(folder: &Path) -> PathBuf {
    folder.join("state")
}

fn exit_path(folder: &Path) -> PathBuf {
    folder.join("exit")
}

/// The shim's socket in its run's folder.
pub fn socket_path(folder: &Path) -> PathBuf {
    folder.join("shim.sock")
}

/// How long somebody who holds the lock without answering may take to end.
const ENDING: Duration = Duration::from_secs(5);

/// Takes a run's lock; `None` when its shim lives. After a SIGKILL of the shim the kernel takes a moment to end the tree,
/// which holds the lock as well: that is waited for.
pub fn take_lock(folder: &Path) -> io::Result<Option<OwnedFd>> {
    let until = Instant::now() + ENDING;
    loop {
        if let Some(lock) = sys::fs::try_lock(&lock_path(folder))? {
            return Ok(Some(lock));
        }
        let handle = sys::fs::open_handle(folder)?;
        let lives = UnixStream::connect(socket_path(&sys::fs::path_of(&handle))).is_ok();
        if lives || Instant::now() > until {
            return Ok(None);
        }
        // The end of the last process is no event that we could wait for: it may be nobody's child.
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The lock that every user of the run's upper holds.
pub fn lock_path(folder: &Path) -> PathBuf {
    folder.join("lock")
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The newest state that a run's shim wrote.
pub fn read_state(folder: &Path) -> io::Result<Option<State>> {
    read(&state_path(folder))
}

/// How the run ended, if it has.
pub fn read_exit(folder: &Path) -> io::Result<Option<ExitStatus>> {
    read(&exit_path(folder))
}

/// Says that the run lives.
pub fn write_state(folder: &Path, state: &State) -> io::Result<()> {
    // After a power cut nothing of this boot lives, and a start would wait for the disk twice.
    sys::fs::write_in_one_step(&state_path(folder), &serde_json::to_vec(state)?)
}

/// Says how the run ended.
pub fn write_exit(folder: &Path, status: &ExitStatus) -> io::Result<()> {
    sys::fs::write_atomically(&exit_path(folder), &serde_json::to_vec(status)?)
}

/// Forgets the run before. Only with the lock held.
pub fn clear(folder: &Path) -> io::Result<()> {
    remove(&exit_path(folder))?;
    remove(&state_path(folder))?;
    remove(&socket_path(folder))
}
