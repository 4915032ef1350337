//! Limits by cgroup v2, where the process has a group of its own that was delegated to it.
//!
//! ```text
//! left4me-shim@….service   delegated by systemd; no process may stay here once controllers are on
//!   ├─ shim                 the shim itself
//!   └─ game                 init and everything below it: the limits; an OOM ends the whole game, never the shim
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Limits of a game.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupLimits {
    /// Bytes of memory.
    pub memory_max: Option<u64>,
    /// Processes and threads.
    pub pids_max: Option<u64>,
    /// Share of the processor beside others, 100 is the kernel's default.
    pub cpu_weight: Option<u64>,
}

/// The group of a game.
#[derive(Debug)]
pub struct GameGroup {
    folder: PathBuf,
}

/// The folder of the caller's own cgroup, if it is delegated: version 2, not the root, writable, and nobody else in it.
/// A shim that the daemon started shares the daemon's group, which must never get controllers (systemd could not restart
/// the daemon any more, *measured*).
pub fn own_delegated() -> Option<PathBuf> {
    let folder = folder_of("self")?;
    let members = fs::read_to_string(folder.join("cgroup.procs")).ok()?;
    let alone = members.split_whitespace().eq([std::process::id().to_string().as_str()]);
    let writable = rustix::fs::access(folder.join("cgroup.procs"), rustix::fs::Access::WRITE_OK).is_ok()
        && rustix::fs::access(&folder, rustix::fs::Access::WRITE_OK).is_ok();
    (alone && writable).then_some(folder)
}

/// The cgroup of a process (`self` or a number); `None`: the root, or no version 2.
fn folder_of(process: &str) -> Option<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?.trim_end_matches('/');
    if path.is_empty() {
        return None;
    }
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .iter()
        .map(|root| PathBuf::from(format!("{root}{path}")))
        .find(|folder| folder.join("cgroup.controllers").is_file())
}

/// The game's cgroup beside that of the shim with this process number, where [`divide`] made one.
pub fn game_of(shim: i32) -> Option<PathBuf> {
    let own = folder_of(&shim.to_string())?;
    let game = own.ends_with("shim").then(|| own.with_file_name("game"))?;
    game.join("memory.current").is_file().then_some(game)
}

/// Splits the caller's delegated group `own` into one for itself and one for the game, and sets the limits.
/// Limits whose controller was not delegated are answered by name; they do not hold.
pub fn divide(own: &Path, limits: GroupLimits) -> io::Result<(GameGroup, Vec<&'static str>)> {
    let shim = own.join("shim");
    let game = own.join("game");
    for folder in [&shim, &game] {
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    fs::write(shim.join("cgroup.procs"), "0")?;
    for controller in ["memory", "pids", "cpu"] {
        // One by one: a single missing controller would refuse the whole line. What is missing shows below.
        let _ = fs::write(own.join("cgroup.subtree_control"), format!("+{controller}"));
    }
    let mut missing = Vec::new();
    let mut set = |file: &'static str, value: Option<u64>| {
        if let Some(value) = value
            && fs::write(game.join(file), value.to_string()).is_err()
        {
            missing.push(file);
        }
    };
    set("memory.max", limits.memory_max);
    set("memory.oom.group", limits.memory_max.map(|_| 1));
    set("pids.max", limits.pids_max);
    set("cpu.weight", limits.cpu_weight);
    // Without it a game at its limit would move to swap and take the box along; absent where swap is not accounted.
    let _ = fs::write(game.join("memory.swap.max"), "0");
    Ok((GameGroup { folder: game }, missing))
}

impl GameGroup {
    /// Moves a process into the group; its children follow.
    pub fn take(&self, pid: i32) -> io::Result<()> {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string())
    }

    /// Whether the kernel has ended the group because it was out of memory.
    pub fn was_out_of_memory(&self) -> bool {
        fs::read_to_string(self.folder.join("memory.events")).is_ok_and(|text| {
            text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
        })
    }
}
