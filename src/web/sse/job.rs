//! `GET /jobs/{id}/stream`: a job's log from a sequence number on, then live until the job ends.

use tokio::sync::broadcast::error::RecvError;
use warp::sse::Event;

use super::{Out, Ticket, data, json_event, resume_from};
use crate::model::event::Event as Change;
use crate::model::id::JobId;
use crate::web::error::Answer;
use crate::web::extract::Given;
use crate::web::server::stopped;
use crate::web::{Web, json};
use std::sync::Arc;

/// Lines of one read.
const BATCH: usize = 256;

/// The route.
pub async fn stream(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let id = JobId(id);
    let from = resume_from(&call, "last_seq")?.unwrap_or(0);
    // Listening begins before the first read: whatever is committed in between wakes the task.
    let changes = call.web.domain.hub().listen();
    call.run(move |web, actor| web.domain.job(actor, id)).await?;
    let follow = Follow { web: Arc::clone(&call.web), ticket: Ticket::of(&call), id, last: from, progress: None };
    super::answer(&call, move |out| follow.run(out, changes))
}

struct Follow {
    web: Arc<Web>,
    ticket: Ticket,
    id: JobId,
    last: u64,
    progress: Option<serde_json::Value>,
}

/// Why sending stops.
enum Stop {
    /// The reader left, may not read any more, or has had its replay.
    Closed,
}

impl Follow {
    async fn run(mut self, out: Out, mut changes: tokio::sync::broadcast::Receiver<Change>) {
        let stop = self.web.stop.clone();
        let limit = self.web.domain.rules().log_replay_limit;
        let mut replay = Some(limit);
        loop {
            // The state is read before the lines: when it says "ended", the lines that follow are all there are.
            let id = self.id;
            let Ok(job) = self.ticket.run(&self.web, move |web, actor| web.domain.job(actor, id)).await else { return };
            if self.send_lines(&out, &mut replay).await.is_err() {
                return;
            }
            replay = None;
            let progress = job.progress.as_ref().map(|progress| serde_json::json!(progress));
            if progress.is_some() && progress != self.progress {
                self.progress = progress;
                if let Some(progress) = &self.progress
                    && out.send(json_event("progress", progress)).await.is_err()
                {
                    return;
                }
            }
            if !job.state.is_active() {
                // The reader may have left; nothing follows either way.
                let _ = out.send(json_event("end", &json::job(&job))).await;
                return;
            }
            loop {
                let wake = tokio::select! {
                    change = changes.recv() => match change {
                        Ok(Change::Job(job) | Change::JobLines { job, .. }) if job == self.id => Wake::Read,
                        Ok(change) if self.ticket.is_touched_by(&change) => Wake::Renew,
                        Ok(_) => continue,
                        Err(RecvError::Lagged(_)) => Wake::Renew,
                        Err(RecvError::Closed) => return,
                    },
                    () = tokio::time::sleep_until(self.ticket.due()) => Wake::Renew,
                    () = out.closed() => return,
                    () = stopped(stop.clone()) => return,
                };
                match wake {
                    Wake::Read => break,
                    Wake::Renew if self.ticket.renew(&self.web).await => break,
                    Wake::Renew => return,
                }
            }
        }
    }

    /// Sends every line that is stored after the last. `replay`: how many may be sent before the client must come back.
    async fn send_lines(&mut self, out: &Out, replay: &mut Option<usize>) -> Result<(), Stop> {
        loop {
            let (id, last) = (self.id, self.last);
            let want = replay.map_or(BATCH, |left| left.min(BATCH));
            if want == 0 {
                let rest =
                    self.ticket.run(&self.web, move |web, actor| web.domain.lines_after(actor, id, last, 1)).await;
                if rest.map_err(|_| Stop::Closed)?.is_empty() {
                    return Ok(());
                }
                // The client resumes with its last id; one that left needs no word.
                let _ = out.send(data(Event::default().event("more"), &self.last.to_string())).await;
                return Err(Stop::Closed);
            }
            let lines = self
                .ticket
                .run(&self.web, move |web, actor| web.domain.lines_after(actor, id, last, want))
                .await
                .map_err(|_| Stop::Closed)?;
            if lines.is_empty() {
                return Ok(());
            }
            if let Some(left) = replay {
                *left = left.saturating_sub(lines.len());
            }
            for (seq, line) in lines {
                let event = Event::default().id(seq.to_string()).event(line.stream.word());
                out.send(data(event, &line.text)).await.map_err(|_| Stop::Closed)?;
                self.last = seq;
            }
        }
    }
}

enum Wake {
    Read,
    Renew,
}
