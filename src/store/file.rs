//! Making and opening the store's file.
//!
//! A new store is made complete under a temporary name and then linked to its own: a crash leaves either a whole store or
//! none (redb files that were cut during their creation cannot be opened). The file is readable by its owner only.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{Builder, Database};

use super::error::StoreError;
use super::migrations::{MIGRATIONS, migrate};

/// redb's own cache. Its default of 1 GiB is more than the daemon's whole goal; the page cache of the system does the rest.
const CACHE_BYTES: usize = 8 << 20;

/// Opens the store, making it when there is none, and brings it to the newest form.
pub(super) fn open(path: &Path) -> Result<Database, StoreError> {
    if !path
        .try_exists()
        .map_err(|error| StoreError::io(format!("{} could not be looked at", path.display()), &error))?
    {
        create(path)?;
    }
    let db = open_existing(path)?;
    migrate(&db, path, MIGRATIONS)?;
    remove_leftovers(path);
    Ok(db)
}

/// Opens a store that exists, without touching its form.
pub(super) fn open_existing(path: &Path) -> Result<Database, StoreError> {
    // A damaged file can break an assertion inside redb; that must not take the daemon down without a word.
    match catch_unwind(AssertUnwindSafe(|| builder().open(path))) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(error)) => Err(StoreError::open(path, error)),
        Err(_) => Err(StoreError::Damaged {
            place: path.display().to_string(),
            why: "redb could not make sense of it".into(),
        }),
    }
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Makes an empty database file that only its owner may read.
pub(super) fn create_new(path: &Path) -> Result<Database, StoreError> {
    let failed = |error: std::io::Error| StoreError::io(format!("could not create {}", path.display()), &error);
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    builder().create_file(file).map_err(|error| StoreError::open(path, error))
}

/// Gives a finished file its name, unless that name exists. Durable when it returns.
pub(super) fn put_in_place(temporary: &Path, path: &Path) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| StoreError::io(format!("could not create {}", path.display()), &error);
    File::open(temporary).and_then(|file| file.sync_all()).map_err(failed)?;
    // A link, not a rename: it refuses a name that somebody else took meanwhile.
    let linked = fs::hard_link(temporary, path);
    let _ = fs::remove_file(temporary);
    linked.map_err(failed)?;
    File::open(folder(path)).and_then(|folder| folder.sync_all()).map_err(failed)
}

fn create(path: &Path) -> Result<(), StoreError> {
    let temporary = temporary_name(path, std::process::id());
    let _ = fs::remove_file(&temporary);
    let made = create_new(&temporary).and_then(|db| migrate(&db, path, MIGRATIONS));
    if let Err(error) = made {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    belong_to_folder_owner(&temporary)?;
    match put_in_place(&temporary, path) {
        // Another process made it in the same moment: theirs is as good.
        Err(_) if path.exists() => Ok(()),
        result => result,
    }
}

/// `--reset-admin` runs as root: a store that it makes must belong to the service user, as the data folder does.
fn belong_to_folder_owner(file: &Path) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| StoreError::io(format!("could not give away {}", file.display()), &error);
    let folder = fs::metadata(folder(file)).map_err(failed)?;
    let own = fs::metadata(file).map_err(failed)?;
    if (own.uid(), own.gid()) == (folder.uid(), folder.gid()) || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    std::os::unix::fs::chown(file, Some(folder.uid()), Some(folder.gid())).map_err(failed)
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

/// Where a file is made before it gets its name.
pub(super) fn temporary_name(path: &Path, process: u32) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new.{process}"));
    path.with_file_name(name)
}

/// Half-made stores of processes that died while they made one. We hold the real one: nobody needs them.
fn remove_leftovers(path: &Path) {
    let mut prefix = path.file_name().unwrap_or_default().to_owned();
    prefix.push(".new.");
    let Ok(entries) = fs::read_dir(folder(path)) else { return };
    for entry in entries.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
            match fs::remove_file(entry.path()) {
                Ok(()) => log::info!("removed {}, left by a start that was cut short", entry.path().display()),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => log::warn!("could not remove {}: {error}", entry.path().display()),
            }
        }
    }
}
