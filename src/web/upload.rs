//! Uploads: bodies that go to the disk piece by piece and are never held in memory.
//!
//! Called by `extract`, which leaves the body of an upload unread until its sender is judged, and by `pages/files`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use multer::{Constraints, Field, Multipart, SizeLimit};
use tokio::sync::mpsc;
use warp::http::{HeaderMap, Method};

use super::error::Fault;
use crate::blocking;
use crate::model::machine::{Arriving, FilesError, Unpacked};

/// Most bytes of an upload.
pub const UPLOAD_MAX: u64 = 2 << 30;
/// How long a client may send nothing.
const PIECE_TIME: Duration = Duration::from_mins(1);
/// Bytes of a refused upload that are still read, so that the client comes to read the answer.
const SWALLOW_MAX: usize = 16 << 20;
/// How long that may take.
const SWALLOW_TIME: Duration = Duration::from_secs(2);
/// Most bytes of a part that is no file.
const TEXT_MAX: usize = 4096;
/// Pieces that wait for the disk.
const WAITING: usize = 16;

/// The boundary of an upload's parts, when this request is one.
pub fn boundary(method: &Method, path: &str, headers: &HeaderMap) -> Option<String> {
    let place = path.trim_end_matches('/');
    if *method != Method::POST || !place.starts_with("/admin/overlays/") || !place.ends_with("/files") {
        return None;
    }
    multer::parse_boundary(headers.get("content-type")?.to_str().ok()?).ok()
}

/// Refuses an upload that says itself that it is too large. One that says no length is counted as it comes.
pub fn check_length(headers: &HeaderMap) -> Result<(), Fault> {
    let length = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > UPLOAD_MAX) { Err(Fault::too_large(UPLOAD_MAX)) } else { Ok(()) }
}

/// The parts of an upload, in their order.
pub struct Parts {
    parts: Multipart<'static>,
    /// A part that was looked at and is still to be used.
    next: Option<Field<'static>>,
}

fn fault(error: &multer::Error) -> Fault {
    match error {
        multer::Error::StreamSizeExceeded { .. } | multer::Error::FieldSizeExceeded { .. } => {
            Fault::too_large(UPLOAD_MAX)
        }
        _ => Fault::bad_request(format!("the upload could not be read: {error}")),
    }
}

async fn in_time<T>(work: impl Future<Output = multer::Result<T>>) -> Result<T, Fault> {
    tokio::time::timeout(PIECE_TIME, work).await.map_err(|_| Fault::late())?.map_err(|error| fault(&error))
}

impl Parts {
    /// The parts of a body.
    pub fn new(body: impl Stream<Item = Result<Bytes, warp::Error>> + Send + 'static, boundary: &str) -> Self {
        let limits = Constraints::new().size_limit(SizeLimit::new().whole_stream(UPLOAD_MAX));
        Self { parts: Multipart::with_constraints(body, boundary, limits), next: None }
    }

    async fn part(&mut self) -> Result<Option<Field<'static>>, Fault> {
        match self.next.take() {
            Some(part) => Ok(Some(part)),
            None => in_time(self.parts.next_field()).await,
        }
    }

    /// The text of the first part, when it has this name.
    pub async fn leading(&mut self, name: &str) -> Result<Option<String>, Fault> {
        let Some(mut part) = self.part().await? else { return Ok(None) };
        if part.name() != Some(name) || part.file_name().is_some() {
            self.next = Some(part);
            return Ok(None);
        }
        let mut bytes = Vec::new();
        while let Some(piece) = in_time(part.chunk()).await? {
            if bytes.len() + piece.len() > TEXT_MAX {
                return Err(Fault::bad_request("a part of the upload is too long"));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The first part that is a file, and its name.
    pub async fn file(&mut self) -> Result<(String, Field<'static>), Fault> {
        while let Some(part) = self.part().await? {
            if let Some(name) = part.file_name() {
                let name: String = name.chars().filter(|c| !c.is_control()).take(200).collect();
                if name.is_empty() {
                    return Err(Fault::field("file", "choose a .zip, .tar.gz or .vpk"));
                }
                return Ok((name, part));
            }
        }
        Err(Fault::field("file", "is missing: send a .zip, .tar.gz or .vpk as a part with a file name"))
    }

    /// Reads on for a while without keeping anything.
    pub async fn swallow(&mut self) {
        // Who sends nothing more reads the answer at once; either way the connection ends.
        let _ = tokio::time::timeout(SWALLOW_TIME, self.read_on()).await;
    }

    async fn read_on(&mut self) {
        let mut left = SWALLOW_MAX;
        while let Ok(Some(mut part)) = self.part().await {
            while let Ok(Some(piece)) = in_time(part.chunk()).await {
                left = left.saturating_sub(piece.len());
                if left == 0 {
                    return;
                }
            }
        }
    }
}

/// What goes to the thread that writes.
enum Piece {
    Bytes(Bytes),
    /// The whole file was there: without this, the client has gone.
    End,
}

/// An upload that is unpacked and waits for its place.
type Ready = (Box<dyn Arriving>, Unpacked);

/// Writes a file to the disk as it comes, and unpacks it.
pub async fn receive(name: String, mut file: Field<'static>, mut into: Box<dyn Arriving>) -> Result<Ready, Fault> {
    let (sender, mut pieces) = mpsc::channel(WAITING);
    let written = blocking::run(move || -> Result<Option<Ready>, FilesError> {
        while let Some(piece) = pieces.blocking_recv() {
            match piece {
                Piece::Bytes(bytes) => into.write(&bytes)?,
                Piece::End => {
                    let unpacked = into.unpack(&name)?;
                    return Ok(Some((into, unpacked)));
                }
            }
        }
        Ok(None)
    });
    let sent = async {
        while let Some(bytes) = in_time(file.chunk()).await? {
            // A disk that is full ends the other side, which says so below.
            if sender.send(Piece::Bytes(bytes)).await.is_err() {
                return Ok(());
            }
        }
        // Likewise.
        let _ = sender.send(Piece::End).await;
        Ok(())
    };
    let sent: Result<(), Fault> = sent.await;
    drop(sender);
    let written = written.await.map_err(|error| {
        log::error!("unpacking an upload panicked: {error}");
        Fault::internal()
    })?;
    sent?;
    written?.ok_or_else(|| Fault::bad_request("the upload ended early"))
}
