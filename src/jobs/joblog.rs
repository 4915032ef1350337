//! A job's log: lines go to a queue at once and to the store in batches, one commit for many lines.
//!
//! A client sees a line only after its commit (the event leaves after it), so a line shown is a line stored. While the
//! store cannot take lines (a full disk) they wait here; a source that prints much waits with them ([`JobLog::backlog`]).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::blocking;
use crate::domain::{Domain, Refusal};
use crate::model::ansi::clean;
use crate::model::id::JobId;
use crate::model::job::{Stream, cut_line};
use crate::model::machine::Progressing;
use crate::model::time::Timestamp;

/// Lines of one commit at most: keeps a transaction short.
const BATCH: usize = 2_000;

/// How long to wait before the store is offered lines again that it could not take.
const AGAIN: Duration = Duration::from_secs(1);

/// A line on its way: when, where from, what.
type Line = (Timestamp, Stream, String);

/// The queue of one job.
pub struct JobLog {
    job: JobId,
    line_max: usize,
    pending: Mutex<Vec<Line>>,
    queued: Notify,
    drained: Notify,
    busy: AtomicBool,
    cancelled: watch::Sender<bool>,
}

impl JobLog {
    /// An empty log of `job`.
    pub fn new(job: JobId, line_max: usize) -> Self {
        Self {
            job,
            line_max,
            pending: Mutex::default(),
            queued: Notify::new(),
            drained: Notify::new(),
            busy: AtomicBool::new(false),
            cancelled: watch::Sender::new(false),
        }
    }

    /// Queues a line of the stream, with its colours and no other escape sequence. Line breaks within `text` make several
    /// lines.
    pub fn line(&self, stream: Stream, text: &str) {
        let at = Timestamp::now();
        let mut pending = self.pending.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for line in text.split('\n') {
            pending.push((at, stream, self.stored(line)));
        }
        drop(pending);
        self.queued.notify_one();
    }

    /// A line as it is stored.
    pub fn stored(&self, line: &str) -> String {
        cut_line(&clean(line.trim_end_matches('\r')), self.line_max)
    }

    /// Writes queued lines until the log is dropped from its runner; spawned beside the job. What the store cannot take
    /// now (a full disk) is kept and offered again: no line is lost, and no number left out.
    pub async fn write(&self, domain: Domain) {
        loop {
            self.queued.notified().await;
            loop {
                let batch = Arc::new(self.take());
                if batch.is_empty() {
                    break;
                }
                self.store(&domain, &batch).await;
            }
            self.busy.store(false, Ordering::Release);
            self.drained.notify_waiters();
        }
    }

    async fn store(&self, domain: &Domain, batch: &Arc<Vec<Line>>) {
        let mut told = false;
        loop {
            let (domain, job, lines) = (domain.clone(), self.job, batch.clone());
            let error = match blocking::run(move || domain.append_lines(job, lines.as_slice())).await {
                Ok(Ok(_)) => return,
                Ok(Err(refusal @ Refusal::Store(_))) => refusal.to_string(),
                // Time does not mend these.
                Ok(Err(refusal)) => return log::error!("job {}: its log cannot be written: {refusal}", self.job),
                Err(error) => return log::error!("job {}: its log cannot be written: {error}", self.job),
            };
            if !told {
                told = true;
                log::error!("job {}: its log cannot be written: {error}; trying again", self.job);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Waits until every line queued so far is stored, for as long as that takes.
    pub async fn flush(&self) {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            // Registered before the check, so that a wake between the two is not lost.
            drained.as_mut().enable();
            let idle = self.pending.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_empty()
                && !self.busy.load(Ordering::Acquire);
            if idle {
                return;
            }
            drained.await;
        }
    }

    /// Lines that wait to be stored: a chatty source pauses when there are many.
    pub fn backlog(&self) -> usize {
        self.pending.lock().unwrap_or_else(std::sync::PoisonError::into_inner).len()
    }

    /// Tells the job to end.
    pub fn cancel(&self) {
        self.cancelled.send_replace(true);
    }

    /// Whether the job was told to end.
    pub fn cancelled_now(&self) -> watch::Ref<'_, bool> {
        self.cancelled.borrow()
    }

    fn take(&self) -> Vec<Line> {
        let mut pending = self.pending.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !pending.is_empty() {
            self.busy.store(true, Ordering::Release);
        }
        let rest = if pending.len() > BATCH { pending.split_off(BATCH) } else { Vec::new() };
        std::mem::replace(&mut pending, rest)
    }
}

impl Progressing for JobLog {
    fn say(&self, text: &str) {
        self.line(Stream::Stdout, text);
    }

    fn complain(&self, text: &str) {
        self.line(Stream::Stderr, text);
    }

    fn job(&self) -> JobId {
        self.job
    }

    fn cancelled(&self) -> watch::Receiver<bool> {
        self.cancelled.subscribe()
    }
}
