//! What the task of an instance reads and writes beside its own work: the record, the spec, the console's files.
//!
//! All of it blocks and is done on threads that may; errors are logged here, for nobody waits for them.

use super::{CHUNK, LAST_LINES, Owner};
use crate::blocking;
use crate::domain::{self, Refusal};
use crate::host::paths::{Paths, Run};
use crate::host::{console, instance};
use crate::model::id::HostId;
use crate::model::machine::ConsoleCursor;
use crate::model::server::{ActualState, Server};
use crate::model::spec::InstanceSpec;

impl Owner {
    pub(super) async fn spec(&self) -> Result<InstanceSpec, String> {
        let (paths, host) = (self.context.paths.clone(), HostId::of(self.id));
        blocking::run(move || instance::read_spec(&paths, host))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())
    }

    /// A place in the console; its beginning where it cannot be read.
    pub(super) async fn console_at(
        &self,
        look: impl FnOnce(&Paths, Run) -> std::io::Result<ConsoleCursor> + Send + 'static,
    ) -> ConsoleCursor {
        let (paths, run) = (self.context.paths.clone(), self.run());
        match blocking::run(move || look(&paths, run)).await {
            Ok(Ok(cursor)) => cursor,
            Ok(Err(_)) | Err(_) => 0,
        }
    }

    pub(super) async fn last_lines(&self) -> String {
        let (paths, run, began) = (self.context.paths.clone(), self.run(), self.began);
        let read = blocking::run(move || {
            let from = console::tail(&paths, run, LAST_LINES)?.max(began);
            console::read(&paths, run, from, CHUNK)
        })
        .await;
        match read {
            Ok(Ok(chunk)) => String::from_utf8_lossy(&chunk.bytes).replace('\r', "").trim_end().to_owned(),
            Ok(Err(_)) | Err(_) => String::new(),
        }
    }

    pub(super) async fn observe(&mut self, state: ActualState, error: Option<String>) {
        let (domain, id, kept) = (self.context.domain.clone(), self.id, (state, error.clone()));
        let written = blocking::run(move || domain.observe(id, state, error)).await;
        self.unstored = matches!(written, Ok(Err(Refusal::Store(_)))).then_some(kept);
        self.tell(written);
    }

    /// Whether a job is queued or under way that will start or end the game: then this look starts nothing.
    pub(super) async fn job_decides(&self) -> bool {
        let domain = self.context.domain.clone();
        let active = blocking::run(move || domain.active_jobs()).await;
        active.is_ok_and(|active| {
            active.is_ok_and(|jobs| {
                jobs.iter().any(|job| job.server_id == Some(self.id) && job.operation.desired().is_some())
            })
        })
    }

    pub(super) async fn record(&self) -> Option<Server> {
        let (domain, id) = (self.context.domain.clone(), self.id);
        match blocking::run(move || domain.server_record(id)).await {
            Ok(Ok(record)) => record,
            Ok(Err(refusal)) => {
                log::error!("server {}: its record cannot be read: {refusal}", self.id);
                None
            }
            Err(error) => {
                log::error!("server {}: its record cannot be read: {error}", self.id);
                None
            }
        }
    }

    pub(super) fn tell<T>(&self, written: Result<domain::Result<T>, tokio::task::JoinError>) {
        match written {
            Ok(Ok(_)) => {}
            Ok(Err(refusal)) => log::error!("server {}: what was observed cannot be stored: {refusal}", self.id),
            Err(error) => log::error!("server {}: what was observed cannot be stored: {error}", self.id),
        }
    }
}
