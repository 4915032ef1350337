//! The launch request: everything a shim needs to know, as one value that travels over descriptor 0.
//!
//! Made by [`super::instance::launch_of`] and [`super::layers::steamcmd_launch`], read by [`super::shim::main`]. A shim
//! may be older or newer than the daemon that asks: fields are only ever added, with a default; unknown ones are ignored.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Newest form of the request.
pub const LAUNCH_VERSION: u32 = 1;
/// Most bytes of a request as JSON: 1,000 lines of blueprint text and 110 layers, with room.
pub const LAUNCH_BYTES_MAX: usize = 8 << 20;

/// What to run, in which sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// [`LAUNCH_VERSION`] of the writer.
    pub version: u32,
    /// The run's folder, `runtime/<run>`: lock, socket, state, exit, console.
    pub folder: PathBuf,
    /// Name of the run: [`super::paths::Run`] as text.
    pub run: String,
    /// `SYSLOG_IDENTIFIER` of its lines in the journal.
    pub journal: String,
    /// `LEFT4ME_SERVER_ID` of its lines in the journal.
    #[serde(default)]
    pub server_id: Option<u64>,
    /// Files that the shim writes into the instance's own layer.
    #[serde(default)]
    pub generated: Option<Generated>,
    /// Lower layers, highest first.
    pub lowers: Vec<Layer>,
    /// Where writes go. Absolute.
    pub upper: PathBuf,
    /// Overlayfs' own folder, on the file system of `upper`.
    pub work: PathBuf,
    /// What else the inside sees.
    #[serde(default)]
    pub binds: Vec<Bind>,
    /// Program, an absolute path inside.
    pub program: String,
    /// Its arguments, without the program's own name.
    pub arguments: Vec<String>,
    /// Its whole environment.
    pub environment: Vec<(String, String)>,
    /// Its working folder, an absolute path inside.
    pub working_folder: String,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// How it is ended.
    #[serde(default)]
    pub stop: StopPlan,
    /// What is kept of its console.
    #[serde(default)]
    pub console: ConsoleLimits,
}

/// Files of the instance's own layer, which wins over every overlay and over what the game wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    /// The layer's folder. Rewritten by the shim, which holds the run's lock: nothing has it mounted then.
    pub folder: PathBuf,
    /// Relative path and text of each file.
    pub files: Vec<(PathBuf, String)>,
}

/// One lower layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// What errors call it: `overlay 3`.
    pub name: String,
    /// Its folder: absolute, or relative to `beneath`.
    pub folder: PathBuf,
    /// The folder that it may not leave, whatever symlinks it goes through.
    #[serde(default)]
    pub beneath: Option<PathBuf>,
}

/// Something of the host that the inside sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// File or folder of the host.
    pub from: PathBuf,
    /// Absolute path inside.
    pub to: PathBuf,
    /// Whether the inside may write to it.
    #[serde(default)]
    pub writable: bool,
}

/// What one run may use. Memory, processes and processor hold where a cgroup is delegated; the rest always.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes of memory.
    pub memory_max: Option<u64>,
    /// Processes and threads.
    pub pids_max: Option<u64>,
    /// Share of the processor, 100 is the kernel's default.
    pub cpu_weight: Option<u64>,
    /// Open files of one process.
    pub open_files: u64,
    /// Bytes of one file.
    pub file_bytes: Option<u64>,
    /// Bytes on disk that the program may write; the daemon watches it.
    pub disk_max: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_max: Some(2 << 30),
            pids_max: Some(512),
            cpu_weight: Some(100),
            open_files: 4096,
            file_bytes: Some(64 << 30),
            disk_max: None,
        }
    }
}

/// How a run is ended: a line, then SIGINT, then SIGKILL of the whole PID namespace (domain.md, srcds).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StopPlan {
    /// Typed first; `None`: begin with SIGINT.
    pub line: Option<String>,
    /// Milliseconds from the line to SIGINT.
    pub line_ms: u64,
    /// Milliseconds from SIGINT to SIGKILL.
    pub interrupt_ms: u64,
}

impl Default for StopPlan {
    fn default() -> Self {
        Self { line: Some("quit".into()), line_ms: 5000, interrupt_ms: 5000 }
    }
}

/// What is kept of the console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConsoleLimits {
    /// Bytes after which a new segment begins.
    pub segment_bytes: u64,
    /// Bytes of all segments together; the oldest go first.
    pub keep_bytes: u64,
    /// Days after which a segment goes.
    pub keep_days: u32,
}

impl Default for ConsoleLimits {
    fn default() -> Self {
        Self { segment_bytes: 4 << 20, keep_bytes: 64 << 20, keep_days: 30 }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// Exit code, when the program ended by itself.
    #[serde(default)]
    pub code: Option<i32>,
    /// Signal that ended it.
    #[serde(default)]
    pub signal: Option<i32>,
    /// Somebody asked for the end: a stop, a kill, SIGTERM to the shim. Never a crash.
    #[serde(default)]
    pub asked: bool,
    /// The kernel ended it because its memory limit was reached.
    #[serde(default)]
    pub out_of_memory: bool,
    /// When, in milliseconds since 1970.
    pub at: i64,
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            _ if self.out_of_memory => {
                f.write_str("ended by the kernel: it used all the memory that memory_max allows")
            }
            (Some(code), _) => write!(f, "exit code {code}"),
            (None, Some(signal)) => write!(f, "signal {signal}"),
            (None, None) => f.write_str("end unknown"),
        }
    }
}
