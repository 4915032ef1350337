//! Builds: published states of the game files. A build is a stack of immutable layers; publishing one, or going back to an
//! earlier one, changes what servers use from their next start on.

use super::audit::note;
use super::{Domain, Refusal, Result, require_admin};
use crate::model::build::Build;
use crate::model::event::Event;
use crate::model::id::{BuildId, JobId, LayerId};
use crate::model::user::Actor;
use crate::store::tables::{ACTIVE_BUILD, ACTIVE_BUILD_KEY, BUILDS};
use crate::store::{Read, Span};

/// A build as pages show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildView {
    /// The build.
    pub build: Build,
    /// Whether servers that start now use it.
    pub active: bool,
}

impl Domain {
    /// The build that servers which start now use; `None` before the first install.
    pub fn active_build(&self) -> Result<Option<Build>> {
        active(&self.read()?)
    }

    /// The number of a new folder `installation/<n>`. None is given out twice.
    pub fn next_layer(&self) -> Result<LayerId> {
        self.write(|tx| Ok(LayerId(tx.next_number("layer")?)))
    }

    /// Publishes the layer that an install job filled, on top of the active build's. `bytes`: how much it holds.
    pub fn publish_build(&self, job: JobId, layer: LayerId, bytes: u64) -> Result<Build> {
        let now = self.now();
        self.write(|tx| {
            let below = active(tx)?.map(|build| build.layers).unwrap_or_default();
            if below.contains(&layer) {
                return Err(Refusal::Conflict(format!("layer {layer} is published already")));
            }
            let id = BuildId(tx.next_number("build")?);
            let layers = std::iter::once(layer).chain(below).collect();
            let label = format!("build {id}");
            let build = Build { id, layers, created_at: now, bytes, label, job_id: Some(job) };
            tx.put(&BUILDS, &id, &build)?;
            tx.put(&ACTIVE_BUILD, &ACTIVE_BUILD_KEY.to_owned(), &id)?;
            tx.note(Event::Job(job));
            note(tx, now, &Actor::system(), "build.publish", &format!("{} by job {job}", build.label))?;
            Ok(build)
        })
    }

    /// All builds, newest first. Admins only.
    pub fn list_builds(&self, actor: &Actor) -> Result<Vec<BuildView>> {
        require_admin(actor)?;
        let read = self.read()?;
        let current = active(&read)?.map(|build| build.id);
        let builds = read.list(&BUILDS, &Span::all().backwards())?;
        Ok(builds.into_iter().map(|(id, build)| BuildView { build, active: Some(id) == current }).collect())
    }

    /// Makes an earlier (or later) build the active one. Admins only.
    pub fn activate_build(&self, actor: &Actor, id: BuildId) -> Result<Build> {
        require_admin(actor)?;
        let now = self.now();
        self.write(|tx| {
            let build = tx.get(&BUILDS, &id)?.ok_or(Refusal::NotFound("build"))?;
            if active(tx)?.is_some_and(|active| active.id == id) {
                return Ok(build);
            }
            tx.put(&ACTIVE_BUILD, &ACTIVE_BUILD_KEY.to_owned(), &id)?;
            note(tx, now, actor, "build.activate", &build.label)?;
            Ok(build)
        })
    }

    /// Replaces the layers of a build by others that hold the same files: after they were compacted.
    pub fn replace_layers(&self, id: BuildId, layers: Vec<LayerId>) -> Result<Build> {
        self.write(|tx| {
            let build = tx.get(&BUILDS, &id)?.ok_or(Refusal::NotFound("build"))?;
            let build = Build { layers, ..build };
            tx.put(&BUILDS, &id, &build)?;
            Ok(build)
        })
    }

    /// Forgets a build that is not the active one; its layers may then be collected. Admins only.
    pub fn forget_build(&self, actor: &Actor, id: BuildId) -> Result<()> {
        require_admin(actor)?;
        let now = self.now();
        self.write(|tx| {
            let build = tx.get(&BUILDS, &id)?.ok_or(Refusal::NotFound("build"))?;
            if active(tx)?.is_some_and(|active| active.id == id) {
                return Err(Refusal::Conflict(format!("{} is the active one: activate another first", build.label)));
            }
            tx.remove(&BUILDS, &id)?;
            note(tx, now, actor, "build.forget", &build.label)
        })
    }
}

/// The active build, as this transaction sees it.
pub(super) fn active(read: &impl Read) -> Result<Option<Build>> {
    match read.get(&ACTIVE_BUILD, &ACTIVE_BUILD_KEY.to_owned())? {
        Some(id) => Ok(read.get(&BUILDS, &id)?),
        None => Ok(None),
    }
}
