//! `GET /servers/{id}/logs?download=1`: all of a console that is kept, as a file. Escape sequences are taken out, so it is
//! safe to show on a terminal.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use warp::http::{HeaderValue, header};
use warp::reply::{Reply, Response};

use crate::model::ansi;
use crate::model::id::ServerId;
use crate::model::machine::ConsoleCursor;
use crate::web::Web;
use crate::web::extract::Call;
use crate::web::sse::console::Lines;

/// Bytes that are read at once.
const PIECE: usize = 64 * 1024;

/// Everything up to where the console ends now; a game that prints on does not make it endless.
pub fn whole(call: &Call, id: ServerId) -> Response {
    let (out, pieces) = mpsc::channel::<io::Result<Vec<u8>>>(4);
    let web = Arc::clone(&call.web);
    tokio::task::spawn_blocking(move || send(&web, id, &out));
    let mut response = warp::reply::stream(ReceiverStream::new(pieces)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    let name = format!("attachment; filename=\"server-{id}.log\"");
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    response
}

fn send(web: &Web, id: ServerId, out: &mpsc::Sender<io::Result<Vec<u8>>>) {
    let broken = |error: &dyn std::fmt::Display| Err(io::Error::other(error.to_string()));
    // It never ran: an empty file.
    let Ok(end) = web.machine.console_tail(id, 0) else { return };
    let mut at: ConsoleCursor = 0;
    let mut cutter = Lines::from(0);
    while at < end {
        let piece = match web.machine.console_read(id, at, PIECE) {
            Ok(chunk) if chunk.bytes.is_empty() => return,
            Ok(chunk) => {
                at = chunk.start + chunk.bytes.len() as u64;
                let lines = cutter.take(&chunk).1;
                Ok(lines
                    .into_iter()
                    .flat_map(|(_, line)| ansi::plain(&line).into_bytes().into_iter().chain([b'\n']))
                    .collect())
            }
            Err(error) => broken(&error),
        };
        let last = piece.is_err();
        if out.blocking_send(piece).is_err() || last {
            return;
        }
    }
}
