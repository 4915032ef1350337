//! What is accepted but will surprise: looked at while files are unpacked, said in words with the revision.

use std::collections::{BTreeMap, HashMap};

/// Top folders that the game reads.
const GAME_FOLDERS: [&str; 8] =
    ["left4dead2", "left4dead2_dlc1", "left4dead2_dlc2", "left4dead2_dlc3", "update", "platform", "hl2", "bin"];
/// Names that one warning lists.
const NAMES_MAX: usize = 8;
/// Bytes of a cfg file that are looked at: the game itself reads no more than 1 MiB.
const CFG_BYTES_MAX: usize = 1 << 20;

/// What was found so far.
#[derive(Default)]
pub struct Lint {
    /// Lower-case path → the path that took it first.
    taken: HashMap<String, String>,
    /// Text of a warning → the paths that it is about.
    found: BTreeMap<&'static str, Vec<String>>,
}

/// What one file's content showed.
#[derive(Default)]
pub struct Seen {
    cfg: Option<Vec<u8>>,
}

impl Seen {
    /// Looks at the next piece.
    pub fn look(&mut self, piece: &[u8]) {
        if let Some(text) = &mut self.cfg {
            let room = CFG_BYTES_MAX - text.len();
            text.extend_from_slice(&piece[..piece.len().min(room)]);
        }
    }
}

fn has_ending(name: &str, ending: &str) -> bool {
    name.len() > ending.len() && name.to_ascii_lowercase().ends_with(ending)
}

impl Lint {
    fn note(&mut self, warning: &'static str, path: String) {
        self.found.entry(warning).or_default().push(path);
    }

    /// A file, before its content.
    pub fn file(&mut self, path: &str) -> Seen {
        let name = path.rsplit('/').next().unwrap_or(path);
        if let Some(first) = self.taken.insert(path.to_lowercase(), path.to_owned()).filter(|first| first != path) {
            self.note(
                "these names differ only in case; the game finds one of them, by chance",
                format!("{first} / {path}"),
            );
        }
        let top = path.split_once('/').map_or("", |(top, _)| top);
        if !GAME_FOLDERS.contains(&top) {
            self.note(
                "these lie outside the game's folders, where the game does not look (left4dead2/ is its own)",
                path.into(),
            );
        }
        if has_ending(name, ".vpk") && name[..name.len() - 4].contains('.') {
            self.note("the game does not recognise addons with several dots in their names", path.into());
        }
        if name.eq_ignore_ascii_case("server.cfg") {
            self.note("the config of the blueprint replaces this file", path.into());
        }
        Seen { cfg: has_ending(name, ".cfg").then(Vec::new) }
    }

    /// The same file, after its content.
    pub fn seen(&mut self, path: &str, seen: Seen) {
        let Some(text) = seen.cfg else { return };
        if !text.is_ascii() {
            self.note("these hold bytes that are not ASCII, which the game may misread", path.into());
        }
        let sets_password = |line: &[u8]| {
            let words = String::from_utf8_lossy(line).to_ascii_lowercase();
            let code = words.split("//").next().unwrap_or_default();
            code.split([';', ' ', '\t', '"']).any(|word| word == "rcon_password")
        };
        if text.split(|byte| *byte == b'\n').any(sets_password) {
            self.note("these set rcon_password, for every server that uses the overlay", path.into());
        }
    }

    /// One text for each kind.
    pub fn warnings(self) -> Vec<String> {
        let one = |(warning, mut paths): (&str, Vec<String>)| {
            let more = paths.len().saturating_sub(NAMES_MAX);
            paths.truncate(NAMES_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{warning}: {}{more}", paths.join(", "))
        };
        self.found.into_iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(files: &[(&str, &str)]) -> Vec<String> {
        let mut lint = Lint::default();
        for (path, content) in files {
            let mut seen = lint.file(path);
            seen.look(content.as_bytes());
            lint.seen(path, seen);
        }
        lint.warnings()
    }

    #[test]
    fn a_well_made_overlay_has_no_warnings() {
        let plain = [
            ("left4dead2/cfg/match.cfg", "sv_cheats 0 // rcon_password is elsewhere\n"),
            ("left4dead2/addons/1234.vpk", "é"),
        ];
        assert_eq!(warnings(&plain), Vec::<String>::new());
    }

    #[test]
    fn each_surprise_is_said_with_its_files() {
        for (files, part) in [
            (&[("left4dead2/Maps/x.bsp", ""), ("left4dead2/maps/x.bsp", "")][..], "differ only in case"),
            (&[("cfg/x.cfg", "")][..], "outside the game's folders"),
            (&[("left4dead2/addons/a.b.vpk", "")][..], "several dots"),
            (&[("left4dead2/cfg/server.cfg", "")][..], "replaces this file"),
            (&[("left4dead2/cfg/x.cfg", "hostname \"é\"")][..], "not ASCII"),
            (&[("left4dead2/cfg/x.cfg", "a 1; rcon_password \"x\"")][..], "set rcon_password"),
        ] {
            let found = warnings(files);
            assert!(
                found.len() == 1 && found[0].contains(part) && found[0].contains(files[0].0),
                "{files:?}: {found:?}"
            );
        }
    }
}
