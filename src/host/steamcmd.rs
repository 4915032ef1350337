//! Which SteamCMD this box has, and which account has logged in with it.
//!
//! Called by the install job, which runs it in a sandbox, and by `left4me install --login`, which runs it on the terminal.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::layers::SteamCmd;
use super::paths::Paths;

/// Debian's, in its package `steamcmd`.
const DEBIAN: &str = "/usr/games/steamcmd";
/// What is run of Valve's archive; its last file to appear, so that where it is all of it is.
pub const SCRIPT: &str = "steamcmd.sh";

/// A SteamCMD that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// Valve's tarball, unpacked in `steam/`.
    Ours(PathBuf),
    /// A program of the box.
    At(PathBuf),
}

impl Program {
    /// The configured one, else Valve's in `steam/`, else Debian's; `None`: there is none yet.
    ///
    /// # Errors
    /// The configured one is not there: a text that says what to do.
    pub fn find(paths: &Paths, configured: Option<&Path>) -> Result<Option<Self>, String> {
        let ours = paths.steam().join(SCRIPT);
        match configured {
            Some(path) if path.is_file() => Ok(Some(Self::At(path.to_owned()))),
            Some(path) => Err(format!(
                "steamcmd is set to {}, and there is no such program: correct it in the configuration, or set it to auto",
                path.display()
            )),
            None if ours.is_file() => Ok(Some(Self::Ours(ours))),
            None if Path::new(DEBIAN).is_file() => Ok(Some(Self::At(DEBIAN.into()))),
            None => Ok(None),
        }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        match self {
            Self::Ours(path) | Self::At(path) => path,
        }
    }

    /// As a launch request names it.
    pub fn launched(&self) -> SteamCmd<'_> {
        match self {
            Self::Ours(_) => SteamCmd::Ours,
            Self::At(path) => SteamCmd::At(path),
        }
    }

    /// Valve's and Debian's are scripts around a 32-bit program; another program tells by its own header (elf(5)).
    pub fn is_32_bit(&self) -> bool {
        let path = match self {
            Self::Ours(_) => return true,
            Self::At(path) => path,
        };
        let mut head = [0; 5];
        let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
        match (read, head) {
            (Ok(()), [0x7f, b'E', b'L', b'F', class]) => class == 1,
            (Ok(()) | Err(_), _) => path == Path::new(DEBIAN),
        }
    }
}

fn account_file(paths: &Paths) -> PathBuf {
    paths.steam().join("account")
}

/// Name of the account that has logged in on this box, if any.
pub fn account(paths: &Paths) -> Option<String> {
    let name = std::fs::read_to_string(account_file(paths)).ok()?;
    Some(name.trim().to_owned()).filter(|name| is_account_name(name))
}

/// Remembers the account that has logged in: its name only. The login itself is SteamCMD's cached token. The file belongs
/// to the owner of the folder, also when root writes it.
pub fn remember_account(paths: &Paths, name: &str) -> std::io::Result<()> {
    let owner = std::fs::metadata(paths.steam())?;
    std::fs::write(account_file(paths), format!("{name}\n"))?;
    std::os::unix::fs::chown(account_file(paths), Some(owner.uid()), Some(owner.gid()))
}

/// Whether Steam may know such an account: nothing that SteamCMD would take for another of its commands.
pub fn is_account_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configured_program_counts_and_a_missing_one_is_named() {
        let base = tempfile::tempdir().unwrap();
        let paths = Paths::new(base.path(), base.path().join("overlays"));
        paths.create().unwrap();
        let missing = base.path().join("nowhere");
        assert!(Program::find(&paths, Some(&missing)).unwrap_err().contains("nowhere"));
        assert!(matches!(Program::find(&paths, None), Ok(None | Some(Program::At(_)))), "Debian's, or none");
        std::fs::write(paths.steam().join(SCRIPT), "#!/bin/sh\n").unwrap();
        let ours = Program::find(&paths, None).unwrap().unwrap();
        assert!(matches!(ours, Program::Ours(_)) && ours.is_32_bit());
        let own = Program::find(&paths, Some(Path::new("/proc/self/exe"))).unwrap().unwrap();
        assert!(!own.is_32_bit(), "this test is a 64-bit program");
    }

    #[test]
    fn an_account_is_remembered_by_its_name_and_nothing_that_is_a_command_is_one() {
        let base = tempfile::tempdir().unwrap();
        let paths = Paths::new(base.path(), base.path().join("overlays"));
        paths.create().unwrap();
        assert_eq!(account(&paths), None);
        remember_account(&paths, "somebody_1").unwrap();
        assert_eq!(account(&paths).as_deref(), Some("somebody_1"));
        for bad in ["", "+quit", "-x", "a b", "a\nb", "é"] {
            assert!(!is_account_name(bad), "{bad}");
        }
    }
}
