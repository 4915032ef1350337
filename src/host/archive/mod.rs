//! Archives that admins upload, unpacked into a folder of a managed overlay.
//!
//! Called by supervise (for pages, through `model::machine`), and by [`super::fetch`] for SteamCMD's own archive. The archive is hostile until it is unpacked: every name, size
//! and link is checked before anything is written, caps are counted on what really comes out, and a refusal leaves
//! nothing behind. Knows no store: who may upload, and which revision is current, is decided above.

mod browse;
mod collect;
mod lint;
pub mod names;
mod tar;
mod tree;
mod upload;
pub mod vpk;
mod zip;

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

pub use browse::list;
pub use collect::{Left, collect};
pub use upload::Upload;
pub use vpk::entries as vpk_entries;

use crate::model::machine::{FilesError, Unpacked};
use tree::Tree;

/// What an archive may cost.
#[derive(Debug, Clone, Copy)]
pub struct Caps {
    /// Most bytes of all files together.
    pub bytes: u64,
    /// Most entries, folders included.
    pub entries: u64,
    /// Most bytes that come out for each byte of the archive.
    pub ratio: u64,
    /// Bytes up to which the ratio is not asked: small archives of text compress well.
    pub free: u64,
    /// Whether a file that a tar archive calls executable becomes one: only for programs of a source that we chose.
    pub programs: bool,
}

impl Default for Caps {
    /// The largest campaigns are some 1 GiB, the largest plug-in collections some thousands of files; maps and text
    /// compress to a tenth at best.
    fn default() -> Self {
        Self { bytes: 8 << 30, entries: 100_000, ratio: 100, free: 16 << 20, programs: false }
    }
}

impl Caps {
    /// Bytes that an archive of this size may become.
    fn allowance(&self, archive: u64) -> u64 {
        archive.saturating_mul(self.ratio).max(self.free).min(self.bytes)
    }
}

/// An archive is not accepted: `what` of it and why.
fn refused(text: impl Into<String>) -> FilesError {
    FilesError::Refused(text.into())
}

/// The machine could not do its part.
fn machine(doing: &str, path: &Path, error: &io::Error) -> FilesError {
    FilesError::Machine(format!("{doing} {} failed: {error}", path.display()))
}

/// Unpacks the archive at `archive` into the empty folder `into`. Which kind it is, is read from its first bytes: names
/// lie. `name` is what the archive was called: an addon is kept under it. On a refusal `into` holds whatever was written
/// so far; the caller removes it.
pub fn unpack(archive: &Path, name: &str, into: &Path, caps: Caps) -> Result<Unpacked, FilesError> {
    let mut file = File::open(archive).map_err(|error| machine("opening", archive, &error))?;
    let size = file.metadata().map_err(|error| machine("reading", archive, &error))?.len();
    let mut magic = [0; 4];
    let known = file.read_exact(&mut magic).is_ok();
    file.rewind().map_err(|error| machine("reading", archive, &error))?;
    let mut tree = Tree::new(into, caps, size);
    match magic {
        [b'P', b'K', 3, 4] if known => zip::unpack(file, &mut tree)?,
        [0x1f, 0x8b, ..] if known => tar::unpack(file, &mut tree)?,
        [0x34, 0x12, 0xaa, 0x55] if known => vpk::keep(file, size, name, &mut tree)?,
        _ => return Err(refused("this file is no .zip, .tar.gz or .vpk")),
    }
    tree.finish()
}
