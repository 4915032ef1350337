//! A SteamCMD that plays a transcript of `tests/data/steamcmd`, in the sandbox where the real one would work.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::panel::{Panel, Setup};

/// The script and its transcript, in a folder of their own.
pub struct StandIn {
    folder: tempfile::TempDir,
}

impl StandIn {
    /// One that plays a transcript of `tests/data/steamcmd`.
    pub fn of(name: &str) -> Self {
        let path = data(&format!("{name}.txt"));
        Self::playing(&fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    /// One that plays this transcript.
    pub fn playing(transcript: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("left4me-stand-in-").tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
        let script = folder.path().join("steamcmd");
        fs::copy(data("stand-in"), &script).expect("the script");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("permissions");
        fs::write(folder.path().join("transcript"), transcript).expect("the transcript");
        Self { folder }
    }

    /// The program, for `steamcmd` of the configuration.
    pub fn program(&self) -> PathBuf {
        self.folder.path().join("steamcmd")
    }

    /// A daemon that installs by it.
    pub fn panel(&self) -> Panel {
        self.panel_with(Setup::default())
    }

    /// Likewise, with more configuration.
    pub fn panel_with(&self, mut setup: Setup) -> Panel {
        setup.environment.push(("LEFT4ME_STEAMCMD", self.program().display().to_string()));
        Panel::with(setup)
    }

    /// How often it was run.
    pub fn runs(panel: &Panel) -> usize {
        fs::read_to_string(panel.data("steam/runs")).map_or(0, |text| text.trim().parse().expect("a number"))
    }

    /// Makes the file that the transcript awaits.
    pub fn let_go(panel: &Panel) {
        fs::write(panel.data("steam/go"), "").expect("a file");
    }
}

/// A file of `tests/data/steamcmd`.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/steamcmd").join(name)
}
