//! What a game wrote: the entries of its instance's own layer, and what each of them hides.
//!
//! Called by supervise, for pages. The game is not trusted: it may have left links, pipes, folders that nobody may read and
//! any names there, so each folder on the way is opened by itself, and nothing is followed.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::instance::{self, overlay_layer};
use super::paths::Paths;
use crate::model::id::HostId;
use crate::model::machine::{FilesError, WrittenEntry, WrittenFolder, WrittenKind, WrittenOver};
use crate::sys::fs::{open_beneath, open_readable_beneath, path_of};

/// Most entries that one look shows: a game can write any number.
const ENTRIES_MAX: usize = 5_000;

/// A lower layer, and the folder in it that is looked at.
type Lower = (WrittenOver, OwnedFd);

/// The folder `path` of what the game wrote. A server that never ran wrote nothing.
pub fn list(paths: &Paths, host: HostId, path: &str) -> Result<WrittenFolder, FilesError> {
    let upper = paths.upper(host);
    if path.is_empty() && !upper.is_dir() {
        return Ok(WrittenFolder::default());
    }
    // Pages show the text to users: where it lies is the admin's business.
    let wrong = |error: io::Error| {
        log::error!("{} cannot be read: {error}", upper.join(path).display());
        FilesError::Machine(format!("what the game wrote there cannot be read: {}", error.kind()))
    };
    let folder = open_readable_beneath(&upper, Path::new(path)).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => wrong(error),
        _ => FilesError::Missing,
    })?;
    let lowers = lowers(paths, host, path);
    let mut found = WrittenFolder::default();
    for entry in fs::read_dir(path_of(&folder)).map_err(wrong)? {
        if found.entries.len() == ENTRIES_MAX {
            found.is_cut = true;
            break;
        }
        let entry = entry.map_err(wrong)?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // It went while it was looked at: the game may be running.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(wrong(error)),
        };
        let kind = kind(&metadata);
        let hides = |(_, lower): &&Lower| fs::symlink_metadata(path_of(lower).join(entry.file_name())).is_ok();
        found.entries.push(WrittenEntry {
            name: entry.file_name().to_string_lossy().into_owned(),
            kind,
            bytes: if kind == WrittenKind::File { metadata.len() } else { 0 },
            over: if kind == WrittenKind::Folder { None } else { lowers.iter().find(hides).map(|(over, _)| *over) },
        });
    }
    let place = |entry: &WrittenEntry| (entry.kind != WrittenKind::Folder, entry.name.clone());
    found.entries.sort_by_cached_key(place);
    Ok(found)
}

fn kind(metadata: &Metadata) -> WrittenKind {
    let kind = metadata.file_type();
    if kind.is_dir() {
        WrittenKind::Folder
    } else if kind.is_file() {
        WrittenKind::File
    } else if kind.is_symlink() {
        WrittenKind::Link
    } else if kind.is_char_device() && metadata.rdev() == 0 {
        // How overlayfs remembers that a name of a lower layer was removed.
        WrittenKind::Removed
    } else {
        WrittenKind::Other
    }
}

/// The same folder of every lower layer that has it, highest first, as of the last start.
fn lowers(paths: &Paths, host: HostId, path: &str) -> Vec<Lower> {
    let Ok(spec) = instance::read_spec(paths, host) else { return Vec::new() };
    let overlays = spec.overlays.iter().map(|overlay| {
        let layer = overlay_layer(paths, overlay);
        (WrittenOver::Overlay(overlay.id), layer.beneath.map_or(layer.folder.clone(), |root| root.join(layer.folder)))
    });
    let game = spec.game.iter().map(|layer| (WrittenOver::Game, paths.layer(*layer)));
    let open = |(over, root): (WrittenOver, PathBuf)| Some((over, open_beneath(&root, Path::new(path)).ok()?));
    overlays.chain(game).filter_map(open).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{LayerId, OverlayId, ServerId};
    use crate::model::spec::{InstanceSpec, SPEC_VERSION, SpecOverlay};
    use crate::model::time::Timestamp;

    #[test]
    fn each_entry_says_what_it_hides_and_nothing_leads_out() {
        let base = tempfile::tempdir().unwrap();
        let paths = Paths::new(base.path(), base.path().join("overlays"));
        let host = HostId::of(ServerId(1));
        assert_eq!(list(&paths, host, "").unwrap(), WrittenFolder::default(), "it never ran");
        let overlay = SpecOverlay { id: OverlayId(3), path: None, revision: Some(1) };
        let spec = InstanceSpec {
            version: SPEC_VERSION,
            server_id: ServerId(1),
            port: 27015,
            tv_port: None,
            game: vec![LayerId(1)],
            overlays: vec![overlay],
            arguments: vec![],
            config: vec![],
            written_at: Timestamp(0),
        };
        instance::write_spec(&paths, &spec).unwrap();
        let (managed, game) = (paths.revision(OverlayId(3), 1).join("cfg"), paths.layer(LayerId(1)).join("cfg"));
        let own = paths.upper(host).join("cfg");
        for folder in [&managed, &game, &own.join("inner")] {
            fs::create_dir_all(folder).unwrap();
        }
        for file in [
            managed.join("both"),
            game.join("both"),
            game.join("game"),
            own.join("both"),
            own.join("game"),
            own.join("new"),
        ] {
            fs::write(file, "xy").unwrap();
        }
        std::os::unix::fs::symlink("/etc", own.join("out")).unwrap();
        let found = list(&paths, host, "cfg").unwrap().entries;
        let seen: Vec<_> = found.iter().map(|entry| (entry.name.as_str(), entry.kind, entry.over)).collect();
        assert_eq!(
            seen,
            [
                ("inner", WrittenKind::Folder, None),
                ("both", WrittenKind::File, Some(WrittenOver::Overlay(OverlayId(3)))),
                ("game", WrittenKind::File, Some(WrittenOver::Game)),
                ("new", WrittenKind::File, None),
                ("out", WrittenKind::Link, None),
            ]
        );
        assert_eq!(found[1].bytes, 2);
        for bad in ["cfg/out", "..", "../..", "cfg/both", "nothing", "/etc"] {
            assert_eq!(list(&paths, host, bad), Err(FilesError::Missing), "{bad}");
        }
    }

    #[test]
    fn folders_that_nobody_may_read_are_shown_and_what_is_left_out_is_said() {
        use std::os::unix::fs::PermissionsExt;
        let base = tempfile::tempdir().unwrap();
        let paths = Paths::new(base.path(), base.path().join("overlays"));
        let host = HostId::of(ServerId(1));
        let outer = paths.upper(host).join("outer");
        fs::create_dir_all(outer.join("inner")).unwrap();
        for number in 0..=ENTRIES_MAX {
            fs::write(outer.join("inner").join(number.to_string()), "").unwrap();
        }
        for folder in [&outer.join("inner"), &outer, &paths.upper(host)] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o000)).unwrap();
        }
        let found = list(&paths, host, "outer/inner").unwrap();
        assert_eq!((found.entries.len(), found.is_cut), (ENTRIES_MAX, true));
        // Also said by root, who may read everything: the rights are given, not passed over.
        assert_eq!(fs::metadata(&outer).unwrap().permissions().mode() & 0o777, 0o500);
        fs::set_permissions(outer.join("inner"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::remove_file(outer.join("inner").join("7")).unwrap();
        let found = list(&paths, host, "outer/inner").unwrap();
        assert_eq!((found.entries.len(), found.is_cut), (ENTRIES_MAX, false));
    }
}
