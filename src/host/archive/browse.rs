//! Looking into a revision: the entries of one of its folders.

use std::fs;
use std::path::Path;

use super::{machine, names};
use crate::host::paths::Paths;
use crate::model::id::OverlayId;
use crate::model::machine::{FileEntry, FileKind, FilesError};
use crate::sys::fs::{open_beneath, path_of};

/// Entries of the folder `path` of a revision: folders first, then by name. Links are shown, not followed out.
pub fn list(paths: &Paths, overlay: OverlayId, number: u64, path: &str) -> Result<Vec<FileEntry>, FilesError> {
    let root = paths.revision(overlay, number);
    let path = names::clean(path.as_bytes()).map_err(|_| FilesError::Missing)?;
    let folder = open_beneath(&root, Path::new(&path)).map_err(|_| FilesError::Missing)?;
    let wrong = |error: std::io::Error| machine("reading", &root.join(&path), &error);
    let mut found = Vec::new();
    for entry in fs::read_dir(path_of(&folder)).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        let metadata = entry.metadata().map_err(wrong)?;
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
