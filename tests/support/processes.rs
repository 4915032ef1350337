//! Looks at processes through `/proc`, to find what a test must not leave behind.

use std::fs;
use std::path::Path;

/// One process.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent.
    pub parent: u32,
    /// `R`, `S`, `Z` …
    pub state: char,
    /// Its command line, words separated by spaces.
    pub command: String,
}

/// Every process that can be read.
pub fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(one).collect()
}

/// The process of that number, when it exists.
pub fn one(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let command = String::from_utf8_lossy(&command).replace('\0', " ").trim().to_owned();
    Some(Process { pid, parent, state, command })
}

/// Living processes whose environment, command line, root or working folder speaks of `folder`, or that descend from one.
pub fn of_folder(folder: &Path) -> Vec<Process> {
    let needle = folder.to_string_lossy().into_owned();
    let everyone = all();
    let mut found: Vec<u32> = everyone
        .iter()
        .filter(|process| {
            process.command.contains(&needle)
                || fs::read_dir(format!("/proc/{}/fd", process.pid)).is_ok_and(|entries| {
                    entries
                        .flatten()
                        .filter_map(|entry| fs::read_link(entry.path()).ok())
                        .any(|target| target.starts_with(folder))
                })
        })
        .map(|process| process.pid)
        .collect();
    loop {
        let more: Vec<u32> = everyone
            .iter()
            .filter(|process| found.contains(&process.parent) && !found.contains(&process.pid))
            .map(|process| process.pid)
            .collect();
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    let me = std::process::id();
    everyone
        .into_iter()
        .filter(|process| found.contains(&process.pid) && process.pid != me && process.state != 'Z')
        .collect()
}
