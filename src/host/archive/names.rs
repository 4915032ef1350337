//! Names of archive entries: bytes that somebody else chose become a path below one folder, or a refusal.

use super::refused;
use crate::model::machine::FilesError;

/// Most bytes of a path: Linux takes 4,096, the layers and the instance stand before it.
const PATH_MAX: usize = 1024;
/// Most bytes of one name (NAME_MAX).
const NAME_MAX: usize = 255;
/// Most folders inside each other.
const DEPTH_MAX: usize = 32;

/// A path below the tree: no `..`, not absolute, `/` between names, never empty but for the tree itself.
pub fn clean(raw: &[u8]) -> Result<String, FilesError> {
    let shown = || String::from_utf8_lossy(raw).escape_debug().to_string();
    let text = std::str::from_utf8(raw)
        .map_err(|_| refused(format!("the name \"{}\" in the archive is not UTF-8", shown())))?;
    if text.chars().any(char::is_control) {
        return Err(refused(format!("the name \"{}\" in the archive holds control characters", shown())));
    }
    // Old packers of Windows write it; on Linux it would become part of a name.
    let text = text.replace('\\', "/");
    let drive = text.as_bytes().get(1) == Some(&b':') && text.as_bytes()[0].is_ascii_alphabetic();
    if text.starts_with('/') || drive {
        return Err(refused(format!("the archive holds the absolute path \"{}\"", shown())));
    }
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(refused(format!("the archive holds the path \"{}\", which leaves the tree", shown()))),
            part if part.len() > NAME_MAX => {
                return Err(refused(format!("a name in the archive is longer than {NAME_MAX} bytes")));
            }
            part => parts.push(part),
        }
    }
    if parts.len() > DEPTH_MAX {
        return Err(refused(format!("the archive holds folders more than {DEPTH_MAX} deep")));
    }
    let path = parts.join("/");
    if path.len() > PATH_MAX {
        return Err(refused(format!("a path in the archive is longer than {PATH_MAX} bytes")));
    }
    Ok(path)
}

/// The target of a symlink at `path`, which must stay in the tree.
///
/// `..` is taken only at the beginning, where it climbs from the link's own folder: behind a name it could climb from
/// wherever that name, itself a link, leads.
pub fn link_target(path: &str, raw: &[u8]) -> Result<String, FilesError> {
    let leaves = || {
        let shown = String::from_utf8_lossy(raw).escape_debug().to_string();
        refused(format!("the link \"{path}\" in the archive leads to \"{shown}\", out of the tree"))
    };
    let text = std::str::from_utf8(raw).map_err(|_| leaves())?;
    if text.is_empty() || text.len() > PATH_MAX || text.starts_with('/') || text.chars().any(char::is_control) {
        return Err(leaves());
    }
    let mut climbs = 0;
    let mut named = false;
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if named => return Err(leaves()),
            ".." => climbs += 1,
            _ => named = true,
        }
    }
    if climbs > path.matches('/').count() { Err(leaves()) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_lead_out_of_the_tree_are_refused() {
        for bad in ["../x", "a/../../x", "/etc/passwd", "..\\x", "C:\\x", "c:/x", "a/..", "a\nb", "\\\\host\\x"] {
            assert!(clean(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(clean(b"a\xff").is_err());
        assert!(clean("x/".repeat(40).as_bytes()).is_err());
    }

    #[test]
    fn plain_names_are_kept_and_odd_separators_put_right() {
        assert_eq!(clean(b"./left4dead2//cfg\\x.cfg").unwrap(), "left4dead2/cfg/x.cfg");
        assert_eq!(clean("é..cfg".as_bytes()).unwrap(), "é..cfg");
        assert_eq!(clean(b"./").unwrap(), "");
    }

    #[test]
    fn a_link_stays_in_the_tree_or_is_refused() {
        assert_eq!(link_target("a/b/link", b"../../c").unwrap(), "../../c");
        for bad in ["/etc", "../../../c", "x/../../..", "x/..", "", "a\0b"] {
            assert!(link_target("a/b/link", bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_name_is_made_of_its_path_stays_below_the_tree(raw in proptest::collection::vec(
            prop_oneof![Just(b'.'), Just(b'/'), Just(b'\\'), Just(b':'), any::<u8>()], 0..64)) {
            if let Ok(path) = clean(&raw) {
                prop_assert!(!path.starts_with('/'));
                prop_assert!(path.is_empty() || path.split('/').all(|part| !matches!(part, "" | "." | "..")));
            }
        }
    }
}
