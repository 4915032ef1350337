//! Mounts, by descriptors and short relative names. Called inside a mount namespace of our own only.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

/// Cuts the propagation of mounts between this namespace and the one it was copied from.
pub fn make_private() -> io::Result<()> {
    Ok(rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

/// Mounts a new tmpfs.
pub fn tmpfs(at: &Path, bytes: u64, mode: u32, executable: bool) -> io::Result<()> {
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV;
    if !executable {
        flags |= MountFlags::NOEXEC;
    }
    let options = format!("size={bytes},mode={mode:o}\0");
    Ok(rustix::mount::mount("left4me", at, "tmpfs", flags, text(&options)?)?)
}

/// Mounts the `/proc` of this PID namespace.
pub fn proc(at: &Path) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(rustix::mount::mount("proc", at, "proc", flags, None)?)
}

/// Mounts a new instance of devpts.
pub fn devpts(at: &Path) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    Ok(rustix::mount::mount("devpts", at, "devpts", flags, text("newinstance,ptmxmode=0666,mode=620\0")?)?)
}

/// Mounts an overlay at `at` from names relative to the current folder: `lowers` are named `0`, `1`, … (highest first),
/// the upper `u`, its work folder `w`.
///
/// The short form keeps the options within the one page that mount(2) takes, up to the kernel's 500 layers. `userxattr`:
/// the only form that a user namespace may use; `xino=off`: inode numbers stay those of the layers, so that 32-bit
/// programs can read them (domain.md, overlayfs).
pub fn overlay(at: &Path, lowers: usize) -> io::Result<()> {
    let names: Vec<String> = (0..lowers).map(|number| number.to_string()).collect();
    let options = format!("lowerdir={},upperdir=u,workdir=w,userxattr,xino=off\0", names.join(":"));
    if options.len() > 4096 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "more layers than one mount takes"));
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    Ok(rustix::mount::mount("overlay", at, "overlay", flags, text(&options)?)?)
}

/// What programs may not do in a mount. All forbid set-uid programs and device files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Nothing is written.
    ReadOnly,
    /// Files are written.
    Writable,
    /// A device file itself: it stays as the box has it.
    Device,
}

/// A copy of the mount that `path` lies in, seen from there, with everything mounted below it; nowhere attached yet
/// (open_tree(2)). A symlink at the end is followed.
pub fn copy_of(path: &Path, usage: Use) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(rustix::fs::CWD, path, flags)?;
    let common = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    match usage {
        Use::ReadOnly => set_attributes(&tree, common | libc::MOUNT_ATTR_RDONLY)?,
        Use::Writable => set_attributes(&tree, common)?,
        Use::Device => {}
    }
    Ok(tree)
}

/// Attaches a [`copy_of`] a mount to the file or folder that `place` stands for.
pub fn attach(tree: &OwnedFd, place: &OwnedFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(tree, "", place, "", flags)?)
}

fn set_attributes(tree: &OwnedFd, set: u64) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: path and attributes outlive the call; the size is that of the structure.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_RECURSIVE | libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes a mount away, at once for new opens, wholly with its last user.
pub fn detach(at: &Path) -> io::Result<()> {
    Ok(rustix::mount::unmount(at, UnmountFlags::DETACH)?)
}

fn text(options: &str) -> io::Result<Option<&std::ffi::CStr>> {
    std::ffi::CStr::from_bytes_with_nul(options.as_bytes())
        .map(Some)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "mount options hold a zero byte"))
}
