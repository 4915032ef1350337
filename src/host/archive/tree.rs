//! The folder that an archive is unpacked into: counts what comes out against the caps, and writes plain files.
//!
//! Links are made last: until then the tree holds nothing that a path could lead through, so plain paths are safe.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::lint::Lint;
use super::{Caps, machine, refused};
use crate::model::machine::{FilesError, Unpacked};

/// Bytes that are copied at a time.
const PIECE: usize = 64 * 1024;

/// A tree that grows.
pub struct Tree<'a> {
    root: &'a Path,
    caps: Caps,
    allowance: u64,
    entries: u64,
    files: u64,
    bytes: u64,
    folders: HashSet<String>,
    links: Vec<(String, String)>,
    lint: Lint,
}

impl<'a> Tree<'a> {
    /// A tree in the empty folder `root`, from an archive of `archive` bytes.
    pub fn new(root: &'a Path, caps: Caps, archive: u64) -> Self {
        Self {
            root,
            caps,
            allowance: caps.allowance(archive),
            entries: 0,
            files: 0,
            bytes: 0,
            folders: HashSet::new(),
            links: Vec::new(),
            lint: Lint::default(),
        }
    }

    /// Most entries that an archive may hold.
    pub fn entries_max(&self) -> u64 {
        self.caps.entries
    }

    /// Most bytes that may come out of a decompressor, headers included.
    pub fn stream_max(&self) -> u64 {
        // A tar spends up to three blocks on an entry besides its content.
        self.allowance.saturating_add(self.caps.entries.saturating_mul(1536))
    }

    /// Refuses an archive that is known to hold more than it may.
    pub fn expect(&self, entries: u64, bytes: u64) -> Result<(), FilesError> {
        if self.entries.saturating_add(entries) > self.caps.entries {
            return Err(refused(format!("the archive holds more than {} entries", self.caps.entries)));
        }
        if self.bytes.saturating_add(bytes) > self.allowance {
            return Err(self.too_large());
        }
        Ok(())
    }

    fn too_large(&self) -> FilesError {
        refused(format!(
            "the archive becomes more than {} MiB, which is more than {} GiB or {} times its own size",
            self.allowance >> 20,
            self.caps.bytes >> 30,
            self.caps.ratio
        ))
    }

    /// A folder.
    pub fn folder(&mut self, path: &str) -> Result<(), FilesError> {
        self.expect(1, 0)?;
        self.entries += 1;
        self.make_folders(path)
    }

    fn make_folders(&mut self, path: &str) -> Result<(), FilesError> {
        if path.is_empty() || self.folders.contains(path) {
            return Ok(());
        }
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.make_folders(parent)?;
        }
        let full = self.root.join(path);
        fs::create_dir(&full).map_err(|error| self.clash(path, &error))?;
        fs::set_permissions(&full, Permissions::from_mode(0o755)).map_err(|error| machine("making", &full, &error))?;
        self.folders.insert(path.to_owned());
        Ok(())
    }

    fn clash(&self, path: &str, error: &io::Error) -> FilesError {
        match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
                refused(format!("the archive holds \"{path}\" twice"))
            }
            _ => machine("making", &self.root.join(path), error),
        }
    }

    /// A file of exactly `size` bytes.
    pub fn file(&mut self, path: &str, size: u64, content: &mut dyn Read) -> Result<(), FilesError> {
        if path.is_empty() {
            return Err(refused("the archive holds a file without a name"));
        }
        self.expect(1, size)?;
        self.entries += 1;
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.make_folders(parent)?;
        }
        let full = self.root.join(path);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&full)
            .map_err(|error| self.clash(path, &error))?;
        file.set_permissions(Permissions::from_mode(0o644)).map_err(|error| machine("making", &full, &error))?;
        let written = self.copy(path, size, content, &mut file, &full)?;
        if written < size {
            return Err(refused(format!("the archive is cut off inside \"{path}\"")));
        }
        self.files += 1;
        Ok(())
    }

    /// The archive calls this file, which was unpacked, a program.
    pub fn executable(&mut self, path: &str) -> Result<(), FilesError> {
        if !self.caps.programs {
            return Ok(());
        }
        let full = self.root.join(path);
        fs::set_permissions(&full, Permissions::from_mode(0o755)).map_err(|error| machine("making", &full, &error))
    }

    /// Looks at a file of an archive that is kept whole; nothing is written.
    pub fn inside(&mut self, path: &str, content: &mut dyn Read) -> io::Result<()> {
        let mut seen = self.lint.file(path);
        let mut buffer = vec![0; PIECE];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => seen.look(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.lint.seen(path, seen);
        Ok(())
    }

    fn copy(
        &mut self,
        path: &str,
        size: u64,
        content: &mut dyn Read,
        file: &mut File,
        full: &Path,
    ) -> Result<u64, FilesError> {
        let mut seen = self.lint.file(path);
        let mut buffer = vec![0; PIECE];
        let mut written = 0;
        loop {
            let read = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(refused(format!("\"{path}\" in the archive cannot be unpacked: {error}"))),
            };
            written += read as u64;
            // Headers lie: what comes out is what counts.
            if written > size {
                return Err(refused(format!("\"{path}\" in the archive is larger than it says")));
            }
            file.write_all(&buffer[..read]).map_err(|error| machine("writing", full, &error))?;
            seen.look(&buffer[..read]);
        }
        self.bytes += written;
        self.lint.seen(path, seen);
        Ok(written)
    }

    /// A second name of a file that was unpacked: it becomes a file of its own.
    pub fn hard_link(&mut self, path: &str, target: &str) -> Result<(), FilesError> {
        let full = self.root.join(target);
        let is_file = !target.is_empty() && fs::symlink_metadata(&full).is_ok_and(|metadata| metadata.is_file());
        if !is_file {
            return Err(refused(format!(
                "the link \"{path}\" in the archive leads to \"{target}\", which it does not hold"
            )));
        }
        let mut file = File::open(&full).map_err(|error| machine("reading", &full, &error))?;
        let size = file.metadata().map_err(|error| machine("reading", &full, &error))?.len();
        self.file(path, size, &mut file)
    }

    /// A symlink whose target was checked; it is made at the end.
    pub fn link(&mut self, path: &str, target: String) -> Result<(), FilesError> {
        if path.is_empty() {
            return Err(refused("the archive holds a link without a name"));
        }
        self.expect(1, 0)?;
        self.entries += 1;
        self.links.push((path.to_owned(), target));
        Ok(())
    }

    /// Makes the links and says what there is.
    pub fn finish(mut self) -> Result<Unpacked, FilesError> {
        if self.files == 0 {
            return Err(refused("the archive holds no files"));
        }
        let links = std::mem::take(&mut self.links);
        let parents = links.iter().filter_map(|(path, _)| path.rsplit_once('/')).map(|(parent, _)| parent.to_owned());
        for parent in parents.collect::<Vec<_>>() {
            self.make_folders(&parent)?;
        }
        for (path, target) in &links {
            let full: PathBuf = self.root.join(path);
            std::os::unix::fs::symlink(target, &full).map_err(|error| self.clash(path, &error))?;
            self.lint.file(path);
        }
        Ok(Unpacked { files: self.files, bytes: self.bytes, warnings: self.lint.warnings() })
    }
}
