//! An upload on its way: the archive as it arrives, the tree that it becomes, its place. Until it is kept, dropping it
//! removes all of it.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use super::{Caps, machine, unpack};
use crate::host::paths::Paths;
use crate::model::id::OverlayId;
use crate::model::machine::{Arriving, FilesError, Unpacked};
use crate::sys::fs::{remove_tree, sync_file_system, sync_folder};

/// How the names of unfinished uploads begin; revisions are numbers.
pub(super) const PREFIX: &str = "upload-";

/// One upload.
pub struct Upload {
    folder: PathBuf,
    archive: PathBuf,
    tree: PathBuf,
    file: Option<File>,
    caps: Caps,
    kept: bool,
}

impl Upload {
    /// Begins one for a managed overlay.
    pub fn begin(paths: &Paths, overlay: OverlayId, caps: Caps) -> Result<Self, FilesError> {
        let folder = paths.managed(overlay);
        fs::create_dir_all(&folder).map_err(|error| machine("making", &folder, &error))?;
        let mut number = 1_u64;
        loop {
            let archive = folder.join(format!("{PREFIX}{number}.part"));
            let tree = folder.join(format!("{PREFIX}{number}.new"));
            match File::create_new(&archive) {
                Ok(file) => return Ok(Self { folder, archive, tree, file: Some(file), caps, kept: false }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(machine("making", &archive, &error)),
            }
            number += 1;
        }
    }
}

impl Arriving for Upload {
    fn write(&mut self, bytes: &[u8]) -> Result<(), FilesError> {
        match &mut self.file {
            Some(file) => file.write_all(bytes).map_err(|error| machine("writing", &self.archive, &error)),
            None => Err(FilesError::Machine("the upload was unpacked already".into())),
        }
    }

    fn unpack(&mut self, name: &str) -> Result<Unpacked, FilesError> {
        self.file = None;
        fs::create_dir(&self.tree).map_err(|error| machine("making", &self.tree, &error))?;
        let unpacked = unpack(&self.archive, name, &self.tree, self.caps)?;
        sync_file_system(&self.tree).map_err(|error| machine("writing", &self.tree, &error))?;
        Ok(unpacked)
    }

    fn place(&mut self, number: u64) -> Result<(), FilesError> {
        let place = self.folder.join(number.to_string());
        fs::rename(&self.tree, &place).map_err(|error| machine("making", &place, &error))?;
        self.tree = place;
        // Until now its name kept others from this one's.
        fs::remove_file(&self.archive).map_err(|error| machine("removing", &self.archive, &error))?;
        sync_folder(&self.folder).map_err(|error| machine("writing", &self.folder, &error))
    }

    fn keep(mut self: Box<Self>) {
        self.kept = true;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let gone = match fs::remove_file(&self.archive) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => remove_tree(&self.tree),
        };
        if let Err(error) = gone {
            log::warn!("an upload in {} could not be removed: {error}", self.folder.display());
        }
    }
}
