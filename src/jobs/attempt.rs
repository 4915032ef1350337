//! `attempt.yaml`: what an install tries, written beside its shim's files before each try, so that a daemon which was
//! started anew goes on where the last one was.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::host::paths::{Paths, Run as HostRun};
use crate::host::shim::client;
use crate::host::steam::Strategy;
use crate::model::id::{JobId, LayerId};
use crate::model::machine::ConsoleCursor;

/// One try of SteamCMD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attempt {
    /// The layer that it writes.
    pub layer: LayerId,
    /// Layers below, newest first.
    pub base: Vec<LayerId>,
    /// What is tried.
    pub strategy: Strategy,
    /// Which pass of it.
    pub pass: usize,
    /// How often this pass was tried, this time included.
    pub tries: u32,
    /// Where its output begins.
    pub from: ConsoleCursor,
}

fn file(paths: &Paths, job: JobId) -> PathBuf {
    paths.run(HostRun::Install(job)).join("attempt.yaml")
}

impl Attempt {
    /// The newest of a job; `None`: it has made none, or what it wrote cannot be read.
    pub fn load(paths: &Paths, job: JobId) -> Option<Self> {
        let text = std::fs::read_to_string(file(paths, job)).ok()?;
        serde_yaml::from_str(&text).ok()
    }

    /// Writes it down, in one step. Errors are texts for people.
    pub fn save(&self, paths: &Paths, job: JobId) -> Result<(), String> {
        let file = file(paths, job);
        let write = || {
            std::fs::create_dir_all(paths.run(HostRun::Install(job)))?;
            let text = serde_yaml::to_string(self).map_err(io::Error::other)?;
            crate::host::instance::write_note(&file, &text)
        };
        write().map_err(|error| format!("{} cannot be written: {error}", file.display()))
    }

    /// Layers that installs under way write or stand on.
    pub fn layers_in_use(paths: &Paths) -> io::Result<Vec<LayerId>> {
        let mut used = Vec::new();
        for run in client::runs(paths)? {
            if let HostRun::Install(job) = run
                && let Some(attempt) = Self::load(paths, job)
            {
                used.push(attempt.layer);
                used.extend(attempt.base);
            }
        }
        Ok(used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_found_again_and_its_layers_count_as_used() {
        let base = tempfile::tempdir().unwrap();
        let paths = Paths::new(base.path(), base.path().join("overlays"));
        paths.create().unwrap();
        let attempt = Attempt {
            layer: LayerId(3),
            base: vec![LayerId(2)],
            strategy: Strategy::FIRST,
            pass: 1,
            tries: 2,
            from: 7,
        };
        assert_eq!(Attempt::load(&paths, JobId(1)), None);
        attempt.save(&paths, JobId(1)).unwrap();
        assert_eq!(Attempt::load(&paths, JobId(1)).as_ref(), Some(&attempt));
        assert_eq!(Attempt::layers_in_use(&paths).unwrap(), [LayerId(3), LayerId(2)]);
    }
}
