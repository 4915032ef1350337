//! Files of managed overlays that belong to nothing any more: removed unless something has them mounted, or
//! somebody may ask for them again.
//!
//! Called by supervise, which knows what the store and the instances say. Knows neither.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::upload::PREFIX;
use crate::host::paths::Paths;
use crate::model::id::OverlayId;
use crate::sys::fs::remove_tree;

/// What stays although nothing names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// Revisions that something still needs: to be looked at again.
    pub needed: usize,
}

/// Removes the folders of overlays that are not `known` (by their revisions), but for revisions that `stay`.
///
/// `starting`: no upload is under way, so of known overlays too what uploads of an earlier daemon left goes: unfinished
/// ones, and revisions that got their place and were not published.
pub fn collect(
    paths: &Paths,
    known: &BTreeMap<OverlayId, BTreeSet<u64>>,
    stay: &dyn Fn(OverlayId, u64) -> bool,
    starting: bool,
) -> io::Result<Left> {
    let mut left = Left::default();
    for (id, folder) in numbered(&paths.data_dir.join("managed"))? {
        let overlay = OverlayId(id);
        let revisions = known.get(&overlay);
        if revisions.is_some() && !starting {
            continue;
        }
        for path in entries(&folder)? {
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)) {
                remove_tree(&path)?;
            }
        }
        let mut kept = 0;
        for (number, revision) in numbered(&folder)? {
            if revisions.is_some_and(|known| known.contains(&number)) {
                kept += 1;
            } else if stay(overlay, number) {
                kept += 1;
                left.needed += 1;
            } else {
                log::info!("files of overlay {overlay}, revision {number}, belong to nothing any more: they go");
                remove_tree(&revision)?;
            }
        }
        if revisions.is_none() && kept == 0 {
            remove_tree(&folder)?;
        }
    }
    Ok(left)
}

/// Folders whose names are numbers, as we give them.
fn numbered(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let number = |path: PathBuf| {
        let number = path.file_name()?.to_str()?.parse().ok()?;
        path.is_dir().then_some((number, path))
    };
    Ok(entries(folder)?.into_iter().filter_map(number).collect())
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two overlays with two revisions each, an unfinished upload, and a file that is none of ours.
    fn place() -> (tempfile::TempDir, Paths) {
        let base = tempfile::tempdir().unwrap();
        let paths = Paths::new(base.path(), base.path().join("overlays"));
        for overlay in [1, 2] {
            for number in [1, 2] {
                let folder = paths.revision(OverlayId(overlay), number).join("left4dead2");
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join("x"), "x").unwrap();
            }
        }
        fs::create_dir_all(paths.managed(OverlayId(1)).join("upload-1.new/left4dead2")).unwrap();
        fs::write(paths.managed(OverlayId(1)).join("upload-1.part"), "x").unwrap();
        fs::write(base.path().join("managed/note"), "x").unwrap();
        (base, paths)
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            entries(folder).unwrap().iter().map(|path| path.file_name().unwrap().to_string_lossy().into()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_files_of_an_overlay_that_is_gone_go_and_those_of_others_stay() {
        let (base, paths) = place();
        let known = BTreeMap::from([(OverlayId(1), BTreeSet::from([1]))]);
        assert_eq!(collect(&paths, &known, &|_, _| false, false).unwrap(), Left { needed: 0 });
        assert_eq!(names(&base.path().join("managed")), ["1", "note"]);
        assert_eq!(names(&paths.managed(OverlayId(1))), ["1", "2", "upload-1.new", "upload-1.part"], "uploads go on");
    }

    #[test]
    fn what_an_instance_has_mounted_stays_until_it_has_not() {
        let (base, paths) = place();
        let known = BTreeMap::from([(OverlayId(1), BTreeSet::from([1, 2]))]);
        let mounted = BTreeSet::from([(OverlayId(2), 2)]);
        assert_eq!(
            collect(&paths, &known, &|overlay, number| mounted.contains(&(overlay, number)), false).unwrap(),
            Left { needed: 1 }
        );
        assert_eq!(names(&paths.managed(OverlayId(2))), ["2"]);
        assert_eq!(collect(&paths, &known, &|_, _| false, false).unwrap(), Left { needed: 0 });
        assert_eq!(names(&base.path().join("managed")), ["1", "note"]);
    }

    #[test]
    fn what_uploads_left_goes_when_the_daemon_starts() {
        let (_base, paths) = place();
        let known = BTreeMap::from([(OverlayId(1), BTreeSet::from([1])), (OverlayId(2), BTreeSet::from([1, 2]))]);
        collect(&paths, &known, &|_, _| false, true).unwrap();
        assert_eq!(names(&paths.managed(OverlayId(1))), ["1"], "placed and not published, and unfinished");
        assert_eq!(names(&paths.managed(OverlayId(2))), ["1", "2"]);
    }

    #[test]
    fn without_any_upload_there_is_nothing_to_do() {
        let base = tempfile::tempdir().unwrap();
        let paths = Paths::new(base.path(), base.path().join("overlays"));
        assert_eq!(collect(&paths, &BTreeMap::new(), &|_, _| false, true).unwrap(), Left::default());
    }
}
