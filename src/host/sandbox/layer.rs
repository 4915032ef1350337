//! What a folder must be to become a layer, checked by the daemon before a start and by the sandbox at the mount.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::super::launch::Layer;
use crate::sys;

/// Highest inode number that a 32-bit program can read.
const INODE_MAX: u64 = u32::MAX as u64;

/// Why a folder cannot be a layer.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// It is not there.
    #[error("{name}: the folder {} does not exist: create it, or take it out of the blueprint", folder.display())]
    Missing {
        /// What errors call it.
        name: String,
        /// Where it should be.
        folder: PathBuf,
    },
    /// It leads elsewhere.
    #[error("{name}: {} leads out of {}: overlays must lie under the overlay root; move it there", folder.display(), root.display())]
    Outside {
        /// What errors call it.
        name: String,
        /// What was asked for.
        folder: PathBuf,
        /// What it must not leave.
        root: PathBuf,
    },
    /// It cannot be used as it is.
    #[error("{name}: {}: {problem}", folder.display())]
    Unfit {
        /// What errors call it.
        name: String,
        /// Which file or folder.
        folder: PathBuf,
        /// What is wrong and how to mend it.
        problem: String,
    },
}

/// Opens a layer once, beneath its root, as a handle for mounting.
pub fn open(layer: &Layer) -> Result<OwnedFd, LayerError> {
    let full = full_path(layer);
    let opened = match &layer.beneath {
        Some(root) => sys::fs::open_beneath(root, layer.folder.strip_prefix(root).unwrap_or(&layer.folder)),
        None => sys::fs::open_handle(&layer.folder),
    };
    opened.map_err(|error| match (error.kind(), &layer.beneath) {
        (io::ErrorKind::NotFound, _) => LayerError::Missing { name: layer.name.clone(), folder: full },
        (io::ErrorKind::CrossesDevices, Some(root)) => {
            LayerError::Outside { name: layer.name.clone(), folder: full, root: root.clone() }
        }
        (io::ErrorKind::PermissionDenied, _) => {
            unfit(layer, &full, "the service user may not enter it: chmod a+rx it and the folders above")
        }
        _ => unfit(layer, &full, &error.to_string()),
    })
}

fn full_path(layer: &Layer) -> PathBuf {
    layer.beneath.as_ref().map_or_else(|| layer.folder.clone(), |root| root.join(&layer.folder))
}

fn unfit(layer: &Layer, folder: &Path, problem: &str) -> LayerError {
    LayerError::Unfit { name: layer.name.clone(), folder: folder.to_owned(), problem: problem.into() }
}

/// Checks the top folder of an opened layer against the file system of the upper (`device`).
pub fn check(layer: &Layer, handle: &OwnedFd, device: u64) -> Result<(), LayerError> {
    let full = full_path(layer);
    let stat = rustix::fs::fstat(handle).map_err(|error| unfit(layer, &full, &error.to_string()))?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::Directory {
        return Err(unfit(layer, &full, "it is not a folder"));
    }
    if stat.st_dev != device {
        return Err(unfit(
            layer,
            &full,
            "it lies on another file system than the data folder: copy it there (32-bit games cannot read the inode \
             numbers of a mixed overlay)",
        ));
    }
    check_entry(layer, &full, stat.st_ino, stat.st_uid, stat.st_gid)?;
    rustix::fs::openat(handle, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map(drop)
        .map_err(|_| unfit(layer, &full, "the service user may not read it: chmod -R a+rX it"))
}

fn check_entry(layer: &Layer, path: &Path, inode: u64, uid: u32, gid: u32) -> Result<(), LayerError> {
    if inode > INODE_MAX {
        return Err(unfit(
            layer,
            path,
            &format!(
                "its inode number {inode} is above 2^32 and a 32-bit game cannot read it: copy the data to a file system \
                 with small inode numbers (ext4, or XFS mounted with inode32)"
            ),
        ));
    }
    let (us, our_group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if uid != us || gid != our_group {
        return Err(unfit(
            layer,
            path,
            &format!(
                "it belongs to uid {uid}, gid {gid}, which the sandbox cannot map: chown -R it to the service user \
                 (uid {us}, gid {our_group})"
            ),
        ));
    }
    Ok(())
}

/// Checks every file of a layer, as [`check`] does its top. For folders that an admin fills by hand.
pub fn check_deep(layer: &Layer, device: u64) -> Result<(), LayerError> {
    let top = open(layer)?;
    check(layer, &top, device)?;
    // Names, not descriptors: a folder may hold more folders than a process may open.
    let mut pending = vec![PathBuf::from(".")];
    while let Some(below) = pending.pop() {
        let path = full_path(layer).join(&below);
        let failed = |error: io::Error| {
            unfit(layer, &path, &format!("cannot be read ({error}): chmod -R a+rX it for the service user"))
        };
        let folder = sys::fs::open_plain(&top, &below).map_err(failed)?;
        for entry in rustix::fs::Dir::read_from(&folder).map_err(|error| failed(error.into()))? {
            let entry = entry.map_err(|error| failed(error.into()))?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let inner = path.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
            let stat = rustix::fs::statat(&folder, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| failed(error.into()))?;
            check_entry(layer, &inner, stat.st_ino, stat.st_uid, stat.st_gid)?;
            let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
            if kind == rustix::fs::FileType::Directory {
                if stat.st_dev != device {
                    return Err(unfit(
                        layer,
                        &inner,
                        "something else is mounted here: copy it into the folder instead",
                    ));
                }
                pending.push(below.join(std::ffi::OsStr::from_bytes(name.to_bytes())));
            } else if kind == rustix::fs::FileType::RegularFile
                && rustix::fs::accessat(&folder, name, rustix::fs::Access::READ_OK, rustix::fs::AtFlags::empty())
                    .is_err()
            {
                return Err(unfit(layer, &inner, "the service user may not read it: chmod -R a+rX the folder"));
            }
        }
    }
    Ok(())
}
