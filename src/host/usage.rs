//! What a run uses: processor, memory, processes, and the disk space of what its game wrote. The supervisor looks; all of
//! it blocks on small files of `/proc` and `/sys`, and on a walk through the instance's upper.
//!
//! Where the shim has a cgroup that was delegated to it, the kernel's own books are read; elsewhere the process tree is.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::shim::state::State;
use crate::sys;

/// Clock ticks a second in `/proc/<pid>/stat` (USER_HZ, the same on every x86 Linux).
const TICKS: u64 = 100;
/// Bytes of a page (x86).
const PAGE: u64 = 4096;
/// `f_type` of an overlay (linux/magic.h, OVERLAYFS_SUPER_MAGIC).
const OVERLAY: u64 = 0x794c_7630;

/// What a run uses now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time since it began, of all its processes together.
    pub cpu: Duration,
    /// Bytes of memory, without what the kernel would give back at once.
    pub memory: u64,
    /// Processes and threads.
    pub processes: u64,
}

/// What the run of `state` uses. A run that has ended uses nothing.
pub fn of(state: &State) -> Usage {
    match sys::cgroup::game_of(state.shim.pid) {
        Some(group) => of_group(&group),
        None => of_tree(&tree(state.init.pid)),
    }
}

fn of_group(group: &Path) -> Usage {
    let text = |name: &str| fs::read_to_string(group.join(name)).unwrap_or_default();
    let number = |text: &str| text.trim().parse::<u64>().unwrap_or(0);
    let field = |text: &str, name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(number)).unwrap_or(0)
    };
    Usage {
        cpu: Duration::from_micros(field(&text("cpu.stat"), "usage_usec")),
        memory: number(&text("memory.current")).saturating_sub(field(&text("memory.stat"), "inactive_file")),
        processes: number(&text("pids.current")),
    }
}

/// Every process that descends from `top`, itself included.
fn tree(top: i32) -> Vec<i32> {
    let mut found = vec![top];
    let mut known = HashSet::from([top]);
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        next += 1;
        // Each thread has children of its own.
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(
                children.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(|pid| known.insert(*pid)),
            );
        }
    }
    found
}

fn of_tree(pids: &[i32]) -> Usage {
    let mut sum = Usage::default();
    for pid in pids {
        let Ok(facts) = sys::process::facts(*pid) else { continue };
        let number =
            |at: usize| facts.split_whitespace().nth(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        // utime, stime, and those of children that were waited for.
        let ticks: u64 = (11..15).map(number).sum();
        sum.cpu += Duration::from_millis(ticks * 1000 / TICKS);
        sum.memory += number(21) * PAGE;
        sum.processes += number(17);
    }
    sum
}

/// Bytes on disk of what the game wrote into `upper`, files that it removed and still holds open included; counting ends
/// once it is more than `enough`. `None`: its folders are nested too deep to be measured.
pub fn layer_bytes(state: &State, upper: &Path, enough: u64) -> io::Result<Option<u64>> {
    let Some(seen) = sys::fs::tree_bytes(upper, enough)? else { return Ok(None) };
    Ok(Some(if seen > enough { seen } else { seen + removed_bytes(&tree(state.init.pid)) }))
}

/// Bytes on disk of an upper that nothing has mounted, as [`layer_bytes`] counts them. One that is not there holds nothing.
pub fn upper_bytes(upper: &Path, enough: u64) -> io::Result<Option<u64>> {
    match sys::fs::tree_bytes(upper, enough) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(0)),
        other => other,
    }
}

/// Bytes of overlay files without a name that these processes hold open.
///
/// A process that makes itself undumpable does not hide (measured): its namespace is ours, and so are its descriptors. What
/// only a mapping holds is not seen: the kernel shows the sizes of mappings, not of their files. Quotas are the hard limit.
fn removed_bytes(pids: &[i32]) -> u64 {
    let mut known = HashSet::new();
    let mut sum = 0;
    for pid in pids {
        let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for file in open.flatten() {
            let path = file.path();
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let hidden = metadata.is_file() && metadata.nlink() == 0 && known.insert((metadata.dev(), metadata.ino()));
            if hidden && rustix::fs::statfs(&path).is_ok_and(|system| system.f_type as u64 == OVERLAY) {
                sum += metadata.blocks() * 512;
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_tree_is_found_and_its_processor_time_grows() {
        let me = std::process::id() as i32;
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pids = tree(me);
        assert!(pids.contains(&me) && pids.contains(&(child.id() as i32)), "{pids:?}");
        let before = of_tree(&[me]);
        let begun = std::time::Instant::now();
        while of_tree(&[me]).cpu < before.cpu + Duration::from_millis(50) {
            assert!(begun.elapsed() < Duration::from_secs(30));
        }
        assert!(before.memory > 0 && before.processes >= 1);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
