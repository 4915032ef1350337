//! Where a path overlay may lie: under the overlay root, or at it, once `..` and symlinks are resolved.
//!
//! Resolves step by step instead of asking for the whole path at once, because a folder that does not exist yet may be
//! named. The check is repeated by descriptor at every mount (host): this one is for the person who fills in the form.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::model::FieldError;

/// Most bytes of a path (PATH_MAX of Linux).
const PATH_MAX: usize = 4096;
/// Most links that are followed in one path, as the kernel does.
const LINKS_MAX: u32 = 40;

/// A folder that was resolved.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    /// Absolute, without `..` and links.
    pub path: PathBuf,
    /// Whether it exists.
    pub exists: bool,
}

/// Resolves `text` (relative to the root when it is not absolute) and refuses what lies elsewhere or cannot be used.
pub(super) fn check(root: &Path, data_dir: &Path, text: &str) -> Result<String, FieldError> {
    let wrong = |message: String| FieldError::new("path", message);
    let text = text.trim();
    if text.is_empty() {
        return Err(wrong("must not be empty".into()));
    }
    if text.len() > PATH_MAX || text.chars().any(char::is_control) {
        return Err(wrong("is too long or contains control characters".into()));
    }
    let root = resolve(root).map_err(|why| wrong(format!("the overlay root {}: {why}", root.display())))?.path;
    let found = resolve(&root.join(text)).map_err(|why| wrong(format!("{text}: {why}")))?;
    if !found.path.starts_with(&root) {
        return Err(wrong(format!(
            "{} lies outside the overlay root {}: move the folder there, or change overlay_root",
            found.path.display(),
            root.display()
        )));
    }
    if found.exists {
        check_folder(&found.path, data_dir).map_err(|why| wrong(format!("{}: {why}", found.path.display())))?;
    }
    found.path.into_os_string().into_string().map_err(|_| wrong("is not UTF-8 after its links were resolved".into()))
}

/// Whether the folder of a path overlay is not there now.
pub(super) fn is_missing(path: &str) -> bool {
    !fs::metadata(path).is_ok_and(|found| found.is_dir())
}

/// What overlayfs needs of a folder, as far as one look can tell.
fn check_folder(path: &Path, data_dir: &Path) -> Result<(), String> {
    let found = fs::metadata(path).map_err(|error| error.to_string())?;
    if !found.is_dir() {
        return Err("is not a folder".into());
    }
    fs::read_dir(path).map_err(|error| format!("cannot be read by the service user ({error}): give it read access"))?;
    if found.ino() > u64::from(u32::MAX) {
        return Err(
            "its inode number is beyond 32 bits, which 32-bit programs cannot read: use another file system".into()
        );
    }
    match fs::metadata(data_dir) {
        Ok(data) if data.dev() != found.dev() => {
            Err(format!("lies on another file system than {}: copy it there", data_dir.display()))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Resolves `..` and links of an absolute path, of which any tail may not exist.
pub(super) fn resolve(path: &Path) -> Result<Resolved, String> {
    let mut links = 0;
    resolve_from(PathBuf::from("/"), path, &mut links)
}

fn resolve_from(base: PathBuf, path: &Path, links: &mut u32) -> Result<Resolved, String> {
    let mut at = Resolved { path: base, exists: true };
    for component in path.components() {
        match component {
            Component::Prefix(_) | Component::CurDir => {}
            Component::RootDir => at = Resolved { path: PathBuf::from("/"), exists: true },
            // `at.path` holds no links, so its parent by name is its parent in fact.
            Component::ParentDir => {
                at.path.pop();
                at.exists = fs::symlink_metadata(&at.path).is_ok();
            }
            Component::Normal(name) => {
                let next = at.path.join(name);
                match fs::symlink_metadata(&next) {
                    Ok(found) if found.is_symlink() => {
                        *links += 1;
                        if *links > LINKS_MAX {
                            return Err("goes through too many links".into());
                        }
                        let target = fs::read_link(&next).map_err(|error| error.to_string())?;
                        at = resolve_from(at.path, &target, links)?;
                    }
                    Ok(_) => at = Resolved { path: next, exists: true },
                    Err(error) if error.kind() == ErrorKind::NotFound => at = Resolved { path: next, exists: false },
                    Err(error) if error.kind() == ErrorKind::NotADirectory => {
                        return Err(format!("{} is not a folder", at.path.display()));
                    }
                    Err(error) => return Err(format!("{}: {error}", next.display())),
                }
            }
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::symlink;

    struct Tree {
        folder: tempfile::TempDir,
    }

    impl Tree {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir_all(folder.path().join("root/maps")).unwrap();
            fs::create_dir_all(folder.path().join("root-not")).unwrap();
            fs::create_dir_all(folder.path().join("elsewhere")).unwrap();
            fs::write(folder.path().join("root/file"), "x").unwrap();
            symlink(folder.path().join("elsewhere"), folder.path().join("root/out")).unwrap();
            symlink("maps", folder.path().join("root/in")).unwrap();
            symlink("loop", folder.path().join("root/loop")).unwrap();
            symlink("../elsewhere/later", folder.path().join("root/dangling")).unwrap();
            Self { folder }
        }

        fn root(&self) -> PathBuf {
            fs::canonicalize(self.folder.path()).unwrap().join("root")
        }

        fn check(&self, text: &str) -> Result<String, String> {
            check(&self.root(), self.folder.path(), text).map_err(|error| error.message)
        }
    }

    #[test]
    fn the_root_itself_and_what_lies_under_it_are_taken_resolved() {
        let tree = Tree::new();
        let root = tree.root().display().to_string();
        assert_eq!(tree.check(&root), Ok(root.clone()));
        assert_eq!(tree.check("maps/../maps/."), Ok(format!("{root}/maps")));
        assert_eq!(tree.check("in"), Ok(format!("{root}/maps")));
        assert_eq!(tree.check(&format!("{root}/not/there/yet")), Ok(format!("{root}/not/there/yet")));
        assert_eq!(tree.check("not/there/../yet"), Ok(format!("{root}/not/yet")));
    }

    #[test]
    fn whatever_leads_out_of_the_root_is_refused() {
        let tree = Tree::new();
        for bad in ["..", "/etc", "out", "out/later", "dangling", "maps/../../elsewhere", "../root-not", "none/../../x"]
        {
            assert!(tree.check(bad).unwrap_err().contains("outside the overlay root"), "{bad}");
        }
    }

    #[test]
    fn files_loops_and_nonsense_are_refused_with_the_reason() {
        let tree = Tree::new();
        assert!(tree.check("file").unwrap_err().contains("not a folder"));
        assert!(tree.check("file/under").unwrap_err().contains("not a folder"));
        assert!(tree.check("loop").unwrap_err().contains("too many links"));
        assert!(tree.check("  ").unwrap_err().contains("empty"));
        assert!(tree.check("a\0b").is_err());
    }

    proptest! {
        #[test]
        fn no_text_gets_out_of_the_root(parts in proptest::collection::vec("(\\.\\.|\\.|maps|in|out|dangling|file|x|/)", 0..8)) {
            let tree = Tree::new();
            if let Ok(path) = tree.check(&parts.join("/")) {
                prop_assert!(Path::new(&path).starts_with(tree.root()), "{path}");
            }
        }
    }
}
