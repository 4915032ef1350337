//! The daemon's side of a shim: start one, find one again, talk to it. The only async part of [`crate::host`].

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::super::launch::{ExitStatus, LAUNCH_BYTES_MAX, Launch};
use super::super::paths::{Paths, Run};
use super::protocol::{Answer, FRAME_MAX, FromShim, Hello, LAUNCH, ToShim, frame, take_frame};
use super::starter::ShimStarter;
use super::state::{self, Identity, State};
use crate::sys;

/// How long a shim may take to answer its starter.
const START: Duration = Duration::from_secs(90);
/// How long a shim whose lock is held may take to open its socket, or to go away.
const APPEAR: Duration = Duration::from_secs(5);

/// Why a program was not started. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The shim said why, with the remedy.
    #[error("{0}")]
    Failed(String),
    /// No shim could be started or asked.
    #[error("the shim cannot be started: {0}")]
    Shim(#[from] io::Error),
}

/// What became of a run.
#[derive(Debug)]
pub enum Adoption {
    /// It lives.
    Running(Client),
    /// It has ended, and this is how.
    Exited(ExitStatus),
    /// It has ended and nobody knows how: the shim was killed, or the box was.
    Gone,
}

/// What a shim tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The console has grown to this end. Only a wakeup.
    Output(u64),
    /// A command was not carried out.
    Refused(String),
    /// The program has ended. The last event.
    Exit(ExitStatus),
    /// The connection ended and no exit is written down. The shim may have been killed, and its whole tree with it, or it
    /// lives and has dropped a client that did not read: [`adopt`] tells. The last event.
    Lost,
}

/// A connection to a living shim. Dropping it does not disturb the shim.
#[derive(Debug)]
pub struct Client {
    socket: UnixStream,
    buffer: Vec<u8>,
    hello: Hello,
    folder: PathBuf,
}

/// Starts a program under a new shim and answers when it runs. The client is subscribed.
pub async fn start(starter: &ShimStarter, launch: &Launch) -> Result<Client, StartError> {
    let request = serde_json::to_vec(launch).map_err(io::Error::from)?;
    if request.len() > LAUNCH_BYTES_MAX {
        return Err(StartError::Failed("the blueprint is too large to be handed to the game's shim".into()));
    }
    let starter = starter.clone();
    let socket = tokio::task::spawn_blocking(move || starter.connect()).await.map_err(io::Error::other)??;
    socket.set_nonblocking(true)?;
    let mut socket = UnixStream::from_std(socket)?;
    let answered = tokio::time::timeout(START, async {
        socket.write_all(&frame(LAUNCH, &request)).await?;
        read_frame(&mut socket, &mut Vec::new()).await
    });
    let (tag, payload) = answered.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    match Answer::decode(tag, &payload) {
        Some(Answer::Started(_)) => {}
        Some(Answer::Failed(text)) => return Err(StartError::Failed(text)),
        Some(Answer::Probed(_)) | None => {
            return Err(StartError::Shim(io::Error::other(format!("the shim answered with frame {tag}"))));
        }
    }
    // A program that ended within these milliseconds has left its exit behind.
    match connect(&launch.folder).await {
        Ok(client) => Ok(client),
        Err(error) => Err(match state::read_exit(&launch.folder)? {
            Some(status) => StartError::Failed(format!("the program ended at once: {status}")),
            None => StartError::Shim(error),
        }),
    }
}

/// Looks what became of a run: connects to its shim, or reads how it ended. Removes a socket that nobody answers.
pub async fn adopt(paths: &Paths, run: Run) -> io::Result<Adoption> {
    let folder = paths.run(run);
    let until = Instant::now() + APPEAR;
    loop {
        match connect(&folder).await {
            Ok(client) => return Ok(Adoption::Running(client)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(error),
            Err(_) => {}
        }
        if !folder.is_dir() {
            return Ok(Adoption::Gone);
        }
        if let Some(_lock) = sys::fs::try_lock(&state::lock_path(&folder))? {
            // Nobody lives here, so the socket is stale.
            let status = state::read_exit(&folder)?;
            match std::fs::remove_file(state::socket_path(&folder)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            return Ok(status.map_or(Adoption::Gone, Adoption::Exited));
        }
        if Instant::now() > until {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the shim of {run} holds its lock and does not answer"),
            ));
        }
        // It is starting or ending; neither announces itself.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The runs that have a folder, whatever became of them.
pub fn runs(paths: &Paths) -> io::Result<Vec<Run>> {
    match std::fs::read_dir(paths.runtime()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
        Ok(entries) => entries
            .filter_map(|entry| {
                entry.map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok())).transpose()
            })
            .collect(),
    }
}

/// Connects and checks that what answers is the shim that wrote `state`.
async fn connect(folder: &Path) -> io::Result<Client> {
    let handle = sys::fs::open_handle(folder)?;
    // Through a descriptor: a socket's path may have 107 bytes, a data folder's more.
    let socket = UnixStream::connect(sys::fs::path_of(&handle).join("shim.sock")).await?;
    let peer = socket.peer_cred()?;
    let ours = rustix::process::geteuid().as_raw();
    let stranger = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", folder.display()));
    if peer.uid() != ours && peer.uid() != 0 {
        return Err(stranger("somebody else answers at the shim's socket"));
    }
    let mut client = Client {
        socket,
        buffer: Vec::new(),
        hello: Hello { version: 0, pid: 0, start_time: 0 },
        folder: folder.into(),
    };
    let (tag, payload) = tokio::time::timeout(APPEAR, read_frame(&mut client.socket, &mut client.buffer))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let Some(FromShim::Hello(hello)) = FromShim::decode(tag, &payload) else {
        return Err(stranger("the shim does not say hello"));
    };
    client.hello = hello;
    // The state is written before the first hello is said; a peer that is not its shim is a leftover. Boot ids are not
    // compared: what answers lives in this boot, and in a container the daemon's unit, whose /proc is mounted anew
    // (ProtectProc=), may see another id than the shim's (measured: systemd 252 under nspawn).
    let state = state::read_state(folder)?.ok_or_else(|| stranger("a shim answers that has written no state"))?;
    if peer.pid() != Some(state.shim.pid) || !state.shim.is_alive() {
        return Err(stranger("the shim that answers is not the one that wrote the state"));
    }
    client.send(&ToShim::Subscribe).await?;
    Ok(client)
}

async fn read_frame(socket: &mut UnixStream, buffer: &mut Vec<u8>) -> io::Result<(u8, Vec<u8>)> {
    loop {
        match take_frame(buffer, FRAME_MAX) {
            Ok(Some(frame)) => return Ok(frame),
            Ok(None) => {}
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
        // Cancel-safe: bytes are in the buffer or still in the socket.
        if socket.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

impl Client {
    /// The program's process number, in the host's view.
    pub fn pid(&self) -> i32 {
        self.hello.pid
    }

    /// The run's state as its shim wrote it.
    pub fn state(&self) -> io::Result<State> {
        state::read_state(&self.folder)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// A descriptor of the program, safe against numbers that are used again; `None` when it has ended.
    pub fn pidfd(&self) -> io::Result<Option<std::os::fd::OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.hello.pid) else { return Ok(None) };
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => {
                let identity = Identity { pid: self.hello.pid, start_time: self.hello.start_time };
                Ok(identity.is_alive().then_some(fd))
            }
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Types a line. A refusal comes as an event.
    pub async fn send_line(&mut self, line: &str) -> io::Result<()> {
        self.send(&ToShim::Line(line.into())).await
    }

    /// Asks for a gentle end: line, SIGINT, SIGKILL. Once is enough; the exit comes as an event.
    pub async fn stop(&mut self) -> io::Result<()> {
        self.send(&ToShim::Stop).await
    }

    /// Ends the program and everything that it started, at once.
    pub async fn kill(&mut self) -> io::Result<()> {
        self.send(&ToShim::Kill).await
    }

    async fn send(&mut self, command: &ToShim) -> io::Result<()> {
        self.socket.write_all(&command.encode()).await
    }

    /// The next thing that the shim says. Cancel-safe.
    pub async fn next_event(&mut self) -> Event {
        loop {
            match read_frame(&mut self.socket, &mut self.buffer).await {
                Ok((tag, payload)) => match FromShim::decode(tag, &payload) {
                    Some(FromShim::Output(end)) => return Event::Output(end),
                    Some(FromShim::Refused(text)) => return Event::Refused(text),
                    Some(FromShim::Exit(status)) => return Event::Exit(status),
                    // A frame of a newer shim, or a second hello: nothing that we know.
                    Some(FromShim::Hello(_)) | None => {}
                },
                // The shim writes its exit before it goes; one that was killed wrote nothing.
                Err(_) => return state::read_exit(&self.folder).ok().flatten().map_or(Event::Lost, Event::Exit),
            }
        }
    }
}
