//! Looking into a revision: the entries of one of its folders.

use std::collections::BTreeMap;
use std::fs;
use std::io::BufReader;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::{machine, names, vpk};
use crate::host::paths::Paths;
use crate::model::id::OverlayId;
use crate::model::machine::{FileEntry, FileKind, FilesError};
use crate::sys::fs::{open_beneath, open_file_beneath, path_of};

/// Entries of the folder `path` of a revision: folders first, then by name. Links are shown, not followed out. A path may
/// lead on into a VPK.
pub fn list(paths: &Paths, overlay: OverlayId, number: u64, path: &str) -> Result<Vec<FileEntry>, FilesError> {
    entries(&paths.revision(overlay, number), path)
}

fn entries(root: &Path, path: &str) -> Result<Vec<FileEntry>, FilesError> {
    let path = names::clean(path.as_bytes()).map_err(|_| FilesError::Missing)?;
    let Ok(folder) = open_beneath(root, Path::new(&path)) else { return inside(root, &path) };
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
    sort(&mut found);
    Ok(found)
}

fn sort(entries: &mut [FileEntry]) {
    entries.sort_by(|a, b| (a.kind != FileKind::Folder, &a.name).cmp(&(b.kind != FileKind::Folder, &b.name)));
}

/// Entries of a folder inside the VPK that `path` leads through.
fn inside(root: &Path, path: &str) -> Result<Vec<FileEntry>, FilesError> {
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    for end in ends.filter(|end| path[..*end].to_ascii_lowercase().ends_with(".vpk")) {
        let Ok(file) = open_file_beneath(root, Path::new(&path[..end])) else { continue };
        let size = file.metadata().map_err(|error| machine("reading", &root.join(path), &error))?.len();
        // A file that only looks like one has no folders.
        let files = vpk::entries(BufReader::new(file), size).map_err(|_| FilesError::Missing)?;
        return folder_of(files, path[end..].trim_start_matches('/'));
    }
    Err(FilesError::Missing)
}

/// The entries of one folder among the paths of all files.
fn folder_of(files: Vec<(String, u64)>, folder: &str) -> Result<Vec<FileEntry>, FilesError> {
    let mut found: BTreeMap<String, FileEntry> = BTreeMap::new();
    for (path, bytes) in files {
        let below = if folder.is_empty() {
            Some(path.as_str())
        } else {
            path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'))
        };
        let Some(below) = below else { continue };
        let entry = match below.split_once('/') {
            Some((name, _)) => FileEntry { name: name.to_owned(), kind: FileKind::Folder, bytes: 0 },
            None => FileEntry { name: below.to_owned(), kind: FileKind::File, bytes },
        };
        found.insert(entry.name.clone(), entry);
    }
    if found.is_empty() {
        return Err(FilesError::Missing);
    }
    let mut found: Vec<FileEntry> = found.into_values().collect();
    sort(&mut found);
    Ok(found)
}
