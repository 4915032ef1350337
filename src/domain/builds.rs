//! Builds: published states of the game files. A build is a stack of immutable layers; publishing one, or going back to an
//! earlier one, changes what servers use from their next start on.

use std::collections::BTreeSet;

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

    /// Publishes the layer that an install job filled, on top of the layers `base` over which it filled it, whatever
    /// build is active by now. `bytes`: how much it holds. A job publishes once: asked again, after a crash, it gets the
    /// build that it has made.
    pub fn publish_build(&self, job: JobId, layer: LayerId, base: &[LayerId], bytes: u64) -> Result<Build> {
        let now = self.now();
        self.write(|tx| {
            if let Some(build) = of_job(tx, job)? {
                return Ok(build);
            }
            if base.contains(&layer) {
                return Err(Refusal::Conflict(format!("layer {layer} is published already")));
            }
            let id = BuildId(tx.next_number("build")?);
            let layers = std::iter::once(layer).chain(base.iter().copied()).collect();
            let label = format!("build {id}");
            let build = Build { id, layers, created_at: now, bytes, label, job_id: Some(job) };
            tx.put(&BUILDS, &id, &build)?;
            tx.put(&ACTIVE_BUILD, &ACTIVE_BUILD_KEY.to_owned(), &id)?;
            tx.note(Event::Job(job));
            note(tx, now, &Actor::system(), "build.publish", &format!("{} by job {job}", build.label))?;
            Ok(build)
        })
    }

    /// The build that an install job has published, if it has.
    pub fn build_of_job(&self, job: JobId) -> Result<Option<Build>> {
        of_job(&self.read()?, job)
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

    /// Replaces the layers of a build, which are `from`, by others that hold the same files: after they were compacted.
    /// Says whether it did: the build may be gone by now.
    pub fn replace_layers(&self, id: BuildId, from: &[LayerId], to: Vec<LayerId>) -> Result<bool> {
        self.write(|tx| match tx.get(&BUILDS, &id)? {
            Some(build) if build.layers == from => {
                tx.put(&BUILDS, &id, &Build { layers: to, ..build })?;
                Ok(true)
            }
            Some(_) | None => Ok(false),
        })
    }

    /// Forgets all builds but the active one and the `keep` newest, and answers with the layers that are left in use.
    pub fn retire_builds(&self, keep: usize) -> Result<BTreeSet<LayerId>> {
        let now = self.now();
        self.write(|tx| {
            let current = active(tx)?.map(|build| build.id);
            let builds = tx.list(&BUILDS, &Span::all().backwards())?;
            let mut used = BTreeSet::new();
            for (place, (id, build)) in builds.into_iter().enumerate() {
                if place < keep || Some(id) == current {
                    used.extend(build.layers);
                } else {
                    tx.remove(&BUILDS, &id)?;
                    note(tx, now, &Actor::system(), "build.retire", &build.label)?;
                }
            }
            Ok(used)
        })
    }
}

fn of_job(read: &impl Read, job: JobId) -> Result<Option<Build>> {
    let builds = read.list(&BUILDS, &Span::all().backwards())?;
    Ok(builds.into_iter().map(|(_, build)| build).find(|build| build.job_id == Some(job)))
}

/// The active build, as this transaction sees it.
pub(super) fn active(read: &impl Read) -> Result<Option<Build>> {
    match read.get(&ACTIVE_BUILD, &ACTIVE_BUILD_KEY.to_owned())? {
        Some(id) => Ok(read.get(&BUILDS, &id)?),
        None => Ok(None),
    }
}
