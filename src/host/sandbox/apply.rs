//! Carries out a plan, step by step, in the process that is to become PID 1 of the sandbox.
//!
//! Called by [`super::super::shim::init`] only. The first step that fails ends it; the namespaces go away with the
//! process, so nothing is undone by hand.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    Scope,
};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};

use super::{INNER_ID, Step, layer};
use crate::host::remedy;
use crate::sys;
use crate::sys::mount::Use;

/// Where the opened layers get their short names, in the new root.
const SHORT: &str = ".layers";

/// What the steps hand to each other.
struct Inside {
    /// The service user, outside.
    uid: u32,
    gid: u32,
    /// Opened layers; they must stay open until the overlay is mounted.
    opened: Vec<OwnedFd>,
    /// File system of the upper.
    device: u64,
}

/// Does every step. Errors are texts for people, with the remedy. `uid`, `gid`: the service user outside.
pub fn apply(steps: &[Step], uid: u32, gid: u32) -> Result<(), String> {
    let mut inside = Inside { uid, gid, opened: Vec::new(), device: 0 };
    // What is made here is for the inside alone; the modes below are meant as they stand.
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    for step in steps {
        inside.carry_out(step)?;
    }
    Ok(())
}

impl Inside {
    fn carry_out(&mut self, step: &Step) -> Result<(), String> {
        let done = match step {
            Step::Layer(number, layer) => return self.open_layer(*number, layer).map_err(|error| error.to_string()),
            Step::MapIds => sys::namespace::map_ids(INNER_ID, self.uid, self.gid),
            Step::MakeMountsPrivate => sys::mount::make_private(),
            Step::Root(at) => new_root(at),
            Step::Folder(at) => folder(at),
            Step::Text(at, text) => folder_of(at).and_then(|()| fs::write(at, text)),
            Step::Link(at, target) => folder_of(at).and_then(|()| symlink(target, at)),
            Step::Upper { upper, work } => self.open_upper(upper, work),
            Step::Overlay { at, lowers } => self.mount_overlay(at, *lowers),
            Step::Memory { at, bytes, mode, executable } => {
                folder(at).and_then(|()| sys::mount::tmpfs(at, *bytes, *mode, *executable))
            }
            Step::Proc(at) => folder(at).and_then(|()| sys::mount::proc(at)),
            Step::Terminals(at) => folder(at).and_then(|()| sys::mount::devpts(at)),
            Step::Device(name) => device(name),
            Step::System(name) => system(name),
            Step::Setting(name) => setting(name),
            Step::Bind(bind) => {
                let usage = if bind.writable { Use::Writable } else { Use::ReadOnly };
                sys::mount::copy_of(&bind.from, usage).and_then(|tree| attach(&tree, &bind.to))
            }
            Step::Pin { from, to } => pin(from, to),
            Step::HostName(name) => rustix::system::sethostname(name.as_bytes()).map_err(io::Error::from),
            Step::EnterRoot => enter_root(),
            Step::Resources { open_files, file_bytes, processes } => limit(*open_files, *file_bytes, *processes),
            Step::DropCapabilities => sys::namespace::drop_capabilities(),
            Step::NoNewPrivileges => rustix::thread::set_no_new_privs(true).map_err(io::Error::from),
            Step::Fence { writable } => fence(writable),
            Step::FilterCalls => sys::seccomp::apply(),
        };
        done.map_err(|error| remedy::step_failed(step, &error))
    }

    fn open_upper(&mut self, upper: &Path, work: &Path) -> io::Result<()> {
        fs::create_dir(SHORT)?;
        for (name, path) in [("u", upper), ("w", work)] {
            let handle = sys::fs::open_handle(path)?;
            self.device = rustix::fs::fstat(&handle)?.st_dev;
            symlink(sys::fs::path_of(&handle), Path::new(SHORT).join(name))?;
            self.opened.push(handle);
        }
        Ok(())
    }

    fn open_layer(&mut self, number: usize, layer: &super::Layer) -> Result<(), layer::LayerError> {
        let handle = layer::open(layer)?;
        layer::check(layer, &handle, self.device)?;
        let linked = symlink(sys::fs::path_of(&handle), Path::new(SHORT).join(number.to_string()));
        linked.map_err(|error| layer::LayerError::Unfit {
            name: layer.name.clone(),
            folder: layer.folder.clone(),
            problem: error.to_string(),
        })?;
        self.opened.push(handle);
        Ok(())
    }

    fn mount_overlay(&mut self, at: &Path, lowers: usize) -> io::Result<()> {
        folder(at)?;
        std::env::set_current_dir(SHORT)?;
        let mounted = sys::mount::overlay(&Path::new("..").join(at), lowers);
        std::env::set_current_dir("..")?;
        mounted?;
        self.opened.clear();
        fs::remove_dir_all(SHORT)
    }
}

/// Folders of the new root must be enterable by the inner user whatever the umask of the daemon was.
fn folder(at: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(at)
}

fn folder_of(at: &Path) -> io::Result<()> {
    at.parent().map_or(Ok(()), folder)
}

fn new_root(at: &Path) -> io::Result<()> {
    sys::mount::tmpfs(at, 4 << 20, 0o755, true)?;
    std::env::set_current_dir(at)
}

/// Attaches a copied mount at a place that is made for it, in the new root: nothing of the game lies on the way.
fn attach(tree: &OwnedFd, to: &Path) -> io::Result<()> {
    let stat = rustix::fs::fstat(tree)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        folder(to)?;
        return sys::mount::attach(tree, &sys::fs::open_handle(to)?);
    }
    let flags = OFlags::CREATE | OFlags::RDONLY | OFlags::CLOEXEC;
    let make = || rustix::fs::open(to, flags, Mode::from(0o644));
    let place = match make() {
        Err(Errno::NOENT) => {
            folder_of(to)?;
            make()
        }
        other => other,
    };
    sys::mount::attach(tree, &place?)
}

/// Shows a generated file in the merged game. Its place exists, unless the game removed a folder above it: then it is made
/// again, in the upper. The game may have put symlinks there, too, and what they say would be looked up in the host's
/// root: each name on the way is opened by itself.
fn pin(from: &Path, to: &Path) -> io::Result<()> {
    let tree = sys::mount::copy_of(from, Use::ReadOnly)?;
    let open = |at: &OwnedFd, name: &OsStr, flags: OFlags| {
        rustix::fs::openat(at, name, flags | OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
    };
    let mut at = sys::fs::open_handle(Path::new("."))?;
    for part in to.parent().unwrap_or(Path::new("")) {
        at = match open(&at, part, OFlags::DIRECTORY) {
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&at, part, Mode::from(0o755))?;
                open(&at, part, OFlags::DIRECTORY)?
            }
            other => other?,
        };
    }
    let name = to.file_name().unwrap_or_default();
    let place = match open(&at, name, OFlags::empty()) {
        Err(Errno::NOENT) => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::CLOEXEC;
            rustix::fs::openat(&at, name, flags, Mode::from(0o644))?
        }
        other => other?,
    };
    sys::mount::attach(&tree, &place)
}

/// Containers may lack one device or the other, and boxes one setting or the other, or keep it from us: programs then get
/// what they would get there.
fn unless_missing(tree: io::Result<OwnedFd>, to: &Path) -> io::Result<()> {
    match tree {
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => Ok(()),
            _ => Err(error),
        },
        Ok(tree) => attach(&tree, to),
    }
}

fn device(name: &str) -> io::Result<()> {
    unless_missing(sys::mount::copy_of(&Path::new("/dev").join(name), Use::Device), &Path::new("dev").join(name))
}

fn system(name: &str) -> io::Result<()> {
    let from = Path::new("/").join(name);
    match fs::read_link(&from) {
        Ok(target) => symlink(target, name),
        Err(_) => unless_missing(sys::mount::copy_of(&from, Use::ReadOnly), Path::new(name)),
    }
}

fn setting(name: &str) -> io::Result<()> {
    unless_missing(sys::mount::copy_of(&Path::new("/etc").join(name), Use::ReadOnly), &Path::new("etc").join(name))
}

fn enter_root() -> io::Result<()> {
    // "." twice: the old root ends up mounted over the new one and is taken off from there (pivot_root(2)).
    rustix::process::pivot_root(".", ".")?;
    sys::mount::detach(Path::new("."))?;
    std::env::set_current_dir("/")?;
    fs::set_permissions("/", fs::Permissions::from_mode(0o755))?;
    // Not recursive: the game, /tmp and /home stay writable.
    Ok(rustix::mount::mount_remount(
        "/",
        rustix::mount::MountFlags::RDONLY
            | rustix::mount::MountFlags::NOSUID
            | rustix::mount::MountFlags::NODEV
            | rustix::mount::MountFlags::BIND,
        c"",
    )?)
}

/// Newest rules that are asked for; an older kernel holds those that it knows. Before ABI 2 none are set: every move of a
/// file to another folder would be refused (landlock(7), LANDLOCK_ACCESS_FS_REFER), and games do that.
const RULES: ABI = ABI::V6;

fn fence(writable: &[PathBuf]) -> io::Result<()> {
    let fenced = || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(RULES))?
            .scope(Scope::from_all(RULES))?
            .create()?
            .add_rule(PathBeneath::new(PathFd::new("/")?, AccessFs::from_read(RULES)))?;
        for folder in writable {
            // A bind may be a file: rights of folders do not apply to it and are left out.
            let rights = if folder.is_dir() { AccessFs::from_all(RULES) } else { AccessFs::from_file(RULES) };
            rules = rules.add_rule(PathBeneath::new(PathFd::new(folder)?, rights))?;
        }
        // What the kernel made of it is no error: without Landlock the mounts and the filter stand alone.
        rules.restrict_self()?;
        Ok(())
    };
    fenced().map_err(io::Error::other)
}

fn limit(open_files: u64, file_bytes: Option<u64>, processes: Option<u64>) -> io::Result<()> {
    let lower = |resource: Resource, wanted: Option<u64>| {
        let Some(wanted) = wanted else { return Ok(()) };
        // Never above what we were given ourselves: that would need a right that nobody here has.
        let most = rustix::process::getrlimit(resource).maximum;
        let value = Some(most.map_or(wanted, |most| most.min(wanted)));
        rustix::process::setrlimit(resource, Rlimit { current: value, maximum: value })
    };
    lower(Resource::Core, Some(0))?;
    lower(Resource::Nofile, Some(open_files))?;
    lower(Resource::Fsize, file_bytes)?;
    if sys::namespace::counts_processes() {
        lower(Resource::Nproc, processes)?;
    }
    Ok(())
}
