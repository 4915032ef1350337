//! The reader of VPK archives: whatever the bytes are, it answers files with paths below one folder, or a refusal.

#![no_main]

use std::io::Cursor;

use left4me::host::archive::vpk_entries;
use left4me::model::machine::FilesError;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match vpk_entries(Cursor::new(bytes), bytes.len() as u64) {
        Ok(entries) => {
            // A directory entry takes 18 bytes besides its name: nothing is made out of nothing.
            assert!(entries.len() * 18 <= bytes.len());
            for (path, _) in entries {
                assert!(!path.is_empty() && !path.starts_with('/'), "{path:?}");
                assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{path:?}");
                assert!(!path.chars().any(char::is_control), "{path:?}");
            }
        }
        Err(FilesError::Refused(reason)) => assert!(!reason.is_empty()),
        Err(other) => panic!("{other}"),
    }
});
