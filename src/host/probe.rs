//! Whether this box can run games: each thing that the sandbox needs is tried for real, in a process of its own.
//!
//! The daemon looks at start, `doctor` when asked. A successful mount proves nothing (tmpfs before Linux 6.6 fails later),
//! so the probe writes through an overlay, with the plan and the code that a start uses.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::XattrFlags;

use super::launch::Layer;
use super::paths::Paths;
use super::remedy;
use super::sandbox::{Step, apply};
use super::shim::protocol;
use super::shim::starter::ShimStarter;
pub use crate::model::machine::{Check, Outcome};
use crate::sys;

/// How long a probe may take; mounting takes milliseconds, a disk that hangs takes longer.
const PATIENCE: Duration = Duration::from_mins(1);

/// Every check of the machine. The sandbox is tried where games run: in a process that `starter` starts. Blocks for some
/// tens of milliseconds.
pub fn run(starter: &ShimStarter, paths: &Paths) -> Vec<Check> {
    let mut checks = sandbox(starter, paths).unwrap_or_else(|error| {
        vec![Check::new("sandbox", Outcome::Failure, format!("no shim can be started to try it: {error}"))]
    });
    checks.push(cgroup());
    checks.push(loader());
    checks
}

fn sandbox(starter: &ShimStarter, paths: &Paths) -> io::Result<Vec<Check>> {
    let mut shim = starter.connect()?;
    shim.set_read_timeout(Some(PATIENCE))?;
    shim.write_all(&protocol::frame(protocol::PROBE, &serde_json::to_vec(&paths.data_dir)?))?;
    let (mut buffer, mut piece) = (Vec::new(), [0_u8; 4096]);
    loop {
        if let Some((tag, payload)) =
            protocol::take_frame(&mut buffer, protocol::FRAME_MAX).map_err(io::Error::other)?
        {
            return match protocol::Answer::decode(tag, &payload) {
                Some(protocol::Answer::Probed(checks)) => Ok(checks),
                Some(protocol::Answer::Failed(text)) => Err(io::Error::other(text)),
                Some(protocol::Answer::Started(_)) | None => {
                    Err(io::Error::other(format!("it answered with frame {tag}; is it of another version?")))
                }
            };
        }
        match shim.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => buffer.extend_from_slice(&piece[..n]),
        }
    }
}

fn cgroup() -> Check {
    let name = "memory and process limits";
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let missing: Vec<_> = ["memory", "pids", "cpu"]
        .into_iter()
        .filter(|want| !controllers.split_whitespace().any(|c| c == *want))
        .collect();
    if missing.is_empty() {
        let unit = Path::new("/run/systemd/system").is_dir();
        return if unit {
            Check::new(name, Outcome::Ok, "cgroup v2; they hold for games started through left4me-shim.socket")
        } else {
            Check::new(name, Outcome::Warning, "cgroup v2, but no systemd that delegates a group: limits do not hold")
        };
    }
    Check::new(
        name,
        Outcome::Warning,
        format!(
            "cgroup v2 lacks {}: limits do not hold; boot with systemd.unified_cgroup_hierarchy=1",
            missing.join(", ")
        ),
    )
}

/// What the game and SteamCMD need to be loaded, and how to get it.
pub const LIBRARIES: &str = "Debian, Ubuntu: apt install lib32gcc-s1 lib32stdc++6 libc6-i386 lib32z1; RPM systems: dnf \
                             install glibc.i686 libstdc++.i686 libgcc.i686";

/// 32-bit libraries that this box lacks, the loader among them.
pub fn missing_libraries() -> Vec<&'static str> {
    let folders = ["/lib", "/lib32", "/usr/lib32", "/lib/i386-linux-gnu", "/usr/lib/i386-linux-gnu", "/usr/lib"];
    let wanted: [&str; 3] = ["libc.so.6", "libstdc++.so.6", "libgcc_s.so.1"];
    let is_32_bit = |path: PathBuf| {
        let mut header = [0_u8; 5];
        // e_ident[EI_CLASS] of an ELF file: 1 is 32-bit (elf(5)).
        fs::File::open(path).and_then(|mut file| file.read_exact(&mut header)).is_ok_and(|()| header == *b"\x7fELF\x01")
    };
    let mut missing: Vec<&str> = wanted
        .into_iter()
        .filter(|library| !folders.iter().any(|folder| is_32_bit(Path::new(folder).join(library))))
        .collect();
    if !Path::new("/lib/ld-linux.so.2").exists() {
        missing.insert(0, "ld-linux.so.2");
    }
    missing
}

fn loader() -> Check {
    let name = "32-bit libraries";
    let missing = missing_libraries();
    if missing.is_empty() {
        Check::new(name, Outcome::Ok, "the 32-bit loader and libraries are there")
    } else {
        Check::new(
            name,
            Outcome::Warning,
            format!("missing: {}. The game and SteamCMD need them. {LIBRARIES}", missing.join(", ")),
        )
    }
}

/// The shim's side: tries the sandbox below `data_dir` and removes what it made.
pub fn run_inside(data_dir: &Path) -> Vec<Check> {
    let folder = data_dir.join(format!(".probe-{}", std::process::id()));
    let mut checks = inside(&folder);
    checks.push(fence());
    if let Err(error) = sys::fs::remove_tree(&folder) {
        checks.push(Check::new(
            "the probe's folder",
            Outcome::Warning,
            format!("{} cannot be removed: {error}", folder.display()),
        ));
    }
    checks
}

/// Landlock stands behind the mounts and the filter; a game starts without it, too.
fn fence() -> Check {
    let name = "landlock";
    match sys::namespace::landlock_version() {
        // Before version 2 moving a file between folders could not be allowed, so the sandbox sets no rules.
        Some(version) if version >= 2 => {
            Check::new(name, Outcome::Ok, format!("version {version}: a second fence around each game"))
        }
        Some(_) => Check::new(
            name,
            Outcome::Warning,
            "version 1 would forbid games to move files, so it is left out: mounts and the system call filter stand alone; \
             Linux 5.19 and newer have more",
        ),
        None => Check::new(
            name,
            Outcome::Warning,
            "the kernel has none: mounts and the system call filter stand alone; boot with landlock in lsm= (see \
             /sys/kernel/security/lsm)",
        ),
    }
}

/// In the order in which they are reached; the rest is not when one fails.
const NAMES: [&str; 3] = ["user namespaces", "overlay in the data folder", "a /proc of its own"];

fn inside(folder: &Path) -> Vec<Check> {
    let prepared =
        ["lower/folder", "upper", "work", "root"].iter().try_for_each(|name| fs::create_dir_all(folder.join(name)));
    if let Err(error) = prepared {
        return vec![Check::new(
            NAMES[1],
            Outcome::Failure,
            format!("{} cannot be written: {error}", folder.display()),
        )];
    }
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let Ok((mut reading, mut writing)) = io::pipe() else {
        return vec![Check::new(NAMES[0], Outcome::Failure, "no pipe: too many open files")];
    };
    match sys::process::clone(sys::namespace::SANDBOX) {
        Err(error) => vec![Check::new(NAMES[0], Outcome::Failure, remedy::user_namespaces(&error))],
        Ok(sys::process::Cloned::Child) => {
            drop(reading);
            let text = attempt(folder, uid, gid).map_or_else(|(at, text)| format!("{at}{text}"), |()| String::new());
            let _ = writing.write_all(text.as_bytes());
            sys::process::exit_now(0)
        }
        Ok(sys::process::Cloned::Parent { pid, pidfd: _ }) => {
            drop(writing);
            let mut said = String::new();
            // A child that died without a word has passed nothing: the empty text of success needs its exit code, too.
            let read = reading.read_to_string(&mut said);
            let ended = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
            let fine = read.is_ok() && ended.ok().flatten().is_some_and(|(_, status)| status.exit_status() == Some(0));
            let failed = match said.split_at_checked(1) {
                Some((at, text)) => Some((at.parse().unwrap_or(0), text.to_owned())),
                None if fine => None,
                None => Some((0, "the probe died".to_owned())),
            };
            let passed = failed.as_ref().map_or(NAMES.len(), |(at, _)| *at);
            let mut checks: Vec<Check> =
                NAMES[..passed].iter().map(|name| Check::new(name, Outcome::Ok, "works")).collect();
            if let Some((at, text)) = failed {
                checks.push(Check::new(NAMES[at], Outcome::Failure, text));
            }
            checks
        }
    }
}

/// Builds a small sandbox; errors with the number of the check that failed.
fn attempt(folder: &Path, uid: u32, gid: u32) -> Result<(), (usize, String)> {
    let stage = |at: usize, steps: &[Step]| apply::apply(steps, uid, gid).map_err(|text| (at, text));
    stage(0, &[Step::MapIds, Step::MakeMountsPrivate, Step::Root(folder.join("root"))])?;
    let layer = Layer { name: "the probe's layer".into(), folder: folder.join("lower"), beneath: None };
    stage(
        1,
        &[
            Step::Upper { upper: folder.join("upper"), work: folder.join("work") },
            Step::Layer(0, layer),
            Step::Overlay { at: "game".into(), lowers: 1 },
        ],
    )?;
    use_overlay().map_err(|error| {
        (
            1,
            format!(
                "an overlay in {} can be mounted and not used ({error}): the file system must take user extended attributes \
                 (ext4, XFS, Btrfs; tmpfs since Linux 6.6)",
                folder.display()
            ),
        )
    })?;
    stage(2, &[Step::Proc("proc".into())])
}

fn use_overlay() -> io::Result<()> {
    let file = "game/file";
    fs::write(file, "x")?;
    rustix::fs::setxattr(file, "user.left4me", b"1", XattrFlags::empty())?;
    let mut value = [0_u8; 1];
    rustix::fs::getxattr(file, "user.left4me", &mut value)?;
    // Needs a whiteout, which is where a mount without user xattrs gives EIO (*measured*).
    fs::remove_dir("game/folder")?;
    fs::create_dir("game/folder")
}
