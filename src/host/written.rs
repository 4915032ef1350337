//! What a game wrote: the entries of its instance's own layer, and what each of them hides.
//!
//! Called by supervise, for pages. The game is not trusted: it may have left links, pipes and any names there, so folders
//! are opened beneath the layer and nothing is followed out of it.

use std::fs::{self, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::instance::{self, overlay_layer};
use super::paths::Paths;
use crate::model::id::HostId;
use crate::model::machine::{FilesError, WrittenEntry, WrittenKind, WrittenOver};
use crate::sys::fs::{open_beneath, path_of};

/// Most entries that one look shows: a game can write any number.
const ENTRIES_MAX: usize = 5_000;

/// A lower layer, and the folder in it that is looked at.
type Lower = (WrittenOver, OwnedFd);

/// Entries of the folder `path` of what the game wrote: folders first, then by name. A server that never ran wrote
/// nothing.
pub fn list(paths: &Paths, host: HostId, path: &str) -> Result<Vec<WrittenEntry>, FilesError> {
    let upper = paths.upper(host);
    if path.is_empty() && !upper.is_dir() {
        return Ok(Vec::new());
    }
    let folder = open_beneath(&upper, Path::new(path)).map_err(|_| FilesError::Missing)?;
    let lowers = lowers(paths, host, path);
    let wrong =
        |error: io::Error| FilesError::Machine(format!("reading {} failed: {error}", upper.join(path).display()));
    let mut found = Vec::new();
    for entry in fs::read_dir(path_of(&folder)).map_err(wrong)?.take(ENTRIES_MAX) {
        let entry = entry.map_err(wrong)?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // It went while it was looked at: the game may be running.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(wrong(error)),
        };
        let kind = kind(&metadata);
        let hides = |(_, lower): &&Lower| fs::symlink_metadata(path_of(lower).join(entry.file_name())).is_ok();
        found.push(WrittenEntry {
            name: entry.file_name().to_string_lossy().into_owned(),
            kind,
            bytes: if kind == WrittenKind::File { metadata.len() } else { 0 },
            over: if kind == WrittenKind::Folder { None } else { lowers.iter().find(hides).map(|(over, _)| *over) },
        });
    }
    found.sort_by(|a, b| (a.kind != WrittenKind::Folder, &a.name).cmp(&(b.kind != WrittenKind::Folder, &b.name)));
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
        assert_eq!(list(&paths, host, "").unwrap(), vec![], "it never ran");
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
        let found = list(&paths, host, "cfg").unwrap();
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
}
