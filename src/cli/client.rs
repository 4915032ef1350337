//! HTTP over the daemon's Unix socket: requests with JSON, and streams of events.
//!
//! Called by the commands. The daemon knows us by the peer credentials of the socket; no token is sent. One connection
//! a request: commands make few.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

/// Most bytes of one answer.
const ANSWER_MAX: usize = 64 << 20;
/// Longest silence before a request is given up. Hashing a password and a slow disk fit in.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most bytes of one event before its end.
const EVENT_MAX: usize = 1 << 20;

/// A daemon that answers.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

/// A refusal of the daemon: its status and what it said.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// For people.
    pub text: String,
}

/// One event of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Where to go on after it.
    pub id: String,
    /// Kind.
    pub event: String,
    /// Text.
    pub data: String,
}

impl Client {
    /// The daemon behind `socket`; `None`: nobody listens there.
    pub async fn reach(socket: &Path) -> Result<Option<Self>> {
        use std::io::ErrorKind::{ConnectionRefused, NotFound};
        match UnixStream::connect(socket).await {
            Ok(_) => Ok(Some(Self { socket: socket.into() })),
            Err(error) if matches!(error.kind(), NotFound | ConnectionRefused) => Ok(None),
            Err(error) => Err(error).with_context(|| {
                format!("{} cannot be reached; run this as root or as the user of the service", socket.display())
            }),
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>, accept: &str) -> Result<Response<Incoming>> {
        let stream = UnixStream::connect(&self.socket).await.context("the daemon has ended meanwhile")?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("accept", accept)
            .header("content-type", "application/json")
            .body(Full::new(body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()))))?;
        let answer = tokio::time::timeout(PATIENCE, sender.send_request(request)).await;
        answer
            .context("the daemon does not answer; look at its log: journalctl -u left4me")?
            .context("the daemon hung up")
    }

    /// Sends a request and reads its JSON. An empty answer is `null`.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let answer = self.send(method, path, body, "application/json").await?;
        let status = answer.status();
        let bytes = tokio::time::timeout(PATIENCE, Limited::new(answer.into_body(), ANSWER_MAX).collect())
            .await
            .context("the daemon stopped in the middle of its answer")?
            .map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?
            .to_bytes();
        let value = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap_or(Value::Null) };
        if status.is_success() {
            return Ok(value);
        }
        let text = value["error"].as_str().map_or_else(|| format!("the daemon answered {status}"), ToOwned::to_owned);
        Err(Refused { status: status.as_u16(), text }.into())
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.call(Method::GET, path, None).await
    }

    /// `POST`.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// All items of a list, part by part. `path` may hold a query already.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let sign = if path.contains('?') { '&' } else { '?' };
            let more = if cursor.is_empty() { String::new() } else { format!("&cursor={}", escape(&cursor)) };
            let mut part = self.get(&format!("{path}{sign}limit=500{more}")).await?;
            if let Value::Array(more) = part["items"].take() {
                items.extend(more);
            }
            match part["next"].as_str() {
                Some(next) if next != cursor => next.clone_into(&mut cursor),
                Some(_) | None => return Ok(items),
            }
        }
    }

    /// Writes the body of an answer to `out`, however long it is. An answer that is cut short is an error.
    pub async fn download(&self, path: &str, out: &mut impl std::io::Write) -> Result<()> {
        let answer = self.send(Method::GET, path, None, "application/octet-stream").await?;
        if !answer.status().is_success() {
            bail!("the daemon answered {}", answer.status());
        }
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame.context("the copy broke off")?.data_ref() {
                out.write_all(data)?;
            }
        }
        Ok(())
    }

    /// Opens a stream of events.
    pub async fn events(&self, path: &str) -> Result<Events> {
        let answer = self.send(Method::GET, path, None, "text/event-stream").await?;
        let status = answer.status();
        if !status.is_success() {
            return Err(Refused { status: status.as_u16(), text: format!("the daemon answered {status}") }.into());
        }
        Ok(Events { body: answer.into_body(), parser: EventParser::default() })
    }
}

/// Escapes a word for a query.
pub fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// A stream of events.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    parser: EventParser,
}

impl Events {
    /// The next event; `None`: the stream has ended.
    pub async fn next_event(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.parser.next_event() {
                return Ok(Some(event));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.parser.push(data)?;
                    }
                }
                Some(Err(error)) => return Err(error).context("the stream broke off"),
                None => return Ok(None),
            }
        }
    }
}

/// Finds events in bytes (the event stream format of the HTML standard).
#[derive(Debug, Default)]
struct EventParser {
    buffer: Vec<u8>,
    current: Event,
}

impl EventParser {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() > EVENT_MAX {
            bail!("an event without end came from the daemon");
        }
        Ok(())
    }

    fn next_event(&mut self) -> Option<Event> {
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                let mut event = std::mem::take(&mut self.current);
                if event == Event::default() {
                    continue;
                }
                // Each data line was given a newline; the last one is not part of the text.
                event.data.pop();
                return Some(event);
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "id" => value.clone_into(&mut self.current.id),
                "event" => value.clone_into(&mut self.current.event),
                "data" => {
                    self.current.data.push_str(value);
                    self.current.data.push('\n');
                }
                // Comments keep the connection alive.
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_however_the_stream_cuts_them() {
        let text = b": hello\n\nid: 3\nevent: stdout\ndata: a\ndata: b\n\nid:4\ndata: x: y\r\n\r\n";
        for cut in 1..text.len() {
            let mut parser = EventParser::default();
            let mut found = Vec::new();
            for piece in text.chunks(cut) {
                parser.push(piece).unwrap();
                while let Some(event) = parser.next_event() {
                    found.push((event.id, event.event, event.data));
                }
            }
            let event = |id: &str, kind: &str, data: &str| (id.to_owned(), kind.to_owned(), data.to_owned());
            assert_eq!(found, [event("3", "stdout", "a\nb"), event("4", "", "x: y")], "{cut}");
        }
    }

    #[test]
    fn words_of_a_query_are_escaped() {
        assert_eq!(escape("a b&c=ä"), "a%20b%26c%3D%C3%A4");
    }

    #[tokio::test]
    async fn a_socket_that_is_not_there_is_no_daemon() {
        assert!(Client::reach(Path::new("/nonexistent/control.sock")).await.unwrap().is_none());
    }
}
