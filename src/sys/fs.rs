//! Files by descriptors: opening beneath a root, locks, whole-file writes, and removing a tree that somebody hostile
//! filled.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// Folders inside each other that are held open while a tree is removed or measured.
const DEPTH: usize = 64;
/// Symlinks of one path, as the kernel counts them (path_resolution(7)).
const LINKS: usize = 40;
/// Bytes that an entry counts at least: an empty file takes an inode and its name.
const ENTRY: u64 = 1024;

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// Opens a folder. Symlinks on the way are followed: the path is our own.
pub fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | FOLDER, Mode::empty())?)
}

/// Opens `path` as a handle for mounting and looking: neither reading nor writing goes through it.
pub fn open_handle(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens the folder `path` as a handle so that it cannot lie outside `root`, whatever symlinks and `..` it goes through
/// (as openat2(2) with RESOLVE_BENEATH). `path` is relative to `root`.
pub fn open_beneath(root: &Path, path: &Path) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    open_under(root, path, OFlags::PATH | FOLDER)
}

/// Opens the folder `path` beneath `root` to list it. Each name on the way is opened by itself, so neither a symlink nor
/// `..` leads anywhere, and what its owner (we, outside) may not read is made readable.
pub fn open_readable_beneath(root: &Path, path: &Path) -> io::Result<OwnedFd> {
    descend(open_readable(CWD, root.as_os_str())?, path, |folder, name| open_readable(folder, name))
}

/// Opens the folder `path` beneath the folder `top`; no name on the way may be a symlink.
pub fn open_plain(top: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let open = |folder: &OwnedFd, name: &OsStr| {
        rustix::fs::openat(folder, name, OFlags::RDONLY | OFlags::NOFOLLOW | FOLDER, Mode::empty())
    };
    descend(open(top, OsStr::new("."))?, path, open)
}

/// Goes down from a folder, one name after the other, each opened by `open`; never up.
fn descend(
    mut folder: OwnedFd,
    path: &Path,
    open: impl Fn(&OwnedFd, &OsStr) -> rustix::io::Result<OwnedFd>,
) -> io::Result<OwnedFd> {
    for part in path.components() {
        match part {
            Component::Normal(name) => folder = open(&folder, name)?,
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(io::ErrorKind::NotFound.into());
            }
        }
    }
    Ok(folder)
}

/// [`open_beneath`] for reading a file. Whatever else lies there (a pipe, say) does not hold the caller up.
pub fn open_file_beneath(root: &Path, path: &Path) -> io::Result<std::fs::File> {
    let file = std::fs::File::from(open_under(root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC)?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is no file", path.display())))
    }
}

/// What openat2(2) does with RESOLVE_BENEATH, name by name: each is opened by itself and never followed; what a symlink says
/// is walked in its place, and neither it nor `..` gets above the root. Not by openat2 itself: under RestrictSUIDSGID= systemd
/// answers it with ENOSYS, for a filter cannot look at its flags.
fn open_under(root: &Path, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let backwards = |path: &Path| path.components().rev().map(|part| part.as_os_str().to_owned()).collect::<Vec<_>>();
    // The folders from the root to where the walk is, and the names that are still to be walked, last first.
    let mut folders = vec![open_handle(root)?];
    let mut names = backwards(path);
    let mut links = 0;
    while let Some(name) = names.pop() {
        let here = folders.last().ok_or(Errno::XDEV)?;
        match Path::new(&name).components().next() {
            None | Some(Component::CurDir) => continue,
            Some(Component::ParentDir) if folders.len() > 1 => {
                folders.pop();
                continue;
            }
            Some(Component::ParentDir | Component::RootDir | Component::Prefix(_)) => return Err(Errno::XDEV.into()),
            Some(Component::Normal(_)) => {}
        }
        let found = rustix::fs::openat(here, &name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        match FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) {
            FileType::Symlink => {
                links += 1;
                if links > LINKS {
                    return Err(Errno::LOOP.into());
                }
                let target = rustix::fs::readlinkat(&found, "", Vec::new())?;
                names.extend(backwards(Path::new(OsStr::from_bytes(target.as_bytes()))));
            }
            FileType::Directory => folders.push(found),
            // The end of the walk. A link that takes its place meanwhile is refused.
            _ if names.is_empty() => {
                return Ok(rustix::fs::openat(here, &name, flags | OFlags::NOFOLLOW, Mode::empty())?);
            }
            _ => return Err(Errno::NOTDIR.into()),
        }
    }
    let here = folders.last().ok_or(Errno::XDEV)?;
    Ok(rustix::fs::openat(here, ".", flags, Mode::empty())?)
}

/// Path by which this process reaches what a descriptor stands for.
pub fn path_of(fd: impl AsFd) -> std::path::PathBuf {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()).into()
}

/// Takes the lock of a file, made when missing, without waiting; `None` when somebody holds it. It lasts until every
/// copy of the descriptor is closed.
pub fn try_lock(path: &Path) -> io::Result<Option<OwnedFd>> {
    let file = rustix::fs::open(path, OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Replaces a file in one step: readers see the old text or the new one, also after a power cut.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, true)?;
    match path.parent() {
        Some(folder) => sync_folder(folder),
        None => Ok(()),
    }
}

/// Likewise for what nobody needs after a power cut: nothing waits for the disk. Readers may then find an empty file.
pub fn write_in_one_step(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, false)
}

fn replace(path: &Path, bytes: &[u8], synced: bool) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let result = (|| {
        let mut file = std::fs::File::create(&new)?;
        file.write_all(bytes)?;
        if synced {
            file.sync_all()?;
        }
        std::fs::rename(&new, path)
    })();
    if result.is_err() {
        // What stays is a file that nobody reads and the next write replaces.
        let _ = std::fs::remove_file(&new);
    }
    result
}

/// Makes the names in a folder durable.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::fsync(open_folder(path)?)?)
}

/// Writes everything of the file system that holds `path` to its disk.
pub fn sync_file_system(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(open_folder(path)?)?)
}

/// Bytes that an unprivileged process may still write on the file system that holds `path`.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Removes `path` and all below it; nothing there is fine.
///
/// Works by descriptors and never follows a symlink, so a name that is swapped under it leads nowhere. Folders without
/// permissions (overlayfs keeps `work/work` at mode 000) are opened up first. Folders below a certain depth are moved up to
/// the top, so a tree of any depth needs a few descriptors and no deep stack.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let parent = match open_folder(path.parent().unwrap_or(Path::new("."))) {
        Ok(parent) => parent,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a path without a name cannot be removed"));
    };
    let top = match open_to_empty(&parent, name) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return Ok(rustix::fs::unlinkat(&parent, name, AtFlags::empty())?),
        Err(error) => return Err(error.into()),
    };
    loop {
        let folders = unlink_files(&top)?;
        if folders.is_empty() {
            break;
        }
        for folder in folders {
            remove_below(&top, folder)?;
        }
    }
    drop(top);
    match rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Bytes on disk of all below the folder `path`, each entry at least [`ENTRY`]; counting ends once it is more than
/// `enough`. `None`: folders are nested deeper than is followed.
///
/// Somebody hostile may change the tree meanwhile: no symlink is followed, what vanishes counts nothing, and a folder
/// that its owner (we, outside) may not read, the top included, is made readable.
pub fn tree_bytes(path: &Path, enough: u64) -> io::Result<Option<u64>> {
    let mut bytes = 0_u64;
    let mut levels = vec![rustix::fs::Dir::new(open_readable(CWD, path.as_os_str())?)?];
    loop {
        let depth = levels.len();
        let Some(level) = levels.last_mut() else { break };
        let Some(entry) = level.read() else {
            levels.pop();
            continue;
        };
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let Ok(stat) = rustix::fs::statat(level.fd()?, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        bytes = bytes.saturating_add(ENTRY.max((stat.st_blocks as u64).saturating_mul(512)));
        if bytes > enough {
            break;
        }
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            if depth > DEPTH {
                return Ok(None);
            }
            let opened = open_readable(level.fd()?, name);
            match opened {
                Ok(folder) => levels.push(rustix::fs::Dir::new(folder)?),
                // Removed or swapped since it was listed.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(Some(bytes))
}

/// A folder that is being emptied.
struct Level {
    fd: OwnedFd,
    name: OsString,
    folders: Vec<OsString>,
}

impl Level {
    fn open(parent: &OwnedFd, name: OsString) -> io::Result<Self> {
        let fd = open_to_empty(parent, &name)?;
        let folders = unlink_files(&fd)?;
        Ok(Self { fd, name, folders })
    }
}

/// Removes the folder `name` of `top`; what lies deeper than [`DEPTH`] ends up in `top` under other names.
fn remove_below(top: &OwnedFd, name: OsString) -> io::Result<()> {
    let mut levels = vec![Level::open(top, name)?];
    let mut moved = 0_u64;
    loop {
        let depth = levels.len();
        let Some(level) = levels.last_mut() else { return Ok(()) };
        let Some(child) = level.folders.pop() else {
            let Some(Level { name, .. }) = levels.pop() else { return Ok(()) };
            let parent = levels.last().map_or(top, |level| &level.fd);
            rustix::fs::unlinkat(parent, &name, AtFlags::REMOVEDIR)?;
            continue;
        };
        if depth < DEPTH {
            let inner = Level::open(&level.fd, child)?;
            levels.push(inner);
            continue;
        }
        // A folder without permissions cannot change its parent.
        open_to_empty(&level.fd, &child)?;
        loop {
            moved += 1;
            let target = format!(".removed-{moved}");
            let flags = rustix::fs::RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(&level.fd, &child, top, &target, flags) {
                Err(Errno::EXIST) => {}
                other => break other?,
            }
        }
    }
}

/// Opens a folder to list it, giving ourselves the rights to do so and leaving it the others that it has.
fn open_readable(parent: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let handle = rustix::fs::openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | FOLDER, Mode::empty())?;
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&handle)?.st_mode);
    let wanted = Mode::RUSR | Mode::XUSR;
    if !mode.contains(wanted) {
        rustix::fs::chmodat(CWD, path_of(&handle), mode | wanted, AtFlags::empty())?;
    }
    rustix::fs::openat(&handle, ".", OFlags::RDONLY | FOLDER, Mode::empty())
}

/// Opens a folder whose content shall go, giving ourselves the rights to do so.
fn open_to_empty(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let handle = rustix::fs::openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | FOLDER, Mode::empty())?;
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&handle)?.st_mode);
    if !mode.contains(Mode::RWXU) {
        rustix::fs::chmodat(CWD, path_of(&handle), Mode::RWXU, AtFlags::empty())?;
    }
    rustix::fs::openat(&handle, ".", OFlags::RDONLY | FOLDER, Mode::empty())
}

/// Removes all but folders from a folder and answers the names of the folders.
fn unlink_files(folder: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut folders = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let is_folder = match entry.file_type() {
            FileType::Directory => true,
            FileType::Unknown => {
                let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode) == FileType::Directory
            }
            FileType::RegularFile
            | FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice => false,
        };
        if is_folder {
            folders.push(name.to_owned());
        } else {
            rustix::fs::unlinkat(folder, name, AtFlags::empty())?;
        }
    }
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_tree_is_measured_whatever_its_owner_did_to_hide_it() {
        let base = tempfile::tempdir().unwrap();
        let top = base.path().join("top");
        fs::create_dir_all(top.join("hidden/deep")).unwrap();
        fs::write(top.join("hidden/deep/file"), vec![1; 300_000]).unwrap();
        fs::write(base.path().join("outside"), vec![1; 900_000]).unwrap();
        std::os::unix::fs::symlink(base.path(), top.join("out")).unwrap();
        for n in 0..100 {
            fs::write(top.join(format!("empty-{n}")), "").unwrap();
        }
        fs::set_permissions(top.join("hidden"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(&top, fs::Permissions::from_mode(0o300)).unwrap();
        let bytes = tree_bytes(&top, u64::MAX).unwrap().unwrap();
        assert!((400_000..500_000).contains(&bytes), "{bytes}");
        // Also said by root, who may read everything: the rights are given, not passed over.
        assert_eq!(fs::metadata(&top).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(tree_bytes(&top, 1000).unwrap().unwrap() > 1000);
        let mut deep = top.clone();
        (0..DEPTH + 2).for_each(|_| deep.push("d"));
        fs::create_dir_all(&deep).unwrap();
        assert_eq!(tree_bytes(&top, u64::MAX).unwrap(), None);
    }

    #[test]
    fn a_tree_goes_with_folders_that_have_no_permissions_and_links_are_not_followed() {
        let base = tempfile::tempdir().unwrap();
        let tree = base.path().join("tree");
        fs::create_dir_all(tree.join("work/work/inner")).unwrap();
        fs::write(tree.join("work/work/inner/file"), "x").unwrap();
        fs::write(base.path().join("kept"), "x").unwrap();
        std::os::unix::fs::symlink(base.path().join("kept"), tree.join("link")).unwrap();
        std::os::unix::fs::symlink(base.path(), tree.join("folder")).unwrap();
        fs::set_permissions(tree.join("work/work"), fs::Permissions::from_mode(0o000)).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert_eq!(fs::read_to_string(base.path().join("kept")).unwrap(), "x");
        remove_tree(&tree).unwrap();
    }

    #[test]
    fn a_tree_deeper_than_a_path_can_name_goes() {
        let base = tempfile::tempdir().unwrap();
        let mut folder = open_folder(base.path()).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&folder, "deep", Mode::RWXU).unwrap();
            folder = rustix::fs::openat(&folder, "deep", FOLDER, Mode::empty()).unwrap();
        }
        drop(folder);
        remove_tree(&base.path().join("deep")).unwrap();
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_walk_beneath_a_root_ends_where_the_kernel_s_own_would() {
        use std::os::unix::fs::symlink;
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("root");
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        fs::write(root.join("a/file"), "x").unwrap();
        fs::write(base.path().join("outside"), "x").unwrap();
        for (target, name) in [
            ("a/b", "down"),
            ("down/c", "twice"),
            ("../file", "a/b/up"),
            ("loop", "loop"),
            ("..", "a/back"),
            ("../..", "a/out"),
            ("/etc", "absolute"),
            ("a/file", "file"),
            ("nowhere", "dangling"),
            ("../outside", "escape"),
        ] {
            symlink(target, root.join(name)).unwrap();
        }
        let handle = open_handle(&root).unwrap();
        for path in [
            ".",
            "a",
            "a/",
            "./a/./b",
            "a/..",
            "a/../a/b",
            "..",
            "a/../..",
            "down",
            "down/c",
            "down/..",
            "twice",
            "twice/../..",
            "a/b/up",
            "a/b/up/x",
            "loop",
            "a/back",
            "a/back/a/b",
            "a/back/..",
            "a/out",
            "absolute",
            "absolute/passwd",
            "file",
            "file/x",
            "dangling",
            "escape",
            "/",
            "/a",
            "nothing",
            "a/file/..",
        ] {
            for flags in [OFlags::PATH | FOLDER, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC] {
                let beneath = rustix::fs::ResolveFlags::BENEATH;
                let theirs = rustix::fs::openat2(&handle, path, flags, Mode::empty(), beneath);
                let ours = open_under(&root, Path::new(path), flags);
                let inode = |fd: OwnedFd| rustix::fs::fstat(&fd).unwrap().st_ino;
                let error = |error: io::Error| Errno::from_io_error(&error).unwrap();
                assert_eq!(ours.map(inode).map_err(error), theirs.map(inode), "{path} {flags:?}");
            }
        }
    }

    #[test]
    fn a_folder_outside_its_root_is_not_opened() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir_all(base.path().join("root/inside")).unwrap();
        fs::create_dir_all(base.path().join("outside")).unwrap();
        let root = base.path().join("root");
        std::os::unix::fs::symlink("../outside", root.join("relative")).unwrap();
        std::os::unix::fs::symlink(base.path().join("outside"), root.join("absolute")).unwrap();
        std::os::unix::fs::symlink("inside", root.join("fine")).unwrap();
        assert!(open_beneath(&root, Path::new("inside")).is_ok());
        assert!(open_beneath(&root, Path::new("fine")).is_ok());
        assert!(open_beneath(&root, Path::new("")).is_ok());
        for bad in ["relative", "absolute", "../outside", "inside/../../outside"] {
            assert!(open_beneath(&root, Path::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_lock_is_given_once() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("lock");
        let held = try_lock(&path).unwrap();
        assert!(held.is_some());
        assert!(try_lock(&path).unwrap().is_none());
        drop(held);
        assert!(try_lock(&path).unwrap().is_some());
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("state");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 1);
    }
}
