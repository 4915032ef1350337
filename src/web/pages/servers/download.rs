//! `GET /servers/{id}/logs?download=1`: all of a console that is kept, as a file. Escape sequences are taken out, so it is
//! safe to show on a terminal.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use warp::http::{HeaderValue, header};
use warp::reply::Reply;

use crate::blocking;
use crate::model::ansi;
use crate::model::id::ServerId;
use crate::model::machine::ConsoleCursor;
use crate::web::Web;
use crate::web::error::Answer;
use crate::web::extract::Call;
use crate::web::sse::console::Lines;

/// Bytes that are read at once.
const PIECE: usize = 64 * 1024;

/// Everything up to where the console ends now; a game that prints on does not make it endless. It takes the place of a
/// stream: a client that reads slowly holds no thread, and is hung up on when it does not read at all.
pub fn whole(call: &Call, id: ServerId) -> Answer {
    let places = call.web.streams.take(call)?;
    let (out, pieces) = mpsc::channel::<io::Result<Vec<u8>>>(1);
    let web = Arc::clone(&call.web);
    tokio::spawn(async move {
        send(web, id, out).await;
        drop(places);
    });
    let mut response = warp::reply::stream(ReceiverStream::new(pieces)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    let name = format!("attachment; filename=\"server-{id}.log\"");
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

async fn send(web: Arc<Web>, id: ServerId, out: mpsc::Sender<io::Result<Vec<u8>>>) {
    let patience = web.settings.limits.slow_reader;
    let end = *web.machine.console_grown(id).borrow();
    let mut at: ConsoleCursor = 0;
    let mut cutter = Lines::from(0);
    while at < end {
        let reading = Arc::clone(&web);
        let read = blocking::run(move || reading.machine.console_read(id, at, PIECE)).await;
        let piece = match read.map_err(|error| error.to_string()).map(|read| read.map_err(|error| error.to_string())) {
            // Older segments went meanwhile, or there is less than was known.
            Ok(Ok(chunk)) if chunk.bytes.is_empty() => break,
            Ok(Ok(chunk)) => {
                at = chunk.start + chunk.bytes.len() as u64;
                let mut text = Vec::with_capacity(chunk.bytes.len());
                cutter.take(&chunk, |_, line| add(&mut text, line));
                Ok(text)
            }
            Ok(Err(error)) | Err(error) => Err(io::Error::other(error)),
        };
        let last = piece.is_err();
        if out.send_timeout(piece, patience).await.is_err() || last {
            return;
        }
    }
    // What a game that crashed said last may lack its line break.
    if let Some(line) = cutter.rest() {
        let mut text = Vec::new();
        add(&mut text, &line);
        let _ = out.send_timeout(Ok(text), patience).await;
    }
}

fn add(text: &mut Vec<u8>, line: &str) {
    text.extend_from_slice(ansi::plain(line).as_bytes());
    text.push(b'\n');
}
