//! Every path of `data_dir`, made in one place and from numbers only: no text that a user chose reaches a path.

use std::path::{Path, PathBuf};

use crate::model::id::{HostId, JobId, LayerId, Numbers, OverlayId};

/// Where things lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Everything that is kept. Absolute.
    pub data_dir: PathBuf,
    /// Path overlays lie under it. Absolute.
    pub overlay_root: PathBuf,
}

/// What a shim runs: the game of a server, or an install.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Run {
    /// The game of a server, `runtime/<id>`.
    Server(HostId),
    /// SteamCMD for an install job, `runtime/install-<job>`.
    Install(JobId),
}

impl std::fmt::Display for Run {
    /// Name of the run's folder.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Server(host) => host.fmt(f),
            Self::Install(job) => write!(f, "install-{job}"),
        }
    }
}

impl std::str::FromStr for Run {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("install-") {
            Some(job) => job.parse().map(Self::Install),
            None => text.parse().map(|id| Self::Server(HostId::of(id))),
        }
    }
}

impl Run {
    /// Identifier of its lines in the journal.
    pub fn journal(self) -> String {
        match self {
            Self::Server(host) => host.journal(),
            Self::Install(job) => format!("left4me-install@{job}"),
        }
    }
}

impl Paths {
    /// Paths under `data_dir`, with the overlay root of the configuration.
    pub fn new(data_dir: impl Into<PathBuf>, overlay_root: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), overlay_root: overlay_root.into() }
    }

    /// Folder of all game layers.
    pub fn installation(&self) -> PathBuf {
        self.data_dir.join("installation")
    }

    /// One immutable game layer.
    pub fn layer(&self, layer: LayerId) -> PathBuf {
        self.installation().join(layer.to_string())
    }

    /// A game layer while an install writes it.
    pub fn new_layer(&self, layer: LayerId) -> PathBuf {
        self.installation().join(format!("{layer}.new"))
    }

    /// Overlayfs' own folder of an install, beside the layer it writes.
    pub fn layer_work(&self, layer: LayerId) -> PathBuf {
        self.installation().join(format!("{layer}.work"))
    }

    /// Folder of all revisions of a managed overlay.
    pub fn managed(&self, overlay: OverlayId) -> PathBuf {
        self.data_dir.join("managed").join(overlay.to_string())
    }

    /// One immutable revision of a managed overlay.
    pub fn revision(&self, overlay: OverlayId, number: u64) -> PathBuf {
        self.managed(overlay).join(number.to_string())
    }

    /// Folder of an instance.
    pub fn instance(&self, host: HostId) -> PathBuf {
        self.data_dir.join("instances").join(host.to_string())
    }

    /// What the instance is made of.
    pub fn spec(&self, host: HostId) -> PathBuf {
        self.instance(host).join("spec.yaml")
    }

    /// What the game wrote.
    pub fn upper(&self, host: HostId) -> PathBuf {
        self.instance(host).join("upper")
    }

    /// Overlayfs' own folder.
    pub fn work(&self, host: HostId) -> PathBuf {
        self.instance(host).join("work")
    }

    /// The instance's own layer, made anew by each start.
    pub fn generated(&self, host: HostId) -> PathBuf {
        self.instance(host).join("generated")
    }

    /// Folder of all runs.
    pub fn runtime(&self) -> PathBuf {
        self.data_dir.join("runtime")
    }

    /// Folder of one run.
    pub fn run(&self, run: Run) -> PathBuf {
        self.runtime().join(run.to_string())
    }

    /// Folder of a run's console segments.
    pub fn console(&self, run: Run) -> PathBuf {
        self.run(run).join("console")
    }

    /// SteamCMD and its HOME.
    pub fn steam(&self) -> PathBuf {
        self.data_dir.join("steam")
    }

    /// `steamclient.so` of the SteamCMD that is there, if any: Valve's tarball, or what Debian's `steamcmd` unpacked
    /// into its HOME.
    pub fn steamclient(&self) -> Option<PathBuf> {
        [
            "linux32/steamclient.so",
            ".local/share/Steam/steamcmd/linux32/steamclient.so",
            ".steam/steamcmd/linux32/steamclient.so",
        ]
        .iter()
        .map(|name| self.steam().join(name))
        .find(|path| path.is_file())
    }

    /// The highest numbers that folders carry, whatever the store knows of them. A folder that cannot be read counts for
    /// nothing.
    pub fn highest(&self) -> Numbers {
        let names = |folder: &Path| -> Vec<String> {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
        };
        // `7`, `7.new` and `7.work` are all of layer 7.
        let number = |name: &String| name.split('.').next().and_then(|digits| digits.parse::<u64>().ok());
        let most = |folder: &Path| names(folder).iter().filter_map(number).max().unwrap_or(0);
        let managed = self.data_dir.join("managed");
        let overlays = names(&managed).into_iter().filter_map(|name| name.parse::<OverlayId>().ok());
        let job = |name: &String| name.strip_prefix("install-").and_then(|digits| digits.parse::<u64>().ok());
        Numbers {
            server: most(&self.data_dir.join("instances")).max(most(&self.runtime())),
            overlay: most(&managed),
            revisions: overlays.map(|overlay| (overlay, most(&self.managed(overlay)))).collect(),
            layer: most(&self.installation()),
            job: names(&self.runtime()).iter().filter_map(job).max().unwrap_or(0),
        }
    }

    /// Makes the folders that everything else stands in.
    pub fn create(&self) -> std::io::Result<()> {
        let folders: [&Path; 6] = [
            &self.data_dir,
            &self.installation(),
            &self.data_dir.join("managed"),
            &self.data_dir.join("instances"),
            &self.runtime(),
            &self.steam(),
        ];
        folders.into_iter().chain([self.overlay_root.as_path()]).try_for_each(std::fs::create_dir_all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::ServerId;

    #[test]
    fn the_highest_numbers_of_all_folders_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::new(folder.path(), folder.path().join("overlays"));
        assert_eq!(paths.highest(), Numbers::default());
        paths.create().unwrap();
        for name in
            ["instances/4", "runtime/9", "runtime/install-31", "managed/2/5", "installation/7.new", "installation/x"]
        {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        assert_eq!(
            paths.highest(),
            Numbers { server: 9, overlay: 2, revisions: vec![(OverlayId(2), 5)], layer: 7, job: 31 }
        );
    }

    #[test]
    fn a_run_is_read_back_from_the_name_of_its_folder() {
        for run in [Run::Server(HostId::of(ServerId(42))), Run::Install(JobId(7))] {
            assert_eq!(run.to_string().parse::<Run>().unwrap(), run);
        }
        assert!("..".parse::<Run>().is_err());
        assert!("install-x".parse::<Run>().is_err());
    }
}
