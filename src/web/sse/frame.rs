//! Server-sent events as they go over the wire (WHATWG HTML §9.2.6), many in one buffer: a console prints more lines in a
//! second than there is time for an allocation and a message for each. Called by the streams beside it.

use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep};

use super::Gone;

/// A line of comment after this much silence, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Bytes from which on a frame is sent rather than filled on: a slow reader makes the daemon hold a few of them.
const FULL: usize = 16 << 10;

/// Events, one behind the other.
#[derive(Debug, Default)]
pub struct Frame(String);

impl Frame {
    /// A comment alone: readers pass over it.
    pub fn comment(text: &str) -> Self {
        Self(format!(":{text}\n\n"))
    }

    /// One event with a name.
    pub fn event(name: &str, data: &str) -> Self {
        let mut frame = Self::default();
        frame.push(name, data, None);
        frame
    }

    /// A named event with JSON.
    pub fn json(name: &str, value: &serde_json::Value) -> Self {
        Self::event(name, &value.to_string())
    }

    /// One more event; a plain message has no name. The data stay on their line, for SSE ends it at CR and at LF. The space
    /// in front is the one that readers take away, so that a line's own first space stays.
    pub fn push(&mut self, name: &str, data: &str, id: Option<u64>) {
        let out = &mut self.0;
        if !name.is_empty() {
            out.extend(["event:", name, "\n"]);
        }
        out.push_str("data: ");
        if data.contains(['\r', '\n', '\0']) {
            out.extend(data.chars().map(|c| if matches!(c, '\r' | '\n' | '\0') { ' ' } else { c }));
        } else {
            out.push_str(data);
        }
        out.push('\n');
        if let Some(id) = id {
            // Writing to a String does not fail.
            let _ = writeln!(out, "id:{id}");
        }
        out.push('\n');
    }

    /// Nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// It should be sent before more is put in.
    pub fn is_full(&self) -> bool {
        self.0.len() >= FULL
    }

    /// What is in it, which is taken.
    pub fn take(&mut self) -> Self {
        let next = String::with_capacity(self.0.len());
        Self(std::mem::replace(&mut self.0, next))
    }
}

/// Where a task puts its events.
#[derive(Clone)]
pub struct Out(mpsc::Sender<Bytes>);

impl Out {
    /// The two ends of a stream.
    pub fn new(waiting: usize) -> (Self, Frames) {
        let (sender, receiver) = mpsc::channel(waiting);
        (Self(sender), Frames { receiver, silence: Box::pin(sleep(KEEP_ALIVE)) })
    }

    /// Sends events, when the reader has room for them.
    pub async fn send(&self, frame: Frame) -> Result<(), Gone> {
        self.0.send(frame.0.into()).await.map_err(|_| Gone)
    }

    /// Likewise; `Ok(false)`: the reader had no room for so long.
    pub async fn send_within(&self, frame: Frame, patience: Duration) -> Result<bool, Gone> {
        match self.0.send_timeout(frame.0.into(), patience).await {
            Ok(()) => Ok(true),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Ok(false),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(Gone),
        }
    }

    /// Keeps room for one last frame.
    pub fn reserve(&self) -> Option<Room> {
        self.0.clone().try_reserve_owned().ok().map(Room)
    }

    /// The reader has left.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

/// Room for one frame.
pub struct Room(mpsc::OwnedPermit<Bytes>);

impl Room {
    /// Sends it.
    pub fn send(self, frame: Frame) {
        self.0.send(frame.0.into());
    }
}

/// What the connection sends: the task's frames, and a sign of life in silence.
pub struct Frames {
    receiver: mpsc::Receiver<Bytes>,
    silence: Pin<Box<Sleep>>,
}

impl Stream for Frames {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = match self.receiver.poll_recv(context) {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(frame)) => frame,
            Poll::Pending => {
                std::task::ready!(self.silence.as_mut().poll(context));
                Bytes::from_static(b":\n\n")
            }
        };
        self.silence.as_mut().reset(Instant::now() + KEEP_ALIVE);
        Poll::Ready(Some(Ok(next)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_keeps_its_line_whatever_its_data_hold() {
        let mut frame = Frame::default();
        frame.push("", " a\rb\nc\0d", Some(7));
        frame.push("stdout", "", None);
        assert_eq!(frame.take().0, "data:  a b c d\nid:7\n\nevent:stdout\ndata: \n\n");
        assert!(frame.is_empty());
    }
}
