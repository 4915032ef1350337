//! `GET /servers/{id}/logs/stream`: the game's console, from a cursor on, then live.
//!
//! A line's id is the offset of the byte after it. Offsets mean the same after every restart of anything, so a client
//! that comes back with its last id gets every line once.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use super::{Frame, Out, Ticket, resume_from, shown, with_colours};
use crate::blocking;
use crate::model::ansi::clean;
use crate::model::event::Event as Change;
use crate::model::id::ServerId;
use crate::model::machine::{ConsoleChunk, ConsoleCursor, ConsoleError};
use crate::web::Web;
use crate::web::error::{Answer, Fault};
use crate::web::extract::Given;
use crate::web::server::stopped;

/// Bytes of one read.
const READ: usize = 64 * 1024;
/// A line that is longer is cut into lines of this many bytes.
const LINE_MAX: usize = 16 * 1024;
/// Lines that a client gets when it does not say.
const LINES: u64 = 200;
/// Most lines that it may ask for.
const LINES_MAX: u64 = 10_000;

/// The route.
pub async fn stream(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let id = ServerId(id);
    let lines = call.query.number("lines")?.unwrap_or(LINES);
    if lines > LINES_MAX {
        return Err(Fault::field("lines", format!("must be a number from 0 to {LINES_MAX}")));
    }
    let changes = call.web.domain.hub().listen();
    // First whether there is such a server for this reader: asking the machine begins to watch it.
    call.run(move |web, actor| web.domain.may_see_server(actor, id)).await?;
    let grown = call.web.machine.console_grown(id);
    let from = match resume_from(&call, "cursor")? {
        Some(cursor) => cursor,
        None => tail(&call.web, id, lines as usize).await?,
    };
    let colours = with_colours(&call);
    let follow =
        Follow { web: Arc::clone(&call.web), ticket: Ticket::of(&call), id, colours, lines: Lines::from(from) };
    super::answer(&call, move |out| follow.run(out, changes, grown))
}

/// Where the last lines begin. A server that never ran has none.
async fn tail(web: &Arc<Web>, id: ServerId, lines: usize) -> Result<ConsoleCursor, Fault> {
    let web = Arc::clone(web);
    match blocking::run(move || web.machine.console_tail(id, lines)).await {
        Ok(Ok(cursor)) => Ok(cursor),
        Ok(Err(ConsoleError::NotRunning)) => Ok(0),
        Ok(Err(error @ ConsoleError::Machine(_))) => Err(error.into()),
        Err(error) => {
            log::error!("reading a console panicked: {error}");
            Err(Fault::internal())
        }
    }
}

struct Follow {
    web: Arc<Web>,
    ticket: Ticket,
    id: ServerId,
    colours: bool,
    lines: Lines,
}

impl Follow {
    async fn run(
        mut self,
        out: Out,
        mut changes: broadcast::Receiver<Change>,
        mut grown: watch::Receiver<ConsoleCursor>,
    ) {
        let stop = self.web.stop.clone();
        // The first bytes after the headers: the browser knows at once that it is connected.
        if out.send(Frame::comment("console")).await.is_err() {
            return;
        }
        loop {
            // What grows from here on wakes the wait below.
            grown.borrow_and_update();
            if !self.send_new(&out).await {
                return;
            }
            match self.wait(&out, &mut changes, &mut grown, &stop).await {
                Wake::Read => {}
                Wake::Teller => grown = self.web.machine.console_grown(self.id),
                Wake::End => return,
            }
        }
    }

    /// Waits until there may be something new.
    async fn wait(
        &mut self,
        out: &Out,
        changes: &mut broadcast::Receiver<Change>,
        grown: &mut watch::Receiver<ConsoleCursor>,
        stop: &watch::Receiver<bool>,
    ) -> Wake {
        // Once who told of growth is gone (the instance's task was replaced), the next change of the server may have
        // brought a successor.
        let mut orphaned = false;
        loop {
            let renew = tokio::select! {
                told = grown.changed(), if !orphaned => {
                    if told.is_ok() {
                        return Wake::Read;
                    }
                    orphaned = true;
                    continue;
                }
                change = changes.recv() => match change {
                    Ok(Change::Server(id)) if id == self.id => {
                        if self.is_gone().await {
                            // The reader may have left; nothing follows either way.
                            let _ = out.send(Frame::json("end", &serde_json::json!({ "reason": "deleted" }))).await;
                            return Wake::End;
                        }
                        if orphaned {
                            return Wake::Teller;
                        }
                        false
                    }
                    Ok(change) => self.ticket.is_touched_by(&change),
                    Err(RecvError::Lagged(_)) => true,
                    Err(RecvError::Closed) => return Wake::End,
                },
                () = tokio::time::sleep_until(self.ticket.due()) => true,
                () = out.closed() => return Wake::End,
                () = stopped(stop.clone()) => return Wake::End,
            };
            if renew {
                if !self.ticket.renew(&self.web).await || self.is_gone().await {
                    return Wake::End;
                }
                return if orphaned { Wake::Teller } else { Wake::Read };
            }
        }
    }

    async fn is_gone(&self) -> bool {
        let id = self.id;
        self.ticket.run(&self.web, move |web, actor| web.domain.may_see_server(actor, id)).await.is_err()
    }

    /// Sends every complete line that is there. `false`: the stream ends.
    async fn send_new(&mut self, out: &Out) -> bool {
        loop {
            let (web, id, from) = (Arc::clone(&self.web), self.id, self.lines.read_to);
            let read = blocking::run(move || web.machine.console_read(id, from, READ)).await;
            let chunk = match read {
                Ok(Ok(chunk)) => chunk,
                Ok(Err(ConsoleError::NotRunning)) => return true,
                Ok(Err(ConsoleError::Machine(text))) => {
                    log::warn!("the console of server {} cannot be read: {text}", self.id);
                    return true;
                }
                Err(error) => {
                    log::error!("reading a console panicked: {error}");
                    return false;
                }
            };
            if chunk.bytes.is_empty() && chunk.start <= from {
                return true;
            }
            let (mut frames, mut frame, colours) = (Vec::new(), Frame::default(), self.colours);
            let gap = self.lines.take(&chunk, |end, text| {
                frame.push("", &shown(text, colours), Some(end));
                if frame.is_full() {
                    frames.push(frame.take());
                }
            });
            let gap = gap.map(|bytes| Frame::json("gap", &serde_json::json!({ "missing_bytes": bytes })));
            let rest = Some(frame).filter(|frame| !frame.is_empty());
            for frame in gap.into_iter().chain(frames).chain(rest) {
                if out.send(frame).await.is_err() {
                    return false;
                }
            }
        }
    }
}

/// Why the wait is over.
enum Wake {
    /// There may be new bytes.
    Read,
    /// There may be a new teller of growth.
    Teller,
    /// The stream ends.
    End,
}

/// Cuts a console into lines.
pub struct Lines {
    /// Offset of the next byte to read.
    read_to: ConsoleCursor,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
}

impl Lines {
    /// From a cursor: the beginning of a line.
    pub fn from(cursor: ConsoleCursor) -> Self {
        Self { read_to: cursor, partial: Vec::new() }
    }

    /// The line that has begun and not ended, if any; it is taken.
    pub fn rest(&mut self) -> Option<String> {
        let partial = std::mem::take(&mut self.partial);
        (!partial.is_empty()).then(|| harmless(&partial, ToOwned::to_owned))
    }

    /// Takes a piece; answers how many bytes are missing before it. `each` gets the lines that it completes, each with the
    /// offset of the byte after it.
    pub fn take(&mut self, chunk: &ConsoleChunk, mut each: impl FnMut(ConsoleCursor, &str)) -> Option<u64> {
        let gap = (chunk.start > self.read_to).then(|| chunk.start - self.read_to);
        if gap.is_some() {
            self.partial.clear();
            self.read_to = chunk.start;
        }
        let mut rest = chunk.bytes.as_slice();
        while !rest.is_empty() {
            let room = LINE_MAX - self.partial.len();
            let end = rest.iter().take(room).position(|byte| *byte == b'\n').map(|at| at + 1);
            let taken = end.unwrap_or(room.min(rest.len()));
            let (piece, more) = rest.split_at(taken);
            rest = more;
            self.read_to += taken as u64;
            let ends = end.is_some() || self.partial.len() + taken >= LINE_MAX;
            if ends && self.partial.is_empty() {
                harmless(piece, |text| each(self.read_to, text));
                continue;
            }
            self.partial.extend_from_slice(piece);
            if ends {
                harmless(&self.partial, |text| each(self.read_to, text));
                self.partial.clear();
            }
        }
        gap
    }

    /// [`Self::take`] as a list.
    pub fn list(&mut self, chunk: &ConsoleChunk) -> (Option<u64>, Vec<(ConsoleCursor, String)>) {
        let mut lines = Vec::new();
        let gap = self.take(chunk, |end, text| lines.push((end, text.to_owned())));
        (gap, lines)
    }
}

/// What a terminal would show of a line, with its colours and no other escape sequence: what a lone CR overwrites goes.
fn harmless<T>(line: &[u8], then: impl FnOnce(&str) -> T) -> T {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\n', '\r']);
    then(&clean(text.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ansi::plain;
    use proptest::prelude::*;

    fn chunk(start: u64, bytes: &[u8]) -> ConsoleChunk {
        ConsoleChunk { start, bytes: bytes.to_vec() }
    }

    #[test]
    fn a_line_is_held_back_until_its_end_comes() {
        let mut lines = Lines::from(0);
        assert_eq!(lines.list(&chunk(0, b"one\r\ntw")), (None, vec![(5, "one".to_owned())]));
        assert_eq!(lines.list(&chunk(7, b"o\n")), (None, vec![(9, "two".to_owned())]));
    }

    #[test]
    fn a_gap_is_told_and_half_a_line_before_it_forgotten() {
        let mut lines = Lines::from(0);
        lines.list(&chunk(0, b"half"));
        assert_eq!(lines.list(&chunk(100, b"whole\n")), (Some(96), vec![(106, "whole".to_owned())]));
    }

    #[test]
    fn colours_stay_and_bells_and_titles_are_taken_out() {
        let harmless = |line: &[u8]| harmless(line, str::to_owned);
        assert_eq!(
            harmless(b"\x1b[31mred\x1b[0m \x07bell\x1b]0;title\x07 \x1b]2;x\x1b\\end\r\n"),
            "\x1b[0;31mred\x1b[0m bell end"
        );
        assert_eq!(harmless(b"10%\r20%\r\n"), "20%");
        assert_eq!(harmless(b"\xff\xfe ok\n"), "\u{fffd}\u{fffd} ok");
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_console_gives_the_same_lines_and_ids(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..400),
            cuts in proptest::collection::vec(1usize..40, 0..40),
        ) {
            let mut whole = Lines::from(0);
            let expected = whole.list(&chunk(0, &text)).1;
            let mut pieces = Lines::from(0);
            let mut found = Vec::new();
            let (mut at, mut cuts) = (0, cuts.into_iter());
            while at < text.len() {
                let end = (at + cuts.next().unwrap_or(text.len())).min(text.len());
                found.extend(pieces.list(&chunk(at as u64, &text[at..end])).1);
                at = end;
            }
            prop_assert_eq!(&found, &expected);
            // Who comes back with any id gets exactly what follows it.
            for (index, (end, _)) in expected.iter().enumerate() {
                let rest = Lines::from(*end).list(&chunk(*end, &text[*end as usize..])).1;
                prop_assert_eq!(&rest[..], &expected[index + 1..]);
            }
            prop_assert!(expected.iter().all(|(_, line)| !plain(line).chars().any(|c| c.is_control() && c != '\t')));
        }
    }
}
