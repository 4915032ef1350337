//! The seams between the drivers: what pages may ask of the machine, and what jobs may ask of the task that owns an
//! instance. The daemon supplies both; tests may supply others.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::{JobId, OverlayId, ServerId};
use super::layers::{LayerSearch, StackLayer};
use super::port::{Listeners, StrayGame};
use super::spec::InstanceSpec;
use super::time::Timestamp;

/// A future behind a trait object.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Byte offset in an instance's console since the instance was made. It means the same after every restart of anything.
pub type ConsoleCursor = u64;

/// A piece of an instance's console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleChunk {
    /// Offset of the first byte. Greater than what was asked for when older segments are gone.
    pub start: ConsoleCursor,
    /// What the game printed, as it printed it.
    pub bytes: Vec<u8>,
}

/// Why the console could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsoleError {
    /// There is no process to type into.
    #[error("the game does not run")]
    NotRunning,
    /// The machine said no.
    #[error("{0}")]
    Machine(String),
}

/// What is known of a game that runs, from A2S and the process.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Map that is played.
    pub map: Option<String>,
    /// Players (without bots).
    pub players: Option<u32>,
    /// Bots.
    pub bots: Option<u32>,
    /// Most players.
    pub max_players: Option<u32>,
    /// Round trip of the last A2S answer, milliseconds.
    pub ping_ms: Option<u32>,
    /// Share of the processor, percent of one core, since the last look.
    pub cpu_percent: Option<u32>,
    /// Memory of all its processes, bytes.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// What it wrote, bytes on disk.
    pub layer_bytes: Option<u64>,
    /// Who plays, by RCON; `None`: the blueprint sets no password, or nothing was answered yet.
    pub people: Option<Vec<Person>>,
    /// Why RCON tells nothing.
    pub rcon_problem: Option<String>,
}

/// Somebody who plays, as `status` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Number of the visit, as `kickid` takes it.
    pub userid: u32,
    /// Name; it can hold anything.
    pub name: String,
    /// `STEAM_1:0:…`.
    pub steam_id: String,
    /// For how long, as the game writes it: `28:40`.
    pub connected: String,
    /// Round trip, milliseconds.
    pub ping_ms: Option<u32>,
}

/// How a game was at one moment of the last hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// Players (without bots), where the game said so.
    pub players: Option<u32>,
    /// Percent of one core since the sample before.
    pub cpu_percent: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

/// Why files of a managed overlay could not be taken or shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilesError {
    /// The archive is not accepted: what of it and why.
    #[error("{0}")]
    Refused(String),
    /// There is no such folder.
    #[error("folder not found")]
    Missing,
    /// The machine said no.
    #[error("{0}")]
    Machine(String),
}

/// What an archive became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// Files.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What the lint found.
    pub warnings: Vec<String>,
}

/// An archive that arrives and becomes a revision. Dropped before it is kept, it leaves nothing. All of it blocks.
pub trait Arriving: Send {
    /// The next bytes of the archive.
    fn write(&mut self, bytes: &[u8]) -> Result<(), FilesError>;
    /// The archive, a file called `name`, is complete: checks and unpacks it beside its place.
    fn unpack(&mut self, name: &str) -> Result<Unpacked, FilesError>;
    /// Puts the files into the place of the revision `number`, durably.
    fn place(&mut self, number: u64) -> Result<(), FilesError>;
    /// The revision is published: its files stay.
    fn keep(self: Box<Self>);
}

/// What an entry of a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A symlink, which stays inside its revision.
    Link,
}

impl FileKind {
    /// The word of the interface.
    pub fn word(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::File => "file",
            Self::Link => "link",
        }
    }
}

/// An entry of a folder of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// Bytes of a file, else 0.
    pub bytes: u64,
}

/// Why a stray game was not ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrayError {
    /// It has ended, or it was never a stray.
    #[error("no stray game has the pid {0} any more: look again")]
    Gone(u32),
    /// It belongs to another user of the box.
    #[error("process {pid} belongs to uid {uid}, whose processes left4me may not end: as root, run kill {pid}")]
    NotPermitted {
        /// Its number.
        pid: u32,
        /// Whose it is.
        uid: u32,
    },
    /// The machine said no.
    #[error("process {pid} could not be ended: {error}")]
    Failed {
        /// Its number.
        pid: u32,
        /// Why.
        error: String,
    },
}

/// What an entry is of what a game wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrittenKind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A symlink.
    Link,
    /// The game removed what a lower layer has under this name.
    Removed,
    /// A pipe or a socket.
    Other,
}

impl WrittenKind {
    /// The word of the interface.
    pub fn word(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::File => "file",
            Self::Link => "link",
            Self::Removed => "removed",
            Self::Other => "other",
        }
    }
}

/// What an entry hides: later changes below it are not seen by the game.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrittenOver {
    /// A file of an overlay.
    Overlay(OverlayId),
    /// A file of the game itself.
    Game,
}

/// An entry of what a game wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenEntry {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: WrittenKind,
    /// Bytes of a file, else 0.
    pub bytes: u64,
    /// What it hides.
    pub over: Option<WrittenOver>,
}

/// A folder of what a game wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WrittenFolder {
    /// Folders first, then by name.
    pub entries: Vec<WrittenEntry>,
    /// It has more than these: a game can write any number, and not all are read.
    pub is_cut: bool,
}

/// Why what a game wrote could not be thrown away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResetError {
    /// It has its layer mounted.
    #[error("the game runs: stop it first")]
    Running,
    /// The machine said no.
    #[error("{0}")]
    Machine(String),
}

/// How a check of the box ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// Works, with something missing.
    Warning,
    /// Games cannot run.
    Failure,
}

/// One check of the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it is.
    pub outcome: Outcome,
    /// What was found, and what to do about it.
    pub text: String,
}

impl Check {
    /// A check that was made.
    pub fn new(name: &str, outcome: Outcome, text: impl Into<String>) -> Self {
        Self { name: name.into(), outcome, text: text.into() }
    }
}

/// What pages may ask of the machine.
pub trait Machine: Send + Sync {
    /// Foreign listeners of the box, now; those of the port range and of the ports in `named` with their program where
    /// it may be read. Blocks on `/proc`.
    fn listeners(&self, named: &[u16]) -> Listeners;
    /// Games of the box that no server of ours owns. Blocks on `/proc`.
    fn strays(&self) -> Vec<StrayGame>;
    /// Ends one of them and all below it; `start_time` is the one that was shown. Blocks until it has ended, at most
    /// some seconds.
    fn end_stray(&self, pid: u32, start_time: u64) -> Result<(), StrayError>;
    /// At most `max` bytes of console from `from` on; empty at the end. Blocks on files.
    fn console_read(&self, server: ServerId, from: ConsoleCursor, max: usize) -> Result<ConsoleChunk, ConsoleError>;
    /// Where the last `lines` complete lines begin. Blocks on files.
    fn console_tail(&self, server: ServerId, lines: usize) -> Result<ConsoleCursor, ConsoleError>;
    /// Wakes whenever the console may have grown; its value is the offset of the end as far as it is known.
    fn console_grown(&self, server: ServerId) -> tokio::sync::watch::Receiver<ConsoleCursor>;
    /// Types one line into the game.
    fn console_send(&self, server: ServerId, line: String) -> Later<'_, Result<(), ConsoleError>>;
    /// Grows whenever something that a card shows of any game may have changed: its players, its map, its last hour.
    fn changes(&self) -> u64;
    /// What is known of the game now.
    fn facts(&self, server: ServerId) -> Option<Facts>;
    /// Samples of the last hour, oldest first. Blocks on files.
    fn history(&self, server: ServerId) -> Vec<Sample>;
    /// Begins an upload into a managed overlay. Blocks on files.
    fn upload(&self, overlay: OverlayId) -> Result<Box<dyn Arriving>, FilesError>;
    /// Entries of the folder `path` of a revision, or of an addon in it, folders first. Blocks on files.
    fn revision_folder(&self, overlay: OverlayId, number: u64, path: &str) -> Result<Vec<FileEntry>, FilesError>;
    /// The folder `path` of what the game wrote. Blocks on files.
    fn written_files(&self, server: ServerId, path: &str) -> Result<WrittenFolder, FilesError>;
    /// Files and entries of addons in these layers (the highest first) whose path contains `wanted`, in whichever case.
    /// Blocks on files.
    fn search_layers(&self, stack: &[StackLayer], wanted: &str) -> LayerSearch;
    /// The text that a layer has under `path`, which may lead into an addon. Blocks on files.
    fn layer_text(&self, layer: &StackLayer, path: &str) -> Result<String, FilesError>;
    /// Everything that games need of this box. Blocks for some tens of milliseconds.
    fn doctor(&self) -> Vec<Check>;
    /// Throws away what the game wrote. Blocks on files.
    fn reset_layer(&self, server: ServerId) -> Result<(), ResetError>;
    /// Bytes that may still be written where the data lie; `None` when that cannot be asked. Blocks on files.
    fn free_bytes(&self) -> Option<u64>;
    /// The spec that the server was last started or initialized with, if any. Blocks on files.
    fn written_spec(&self, server: ServerId) -> Option<InstanceSpec>;
}

/// Where a long operation says what it does: lines of the job's log.
pub trait Progressing: Send + Sync {
    /// A line of what is done.
    fn say(&self, text: &str);
    /// A line of what went wrong.
    fn complain(&self, text: &str);
    /// The job that is worked on.
    fn job(&self) -> JobId;
    /// Becomes true when somebody asked the job to end.
    fn cancelled(&self) -> tokio::sync::watch::Receiver<bool>;
}

/// What jobs may ask of the tasks that own the instances. Errors are texts for people: what, why and the remedy.
pub trait Instances: Send + Sync {
    /// Launches the game from its `spec.yaml` and answers when it is ready, or why it is not. A game that already runs
    /// is ready.
    fn start(&self, server: ServerId, log: Arc<dyn Progressing>) -> Later<'_, Result<(), String>>;
    /// Ends the game and everything it left behind. A game that does not run has ended.
    fn stop(&self, server: ServerId, log: Arc<dyn Progressing>) -> Later<'_, Result<(), String>>;
    /// The server is gone: nobody owns its instance any more.
    fn forget(&self, server: ServerId);
    /// Whether a process of the game exists.
    fn is_alive(&self, server: ServerId) -> Later<'_, bool>;
}
