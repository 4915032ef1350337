//! What an instance is found as: by a new daemon, and again after its shim could not be asked.

use tokio::time::Instant;

use super::{LAST_LINES, Owner};
use crate::host::console;
use crate::host::shim::client::{Adoption, adopt};
use crate::model::server::{ActualState, DesiredState};
use crate::query::status;
use crate::supervise::policy::Phase;

impl Owner {
    /// The first look: what does the machine say, and what should be?
    pub(super) async fn find(&mut self) {
        let found = adopt(&self.context.paths, self.run()).await;
        self.blind = found.is_err();
        let Some(record) = self.record().await else { return };
        self.port = record.port;
        let wanted = record.desired_state == DesiredState::Running && record.actual_state != ActualState::Failed;
        match found {
            Ok(Adoption::Running(client)) => {
                log::info!("server {}: its game (pid {}) goes on", self.id, client.pid());
                if let Ok(spec) = self.spec().await {
                    // The port that the game was started with; the record may have another since.
                    self.port = spec.port;
                    self.password = status::password(&spec.config, &spec.arguments);
                }
                self.hold(Some(client));
                self.began = self.console_at(|paths, run| console::tail(paths, run, LAST_LINES)).await;
                if record.actual_state == ActualState::Running {
                    self.phase = Phase::Running;
                    self.look_at = Instant::now();
                } else {
                    self.phase = Phase::Starting { by_job: false };
                    self.scanned = self.console_at(console::begin).await;
                    self.deadline = Some(Instant::now() + self.context.start_timeout);
                    self.observe(ActualState::Starting, None).await;
                    self.read_console().await;
                }
            }
            Ok(Adoption::Exited(status)) if wanted && !status.asked => {
                self.phase = Phase::Running;
                self.ended(&format!("the game ended by itself ({status})"), false).await;
            }
            Ok(Adoption::Exited(_) | Adoption::Gone) if wanted && !self.job_decides().await => {
                match self.spec().await {
                    // The box was started anew, or the shim was killed: the game should run, so it will.
                    Ok(_) => {
                        self.phase = Phase::Waiting;
                        self.wake = Some(Instant::now());
                    }
                    // It never got as far as a first start.
                    Err(error) => self.observe(ActualState::Stopped, Some(error)).await,
                }
            }
            Ok(Adoption::Exited(_) | Adoption::Gone) => {
                if record.actual_state == ActualState::Failed {
                    self.phase = Phase::Failed;
                } else {
                    self.observe(ActualState::Stopped, record.last_error).await;
                }
            }
            Err(error) => {
                log::error!("server {}: its shim cannot be asked: {error}", self.id);
                self.observe(ActualState::Unknown, Some(format!("its shim cannot be asked: {error}"))).await;
            }
        }
    }
}
