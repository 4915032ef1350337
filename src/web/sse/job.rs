//! `GET /jobs/{id}/stream`: a job's log from a sequence number on, then live until the job ends.

use tokio::sync::broadcast::error::RecvError;

use super::{Frame, Gone, Out, Reader, Ticket, resume_from, shown, with_colours};
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
    let colours = with_colours(&call);
    let follow =
        Follow { web: Arc::clone(&call.web), ticket: Ticket::of(&call), id, colours, last: from, progress: None };
    super::answer(&call, move |out| follow.run(out, changes))
}

struct Follow {
    web: Arc<Web>,
    ticket: Ticket,
    id: JobId,
    colours: bool,
    last: u64,
    progress: Option<serde_json::Value>,
}

impl Follow {
    async fn run(mut self, out: Out, mut changes: tokio::sync::broadcast::Receiver<Change>) {
        let stop = self.web.stop.clone();
        let mut out = Reader::new(out, self.web.settings.limits.slow_reader);
        let limit = self.web.domain.rules().log_replay_limit;
        let mut replay = Some(limit);
        loop {
            // The state is read before the lines: when it says "ended", the lines that follow are all there are.
            let id = self.id;
            let Ok(job) = self.ticket.run(&self.web, move |web, actor| web.domain.job(actor, id)).await else { return };
            if self.send_lines(&mut out, &mut replay).await.is_err() {
                return;
            }
            replay = None;
            let progress = json::progress(&job, self.web.domain.hub().pace(id));
            if progress.is_some() && progress != self.progress {
                self.progress = progress;
                if let Some(progress) = &self.progress
                    && out.send(Frame::json("progress", progress), self.last).await.is_err()
                {
                    return;
                }
            }
            if !job.state.is_active() {
                // The reader may have left; nothing follows either way.
                let _ = out.send(Frame::json("end", &json::job(&job)), self.last).await;
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
    async fn send_lines(&mut self, out: &mut Reader, replay: &mut Option<usize>) -> Result<(), Gone> {
        loop {
            let (id, last) = (self.id, self.last);
            let want = replay.map_or(BATCH, |left| left.min(BATCH));
            if want == 0 {
                let rest =
                    self.ticket.run(&self.web, move |web, actor| web.domain.lines_after(actor, id, last, 1)).await;
                if rest.map_err(|_| Gone)?.is_empty() {
                    return Ok(());
                }
                out.come_back(self.last);
                return Err(Gone);
            }
            let lines = self
                .ticket
                .run(&self.web, move |web, actor| web.domain.lines_after(actor, id, last, want))
                .await
                .map_err(|_| Gone)?;
            if lines.is_empty() {
                return Ok(());
            }
            if let Some(left) = replay {
                *left = left.saturating_sub(lines.len());
            }
            let mut frame = Frame::default();
            let count = lines.len();
            for (number, (seq, line)) in lines.into_iter().enumerate() {
                frame.push(line.stream.word(), &shown(&line.text, self.colours), Some(seq));
                if frame.is_full() || number + 1 == count {
                    out.send(frame.take(), self.last).await?;
                    self.last = seq;
                }
            }
        }
    }
}

enum Wake {
    Read,
    Renew,
}
