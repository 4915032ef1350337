//! Builds: published states of the game files.

use super::{Domain, Result};
use crate::model::build::Build;
use crate::model::id::{BuildId, JobId, LayerId};
use crate::model::user::Actor;

use super::pending;

/// A build as pages show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildView {
    /// The build.
    pub build: Build,
    /// Whether servers that start now use it.
    pub active: bool,
}

impl Domain {
    /// See the contract.
    pub fn active_build(&self) -> Result<Option<Build>> {
        pending()
    }

    /// See the contract.
    pub fn next_layer(&self) -> Result<LayerId> {
        pending()
    }

    /// See the contract.
    pub fn publish_build(&self, job: JobId, layer: LayerId, bytes: u64) -> Result<Build> {
        let _ = (job, layer, bytes);
        pending()
    }

    /// See the contract.
    pub fn list_builds(&self, actor: &Actor) -> Result<Vec<BuildView>> {
        let _ = (actor,);
        pending()
    }

    /// See the contract.
    pub fn activate_build(&self, actor: &Actor, id: BuildId) -> Result<Build> {
        let _ = (actor, id);
        pending()
    }
}
