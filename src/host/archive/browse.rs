//! Looking into a tree that we did not make, a revision or what a game wrote: the entries of one of its folders.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::{machine, names};
use crate::host::paths::Paths;
use crate::model::id::{HostId, OverlayId};
use crate::model::machine::{FileEntry, FileKind, FilesError};
use crate::sys::fs::{open_beneath, path_of};

/// Entries of the folder `path` of a revision: folders first, then by name. Links are shown, not followed out.
pub fn list(paths: &Paths, overlay: OverlayId, number: u64, path: &str) -> Result<Vec<FileEntry>, FilesError> {
    entries(&paths.revision(overlay, number), path)
}

/// Likewise, of what the game of an instance wrote. It may write on meanwhile, and may be hostile: no symlink leads out of
/// its folder. Whiteouts (files that it removed from the layers below) are not shown.
pub fn list_written(paths: &Paths, host: HostId, path: &str) -> Result<Vec<FileEntry>, FilesError> {
    let root = paths.upper(host);
    if path.is_empty() && !root.exists() {
        return Ok(Vec::new());
    }
    entries(&root, path)
}

fn entries(root: &Path, path: &str) -> Result<Vec<FileEntry>, FilesError> {
    let path = names::clean(path.as_bytes()).map_err(|_| FilesError::Missing)?;
    let folder = open_beneath(root, Path::new(&path)).map_err(|_| FilesError::Missing)?;
    let wrong = |error: std::io::Error| machine("reading", &root.join(&path), &error);
    let mut found = Vec::new();
    for entry in fs::read_dir(path_of(&folder)).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        let metadata = match entry.metadata() {
            // Removed since it was listed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            other => other.map_err(wrong)?,
        };
        if metadata.file_type().is_char_device() {
            continue;
        }
        let kind = if metadata.is_dir() {
            FileKind::Folder
        } else if metadata.is_symlink() {
            FileKind::Link
        } else {
            FileKind::File
        };
        let bytes = if kind == FileKind::File { metadata.len() } else { 0 };
        found.push(FileEntry { name: entry.file_name().to_string_lossy().into_owned(), kind, bytes });
    }
    found.sort_by(|a, b| (a.kind != FileKind::Folder, &a.name).cmp(&(b.kind != FileKind::Folder, &b.name)));
    Ok(found)
}
