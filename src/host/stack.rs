//! Who wins a path: looks for files in layers as overlayfs would lay them over each other, into addons too.
//!
//! Called by supervise, for pages. Nothing is mounted for it. One of the layers is what the game wrote, and the game is not
//! trusted: folders are opened beneath their layer, and links are shown, not followed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, Metadata};
use std::io::{BufReader, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::archive::{names, vpk};
use super::instance::overlay_layer;
use super::paths::Paths;
use crate::model::id::HostId;
use crate::model::layers::{HeldKind, HeldPath, Holder, LayerSearch, StackLayer};
use crate::model::machine::FilesError;
use crate::sys::fs::{open_beneath, open_file_beneath, path_of};

/// Most paths that one search shows.
const PATHS_MAX: usize = 200;
/// Most entries that one search looks at, over all layers: the game's own are some ten thousand.
const ENTRIES_MAX: usize = 500_000;
/// Folders inside each other that are gone into.
const DEPTH_MAX: usize = 40;
/// Most bytes of a text that is compared.
const TEXT_MAX: u64 = 256 * 1024;

/// Files and entries of addons whose path contains `wanted`, in whichever case, with all layers that hold them.
pub fn search(paths: &Paths, stack: &[StackLayer], wanted: &str) -> LayerSearch {
    let roots: Vec<PathBuf> = stack.iter().map(|layer| root(paths, layer)).collect();
    let mut look = Look {
        wanted: wanted.to_lowercase(),
        found: BTreeSet::new(),
        left: ENTRIES_MAX,
        more: false,
        addons: HashMap::new(),
    };
    for (number, root) in roots.iter().enumerate() {
        look.walk(number, root, "", 0);
    }
    let found = std::mem::take(&mut look.found);
    let held =
        |(path, addon): (String, Option<usize>)| HeldPath { holders: look.holders(&roots, &path, addon), path, addon };
    LayerSearch { paths: found.into_iter().map(held).collect(), more: look.more }
}

/// The text that `layer` has under `path`, which may lead into an addon.
pub fn text(paths: &Paths, layer: &StackLayer, path: &str) -> Result<String, FilesError> {
    let path = names::clean(path.as_bytes()).map_err(|_| FilesError::Missing)?;
    let root = root(paths, layer);
    let refused = |why: String| FilesError::Refused(format!("{path} cannot be compared: {why}"));
    let mut bytes = Vec::new();
    if let Ok(file) = open_file_beneath(&root, Path::new(&path)) {
        file.take(TEXT_MAX + 1).read_to_end(&mut bytes).map_err(|error| refused(error.to_string()))?;
    } else {
        let (addon, inner) = split_addon(&path).ok_or(FilesError::Missing)?;
        let file = open_file_beneath(&root, Path::new(addon)).map_err(|_| FilesError::Missing)?;
        let size = file.metadata().map_err(|error| refused(error.to_string()))?.len();
        bytes = vpk::content(BufReader::new(file), size, inner, TEXT_MAX + 1)?.ok_or(FilesError::Missing)?;
    }
    if bytes.len() as u64 > TEXT_MAX {
        return Err(refused(format!("it is larger than {} KiB", TEXT_MAX / 1024)));
    }
    if bytes.contains(&0) {
        return Err(refused("it is no text".into()));
    }
    String::from_utf8(bytes).map_err(|_| refused("it is no text in UTF-8".into()))
}

fn root(paths: &Paths, layer: &StackLayer) -> PathBuf {
    match layer {
        StackLayer::Generated(server) => paths.generated(HostId::of(*server)),
        StackLayer::Written(server) => paths.upper(HostId::of(*server)),
        StackLayer::Overlay(overlay) => {
            let layer = overlay_layer(paths, overlay);
            layer.beneath.map_or(layer.folder.clone(), |root| root.join(layer.folder))
        }
        StackLayer::Game(layer) => paths.layer(*layer),
    }
}

fn is_addon(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ending)| ending.eq_ignore_ascii_case("vpk"))
}

/// The addon that a path leads into, and the rest of the way.
fn split_addon(path: &str) -> Option<(&str, &str)> {
    path.match_indices('/').map(|(at, _)| (&path[..at], &path[at + 1..])).find(|(outer, _)| is_addon(outer))
}

/// Entries of an addon with their bytes.
type Entries = BTreeMap<String, u64>;

/// One search.
struct Look {
    wanted: String,
    found: BTreeSet<(String, Option<usize>)>,
    left: usize,
    more: bool,
    /// What is in the addons that were opened, by layer and path.
    addons: HashMap<(usize, String), Entries>,
}

impl Look {
    fn walk(&mut self, number: usize, root: &Path, folder: &str, depth: usize) {
        if depth > DEPTH_MAX {
            self.more = true;
            return;
        }
        // A layer that is not there yet holds nothing.
        let Ok(handle) = open_beneath(root, Path::new(folder)) else { return };
        let Ok(entries) = fs::read_dir(path_of(&handle)) else { return };
        for entry in entries.flatten() {
            if !self.count(1) {
                return;
            }
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Ok(kind) = entry.file_type() else { continue };
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            if kind.is_dir() {
                self.walk(number, root, &path, depth + 1);
            } else if kind.is_file() || kind.is_symlink() {
                self.note(&path, None);
                if kind.is_file() && is_addon(&name) {
                    let inner: Vec<String> = self.addon(number, root, &path).keys().cloned().collect();
                    for name in inner {
                        self.note(&format!("{path}/{name}"), Some(path.len()));
                    }
                }
            }
        }
    }

    fn count(&mut self, entries: usize) -> bool {
        self.more |= entries > self.left;
        self.left = self.left.saturating_sub(entries);
        self.left > 0
    }

    fn note(&mut self, path: &str, addon: Option<usize>) {
        if !path.to_lowercase().contains(&self.wanted) {
            return;
        }
        self.found.insert((path.to_owned(), addon));
        if self.found.len() > PATHS_MAX {
            self.found.pop_last();
            self.more = true;
        }
    }

    /// Entries of an addon; one that is damaged has none.
    fn addon(&mut self, number: usize, root: &Path, path: &str) -> &Entries {
        let key = (number, path.to_owned());
        if !self.addons.contains_key(&key) {
            let entries: Entries = open_file_beneath(root, Path::new(path))
                .ok()
                .and_then(|file| Some((file.metadata().ok()?.len(), file)))
                .and_then(|(size, file)| vpk::entries(BufReader::new(file), size).ok())
                .map(|entries| entries.into_iter().collect())
                .unwrap_or_default();
            self.count(entries.len());
            self.addons.insert(key.clone(), entries);
        }
        &self.addons[&key]
    }

    fn holders(&mut self, roots: &[PathBuf], path: &str, addon: Option<usize>) -> Vec<Holder> {
        let outer = addon.map_or(path, |end| &path[..end]);
        let mut holders = Vec::new();
        // Whether a layer above says that nothing below it is seen.
        let mut is_hidden = false;
        for (number, root) in roots.iter().enumerate() {
            let here = at(root, outer);
            let (mut kind, mut bytes) = match here.what {
                What::Nothing | What::Other => (None, 0),
                What::File(bytes) => (Some(HeldKind::File), bytes),
                What::Link => (Some(HeldKind::Link), 0),
                What::Removed => (Some(HeldKind::Removed), 0),
            };
            if let Some(end) = addon
                && kind == Some(HeldKind::File)
            {
                let inner = self.addon(number, root, outer).get(&path[end + 1..]).copied();
                kind = inner.map(|_| HeldKind::File);
                bytes = inner.unwrap_or(0);
            }
            if let Some(kind) = kind {
                holders.push(Holder { layer: number, kind, bytes, wins: !is_hidden && kind != HeldKind::Removed });
            }
            is_hidden |= here.hides;
        }
        holders
    }
}

/// What one layer has under a path.
enum What {
    Nothing,
    File(u64),
    Link,
    Removed,
    /// A folder, a pipe: not looked for, but in the way of what lies below.
    Other,
}

/// What one layer has under a path, and whether it hides what lower layers have there.
struct At {
    what: What,
    hides: bool,
}

/// Walks to `path` as overlayfs does: a folder merges with those below unless it is marked opaque, all else hides them.
fn at(root: &Path, path: &str) -> At {
    let mut folder = String::new();
    let mut hides = false;
    let mut names = path.split('/').peekable();
    while let Some(name) = names.next() {
        let is_last = names.peek().is_none();
        let Ok(handle) = open_beneath(root, Path::new(&folder)) else { return At { what: What::Nothing, hides } };
        let place = path_of(&handle).join(name);
        let Ok(facts) = fs::symlink_metadata(&place) else { return At { what: What::Nothing, hides } };
        if is_last {
            return At { what: what(&facts), hides: true };
        }
        if !facts.is_dir() {
            return At { what: What::Nothing, hides: true };
        }
        let mut mark = [0_u8; 1];
        // overlayfs with `userxattr` marks an opaque folder so (the kernel's overlayfs documentation).
        hides |= rustix::fs::getxattr(&place, "user.overlay.opaque", &mut mark).is_ok_and(|_| mark == *b"y");
        if !folder.is_empty() {
            folder.push('/');
        }
        folder.push_str(name);
    }
    At { what: What::Nothing, hides }
}

fn what(facts: &Metadata) -> What {
    let kind = facts.file_type();
    if kind.is_file() {
        What::File(facts.len())
    } else if kind.is_symlink() {
        What::Link
    } else if kind.is_char_device() && facts.rdev() == 0 {
        What::Removed
    } else {
        What::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{LayerId, OverlayId, ServerId};
    use crate::model::spec::SpecOverlay;

    fn write(path: &Path, content: impl AsRef<[u8]>) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn seen(found: &LayerSearch, path: &str) -> Vec<(usize, HeldKind, bool)> {
        let held = found.paths.iter().find(|held| held.path == path).unwrap_or_else(|| panic!("{path}: {found:?}"));
        held.holders.iter().map(|holder| (holder.layer, holder.kind, holder.wins)).collect()
    }

    fn stack() -> Vec<StackLayer> {
        let overlay = |id| StackLayer::Overlay(SpecOverlay { id: OverlayId(id), path: None, revision: Some(1) });
        let server = ServerId(1);
        vec![
            StackLayer::Generated(server),
            StackLayer::Written(server),
            overlay(1),
            overlay(2),
            StackLayer::Game(LayerId(1)),
        ]
    }

    #[test]
    fn the_highest_layer_wins_and_what_hides_a_path_is_seen() {
        let base = tempfile::tempdir().unwrap();
        let paths = Paths::new(base.path(), base.path().join("overlays"));
        let host = HostId::of(ServerId(1));
        let (one, two) = (paths.revision(OverlayId(1), 1), paths.revision(OverlayId(2), 1));
        let game = paths.layer(LayerId(1));
        write(&one.join("cfg/Rates.cfg"), "a\nb\n");
        write(&two.join("cfg/Rates.cfg"), "a\nc\n");
        write(&game.join("cfg/Rates.cfg"), "game");
        // A file where lower layers have a folder hides all of it.
        write(&one.join("maps"), "no folder");
        write(&two.join("maps/rates.bsp"), [0, 1]);
        write(&paths.generated(host).join("cfg/server.cfg"), "generated");
        write(&two.join("cfg/server.cfg"), "overlay");
        fs::create_dir_all(paths.upper(host)).unwrap();
        std::os::unix::fs::symlink("/etc", paths.upper(host).join("rates-out")).unwrap();

        let found = search(&paths, &stack(), "rATES");
        assert!(!found.more);
        let file = HeldKind::File;
        assert_eq!(seen(&found, "cfg/Rates.cfg"), [(2, file, true), (3, file, false), (4, file, false)]);
        assert_eq!(seen(&found, "maps/rates.bsp"), [(3, file, false)], "hidden by a file");
        assert_eq!(seen(&found, "rates-out"), [(1, HeldKind::Link, true)]);
        assert_eq!(found.paths.len(), 3);
        let server = search(&paths, &stack(), "server.cfg");
        assert_eq!(seen(&server, "cfg/server.cfg"), [(0, file, true), (3, file, false)]);

        assert_eq!(text(&paths, &stack()[2], "cfg/Rates.cfg").unwrap(), "a\nb\n");
        assert!(matches!(text(&paths, &stack()[3], "maps/rates.bsp"), Err(FilesError::Refused(_))), "no text");
        for bad in ["rates-out/passwd", "../../etc/passwd", "cfg", "/etc/passwd", "nothing"] {
            assert_eq!(text(&paths, &stack()[1], bad), Err(FilesError::Missing), "{bad}");
        }
    }

    #[test]
    fn entries_of_addons_are_found_and_an_addon_above_hides_the_one_of_the_same_name() {
        let base = tempfile::tempdir().unwrap();
        let paths = Paths::new(base.path(), base.path().join("overlays"));
        let (one, two) = (paths.revision(OverlayId(1), 1), paths.revision(OverlayId(2), 1));
        let pack = |text: &[u8]| vpk::sample(&[("txt", "missions", "rates", text)]);
        write(&one.join("addons/pack.vpk"), pack(b"above\n"));
        write(&two.join("addons/pack.vpk"), pack(b"below\n"));
        write(&one.join("addons/broken.vpk"), "nonsense");
        let found = search(&paths, &stack(), "missions/rates.txt");
        let path = "addons/pack.vpk/missions/rates.txt";
        assert_eq!(seen(&found, path), [(2, HeldKind::File, true), (3, HeldKind::File, false)]);
        assert_eq!(found.paths[0].addon, Some("addons/pack.vpk".len()));
        assert_eq!(text(&paths, &stack()[2], path).unwrap(), "above\n");
        assert_eq!(text(&paths, &stack()[3], path).unwrap(), "below\n");

        write(&one.join("addons/pack.vpk"), vpk::sample(&[("txt", "missions", "other", b"x")]));
        let found = search(&paths, &stack(), "missions/rates.txt");
        assert_eq!(seen(&found, path), [(3, HeldKind::File, false)], "the addon above lacks it, and hides it");
    }
}
