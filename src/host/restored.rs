//! The mark that a store was put back from a backup: for a day nothing is removed that the store does not know.
//!
//! The store that was replaced is kept and may be put back in its turn; the layers and revisions that only it knows must
//! be there then. Written by the command line, read by whoever collects.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::paths::Paths;
use crate::sys::fs::write_atomically;

/// How long what the store does not know stays.
pub const REST: Duration = Duration::from_hours(24);

fn mark(data_dir: &Path) -> PathBuf {
    data_dir.join("left4me.redb.restored")
}

/// Notes that a store is put in place now.
pub fn note(data_dir: &Path) -> io::Result<()> {
    let text = b"A backup was restored: for a day after this file was written, left4me removes no game layers and no\n\
        revisions of overlays that the store does not know. Remove the file to have them removed.\n";
    write_atomically(&mark(data_dir), text)
}

/// Whether a restore is less than a day ago. A mark that is older goes. Blocks on files.
pub fn is_recent(paths: &Paths) -> bool {
    let mark = mark(&paths.data_dir);
    let Ok(written) = std::fs::metadata(&mark).and_then(|metadata| metadata.modified()) else { return false };
    // A clock that was set back is no reason to keep things for ever.
    let distance = SystemTime::now().duration_since(written).unwrap_or_else(|ahead| ahead.duration());
    if distance < REST {
        return true;
    }
    if let Err(error) = std::fs::remove_file(&mark) {
        log::warn!("{} cannot be removed: {error}", mark.display());
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_counts_for_a_day() {
        let base = tempfile::tempdir().unwrap();
        let paths = Paths::new(base.path(), base.path().join("overlays"));
        assert!(!is_recent(&paths));
        note(base.path()).unwrap();
        assert!(is_recent(&paths));
        let age = |age: Duration| {
            let file = std::fs::File::options().write(true).open(mark(base.path())).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        age(Duration::from_hours(23));
        assert!(is_recent(&paths));
        age(REST);
        assert!(!is_recent(&paths));
        assert!(!mark(base.path()).exists());
    }
}
