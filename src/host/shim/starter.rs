//! The daemon's two ways to start a shim: by systemd, through a socket unit, or by executing itself.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::sys;

/// How shims are started on this box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShimStarter {
    /// Executes `program shim` (the daemon's own binary), detached from the caller.
    Exec {
        /// Path of left4me.
        program: PathBuf,
    },
    /// Connects to `left4me-shim.socket`; PID 1 starts the shim in a unit of its own.
    Socket {
        /// Path of the socket.
        path: PathBuf,
    },
}

impl ShimStarter {
    /// Starts a shim and answers the connection that is its descriptor 0. Blocks for about a millisecond; within a runtime,
    /// which collects the shim if it ends before us.
    pub fn connect(&self) -> io::Result<UnixStream> {
        match self {
            Self::Socket { path } => UnixStream::connect(path),
            Self::Exec { program } => {
                let (ours, theirs) = UnixStream::pair()?;
                // Its first step is a session of its own: what ends ours does not end it.
                let child = Command::new(program)
                    .args(["shim", super::main::DETACHED])
                    .env_clear()
                    .current_dir("/")
                    .stdin(Stdio::from(OwnedFd::from(theirs)))
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()?;
                sys::process::collect(child);
                Ok(ours)
            }
        }
    }
}
