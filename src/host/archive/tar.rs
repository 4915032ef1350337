//! Gzipped tar archives, read as a stream. Long names and PAX records are read by us, with a limit: the library would
//! take them into memory whatever their size.

use std::fs::File;
use std::io::{self, BufReader, Read};

use ::tar::{Archive, Entry, EntryType, PaxExtensions};
use flate2::read::MultiGzDecoder;

use super::tree::Tree;
use super::{names, refused};
use crate::model::machine::FilesError;

/// Most bytes of a long name, or of the PAX records of one entry.
const RECORD_MAX: u64 = 64 * 1024;

fn wrong(error: &io::Error) -> FilesError {
    refused(format!("the archive cannot be read: {error}"))
}

/// What stands before an entry about its name and its target.
#[derive(Default)]
struct Before {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
}

/// Unpacks it.
pub fn unpack(file: File, tree: &mut Tree) -> Result<(), FilesError> {
    let limit = tree.stream_max();
    let mut stream = Capped { inner: MultiGzDecoder::new(BufReader::new(file)), left: limit };
    let mut archive = Archive::new(&mut stream);
    let mut before = Before::default();
    for entry in archive.entries().map_err(|error| wrong(&error))?.raw(true) {
        let mut entry = entry.map_err(|error| wrong(&error))?;
        match entry.header().entry_type() {
            EntryType::GNULongName => before.path = Some(record(&mut entry)?),
            EntryType::GNULongLink => before.target = Some(record(&mut entry)?),
            EntryType::XHeader => pax(&mut entry, &mut before)?,
            EntryType::XGlobalHeader => {
                record(&mut entry)?;
            }
            kind => one(kind, &mut entry, std::mem::take(&mut before), tree)?,
        }
    }
    // The check sums stand at the end, behind the padding.
    io::copy(&mut stream, &mut io::sink()).map_err(|error| wrong(&error))?;
    Ok(())
}

fn record(entry: &mut Entry<impl Read>) -> Result<Vec<u8>, FilesError> {
    let mut bytes = Vec::new();
    let size = entry.header().entry_size().map_err(|error| wrong(&error))?;
    if size > RECORD_MAX {
        return Err(refused("the archive holds a name that is too long"));
    }
    entry.take(RECORD_MAX).read_to_end(&mut bytes).map_err(|error| wrong(&error))?;
    if (bytes.len() as u64) < size {
        return Err(refused("the archive is cut off"));
    }
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}

fn pax(entry: &mut Entry<impl Read>, before: &mut Before) -> Result<(), FilesError> {
    let bytes = record(entry)?;
    for extension in PaxExtensions::new(&bytes) {
        let extension = extension.map_err(|error| wrong(&error))?;
        match extension.key_bytes() {
            b"path" => before.path = Some(extension.value_bytes().to_vec()),
            b"linkpath" => before.target = Some(extension.value_bytes().to_vec()),
            b"size" => return Err(refused("the archive holds a file of 8 GiB or more")),
            key if key.starts_with(b"GNU.sparse") => {
                return Err(refused("the archive holds sparse files: pack it without"));
            }
            // Times, owners and the like: files here are the service user's, and as old as the upload.
            _ => {}
        }
    }
    Ok(())
}

fn one(kind: EntryType, entry: &mut Entry<impl Read>, before: Before, tree: &mut Tree) -> Result<(), FilesError> {
    let raw = before.path.unwrap_or_else(|| entry.path_bytes().into_owned());
    let path = names::clean(&raw)?;
    let target =
        before.target.or_else(|| entry.link_name_bytes().map(std::borrow::Cow::into_owned)).unwrap_or_default();
    match kind {
        // Before POSIX a folder was a file whose name ends in a slash.
        EntryType::Regular if raw.ends_with(b"/") => tree.folder(&path),
        EntryType::Directory => tree.folder(&path),
        EntryType::Regular | EntryType::Continuous => {
            let size = entry.header().entry_size().map_err(|error| wrong(&error))?;
            let program = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
            tree.file(&path, size, entry)?;
            if program { tree.executable(&path) } else { Ok(()) }
        }
        EntryType::Symlink => tree.link(&path, names::link_target(&path, &target)?),
        EntryType::Link => tree.hard_link(&path, &names::clean(&target)?),
        _ => Err(refused(format!("\"{path}\" in the archive is no file, folder or link"))),
    }
}

/// A reader that ends in an error when more comes out than may.
struct Capped<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::FileTooLarge, "more comes out of it than an archive of its size may hold")
        })?;
        Ok(read)
    }
}
