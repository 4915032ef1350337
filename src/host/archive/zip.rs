//! Zip archives. The directory at the end says what is there; contents are unpacked entry by entry.

use std::fs::File;
use std::io::{BufReader, Read, Seek};

use ::zip::ZipArchive;
use ::zip::result::ZipError;

use super::tree::Tree;
use super::{names, refused};
use crate::model::machine::FilesError;

/// First bytes of an entry of the directory.
const DIRECTORY_ENTRY: [u8; 4] = *b"PK\x01\x02";
/// File types of `st_mode`, which packers of Unix leave in the upper half of the external attributes.
const TYPE_MASK: u32 = 0o170_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_FOLDER: u32 = 0o040_000;
const TYPE_LINK: u32 = 0o120_000;
/// Most bytes of a link's target.
const LINK_MAX: u64 = 4096;

fn wrong(error: &ZipError) -> FilesError {
    refused(format!("the archive cannot be read: {error}"))
}

/// Unpacks it.
pub fn unpack(mut file: File, tree: &mut Tree) -> Result<(), FilesError> {
    // The reader holds the whole directory in memory, so its entries are counted first.
    let entries = count_entries(&mut file).map_err(|error| wrong(&error.into()))?;
    tree.expect(entries, 0)?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| wrong(&error))?;
    if archive.has_overlapping_files().map_err(|error| wrong(&error))? {
        return Err(refused("entries of the archive overlap, as in a bomb"));
    }
    let mut total = 0_u64;
    for number in 0..archive.len() {
        let entry = archive.by_index_data(number).map_err(|error| wrong(&error))?;
        names::clean(entry.name_raw())?;
        total = total.saturating_add(entry.size());
    }
    tree.expect(archive.len() as u64, total)?;
    for number in 0..archive.len() {
        let mut entry = archive.by_index(number).map_err(|error| wrong(&error))?;
        let (raw, mode, size) = (entry.name_raw().to_vec(), entry.unix_mode(), entry.size());
        let path = names::clean(&raw)?;
        let kind = match mode.map_or(0, |mode| mode & TYPE_MASK) {
            0 if raw.ends_with(b"/") || raw.ends_with(b"\\") => TYPE_FOLDER,
            0 => TYPE_FILE,
            kind => kind,
        };
        match kind {
            TYPE_FOLDER => tree.folder(&path)?,
            TYPE_FILE => tree.file(&path, size, &mut entry)?,
            TYPE_LINK => {
                let mut target = Vec::new();
                entry.take(LINK_MAX).read_to_end(&mut target).map_err(|error| wrong(&error.into()))?;
                let target = names::link_target(&path, &target)?;
                tree.link(&path, target)?;
            }
            _ => return Err(refused(format!("\"{path}\" in the archive is no file, folder or link"))),
        }
    }
    Ok(())
}

/// No directory can hold more entries than its signature occurs.
fn count_entries(file: &mut File) -> std::io::Result<u64> {
    let mut window = vec![0_u8; 1 << 20];
    let (mut kept, mut count) = (0, 0);
    loop {
        let read = file.read(&mut window[kept..])?;
        if read == 0 {
            break;
        }
        let filled = kept + read;
        count += window[..filled].windows(4).filter(|bytes| **bytes == DIRECTORY_ENTRY).count() as u64;
        // A signature may lie across two pieces; three bytes hold none themselves.
        kept = filled.min(3);
        window.copy_within(filled - kept..filled, 0);
    }
    file.rewind()?;
    Ok(count)
}
