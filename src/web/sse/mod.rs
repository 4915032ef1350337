//! Streams of server-sent events: job logs, consoles, and the states that pages show.
//!
//! Each stream is a task that reads and a channel that the connection empties: a slow reader holds up its own task and
//! nothing else. Hub and console only wake the task; what it sends it has read. A task ends with its connection, with
//! its session or token, and with the daemon.

pub mod console;
pub mod events;
pub mod frame;
pub mod job;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use warp::http::HeaderValue;
use warp::reply::Reply;

use super::Web;
use super::error::{Answer, Fault};
use super::extract::{Call, Who, actor_of};
use super::places::{Place, Places};
use super::server::Limits;
use crate::domain::Refusal;
use crate::model::ansi;
use crate::model::event::Event as Change;
use crate::model::id::UserId;
use crate::model::network::subscriber;
use crate::model::user::Actor;
pub use frame::{Frame, Out};

/// Frames that may wait for a slow reader.
const WAITING: usize = 4;
/// How often a stream looks whether its session has expired; a revoked one ends at once.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// Whether the reader asked for the lines with their colours: our own pages do.
pub fn with_colours(call: &Call) -> bool {
    call.query.typed("colours") == Some("1")
}

/// A line as this reader gets it: text alone, or with sequences that set one of sixteen colours or bold, and no others.
pub fn shown(line: &str, colours: bool) -> Cow<'_, str> {
    if colours { ansi::clean(line) } else { ansi::plain(line) }
}

/// A reader that is waited for, but not for ever: one that is too slow is told to come back, and its task ends.
pub struct Reader {
    out: Out,
    /// Room for the last word to a reader that takes nothing any more.
    last: Option<frame::Room>,
    patience: Duration,
}

/// The reader left, or was told to come back.
#[derive(Debug)]
pub struct Gone;

impl Reader {
    /// Of a stream that was just opened.
    pub fn new(out: Out, patience: Duration) -> Self {
        Self { last: out.reserve(), out, patience }
    }

    /// Sends events; `resume`: the id from which a reader that is too slow goes on.
    pub async fn send(&mut self, frame: Frame, resume: u64) -> Result<(), Gone> {
        if self.out.send_within(frame, self.patience).await? {
            return Ok(());
        }
        self.come_back(resume);
        Err(Gone)
    }

    /// Tells the reader to open the stream anew, behind this id.
    pub fn come_back(&mut self, resume: u64) {
        if let Some(room) = self.last.take() {
            room.send(Frame::event("more", &resume.to_string()));
        }
    }

    /// The reader has left.
    pub async fn closed(&self) {
        self.out.closed().await;
    }
}

/// Seconds after which somebody who has too many streams may look again.
const RETRY_AFTER: u64 = 10;

/// Places for streams: each holds a connection, so nobody may take them all.
pub struct Streams {
    of_user: Arc<Places<UserId>>,
    of_address: Arc<Places<IpAddr>>,
}

/// The places of one stream.
pub(in crate::web) type Held = (Option<Place<UserId>>, Option<Place<IpAddr>>);

impl Streams {
    /// As many as the limits say.
    pub fn new(limits: &Limits) -> Self {
        Self { of_user: Places::new(limits.streams_per_user), of_address: Places::new(limits.streams_per_address) }
    }

    /// A place among those of the user, and one among those of the client's address. The box itself needs none.
    pub(in crate::web) fn take(&self, call: &Call) -> Result<Held, Fault> {
        let full = |most: usize, whose: &str| {
            Fault::too_many(format!("{most} streams of {whose} are open, the most allowed: close a page"), RETRY_AFTER)
        };
        let of_user = match &call.who {
            Some(Who::Session { user, .. } | Who::Token { user, .. }) => {
                Some(self.of_user.take(user.id).ok_or_else(|| full(self.of_user.most(), "yours"))?)
            }
            Some(Who::System) | None => None,
        };
        let of_address = match call.address.parse::<IpAddr>() {
            Ok(address) => Some(
                self.of_address
                    .take(subscriber(address))
                    .ok_or_else(|| full(self.of_address.most(), "your address"))?,
            ),
            Err(_) => None,
        };
        Ok((of_user, of_address))
    }
}

/// Starts the task and answers with its stream.
pub fn answer<F>(call: &Call, task: impl FnOnce(Out) -> F) -> Answer
where
    F: Future<Output = ()> + Send + 'static,
{
    let places = call.web.streams.take(call)?;
    let (out, frames) = Out::new(WAITING);
    let open = call.web.metrics.stream();
    let task = task(out);
    tokio::spawn(async move {
        task.await;
        drop((open, places));
    });
    let mut response = warp::reply::stream(frames).into_response();
    response.headers_mut().insert("content-type", HeaderValue::from_static("text/event-stream"));
    // nginx would gather the events into blocks.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response.headers_mut().insert("cache-control", HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Where the client left off: `Last-Event-ID` of a browser that reconnects wins over the query.
pub fn resume_from(call: &Call, name: &'static str) -> Result<Option<u64>, Fault> {
    if let Some(header) = call.headers.get("last-event-id") {
        // A header that is no number was not made by us: the query decides.
        if let Some(number) = header.to_str().ok().and_then(|text| text.trim().parse().ok()) {
            return Ok(Some(number));
        }
    }
    Ok(call.query.number(name)?)
}

/// The right to listen, looked up again while the stream is open.
pub struct Ticket {
    who: Option<Who>,
    address: String,
    checked: tokio::time::Instant,
}

impl Ticket {
    /// Of the request that opened the stream.
    pub fn of(call: &Call) -> Self {
        Self { who: call.who.clone(), address: call.address.clone(), checked: tokio::time::Instant::now() }
    }

    /// Who listens.
    pub fn actor(&self) -> Actor {
        actor_of(self.who.as_ref(), &self.address)
    }

    /// Whether `change` may have ended it.
    pub fn is_touched_by(&self, change: &Change) -> bool {
        match change {
            Change::SessionsEnded(user) => match &self.who {
                Some(Who::Session { user: own, .. } | Who::Token { user: own, .. }) => own.id == *user,
                Some(Who::System) | None => false,
            },
            Change::TokenRevoked(_) => matches!(self.who, Some(Who::Token { .. })),
            Change::Server(_)
            | Change::Job(_)
            | Change::JobLines { .. }
            | Change::JobQueued(_)
            | Change::JobCancel(_)
            | Change::OverlayGone(_)
            | Change::Ports
            | Change::Desired(_) => false,
        }
    }

    /// When it is looked up again although nothing happened.
    pub fn due(&self) -> tokio::time::Instant {
        self.checked + LOOK_AGAIN
    }

    /// Looks it up. `false`: the stream ends.
    pub async fn renew(&mut self, web: &Arc<Web>) -> bool {
        self.checked = tokio::time::Instant::now();
        let fresh = match self.who.clone() {
            None => return false,
            Some(Who::System) => return true,
            Some(Who::Session { token, csrf, .. }) => {
                let found = {
                    let token = token.clone();
                    web.run(move |web| web.domain.session(&token)).await
                };
                found.ok().flatten().map(|(user, _)| Who::Session { user, token, csrf })
            }
            Some(Who::Token { bearer, .. }) => {
                let found = {
                    let bearer = bearer.clone();
                    web.run(move |web| web.domain.authenticate(&bearer)).await
                };
                found.ok().flatten().map(|(user, token)| Who::Token { user, token, bearer })
            }
        };
        self.who = fresh;
        self.who.is_some()
    }

    /// Runs a blocking read as the one who listens.
    pub async fn run<T: Send + 'static>(
        &self,
        web: &Arc<Web>,
        work: impl FnOnce(&Web, &Actor) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Fault> {
        let actor = self.actor();
        web.run(move |web| work(web, &actor)).await
    }
}
