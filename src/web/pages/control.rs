//! What only the command line on the control socket may ask for: recovery of admins, and a copy of the store.
//!
//! Over TCP these paths do not exist, whoever asks: who may use them has a shell on the box.

use std::fs::File;
use std::io::Read;

use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use warp::http::{HeaderValue, StatusCode, header};
use warp::reply::Reply;

use crate::blocking;
use crate::domain::Refusal;
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given, Peer};
use crate::web::{json as objects, reply};

/// Bytes of one piece of a copy.
const PIECE: usize = 64 * 1024;

fn control(given: Given) -> Result<Call, Fault> {
    let call = given.unjudged()?;
    match call.peer {
        Peer::Control => Ok(call),
        Peer::Address(_) => Err(Fault::no_such_path()),
    }
}

/// `POST /control/reset-admin`: the new password is in this answer and never again.
pub async fn reset_admin(given: Given) -> Answer {
    let call = control(given)?;
    let username = call.fields().required_text("username")?;
    let (user, password) = call.web.run_hashing(move |web| web.domain.reset_admin(&username)).await?;
    Ok(reply::json_with(StatusCode::OK, &json!({ "username": user.username, "password": password })))
}

/// `POST /control/promote-admin`.
pub async fn promote_admin(given: Given) -> Answer {
    let call = control(given)?;
    let username = call.fields().required_text("username")?;
    let user = call.run(move |web, actor| web.domain.promote_admin(actor, &username)).await?;
    Ok(reply::json_with(StatusCode::OK, &objects::user(&user)))
}

/// `GET /control/backup`: a consistent copy of the store, taken while the daemon works.
pub async fn backup(given: Given) -> Answer {
    let call = control(given)?;
    let file = call.run(|web, _| Ok(copy(web))).await??;
    let (out, pieces) = mpsc::channel::<std::io::Result<Vec<u8>>>(4);
    drop(blocking::run(move || send(file, &out)));
    let mut response = warp::reply::stream(ReceiverStream::new(pieces)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}

/// Makes the copy and opens it; its name is gone before it is read, so nothing stays behind whatever happens.
fn copy(web: &crate::web::Web) -> Result<File, Fault> {
    let broken = |what: &str, error: &dyn std::fmt::Display| {
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, format!("the copy of the store cannot be {what}: {error}"))
    };
    let number = getrandom::u64().map_err(|error| broken("named", &error))?;
    let path = web.domain.rules().data_dir.join(format!("backup-{number:016x}.part"));
    let copied = web.domain.store().backup(&path);
    let file = File::open(&path);
    let removed = std::fs::remove_file(&path);
    copied.map_err(Refusal::from)?;
    let file = file.map_err(|error| broken("opened", &error))?;
    removed.map_err(|error| broken("removed", &error))?;
    Ok(file)
}

fn send(mut file: File, out: &mpsc::Sender<std::io::Result<Vec<u8>>>) {
    loop {
        let mut piece = vec![0; PIECE];
        let read = file.read(&mut piece).map(|length| {
            piece.truncate(length);
            piece
        });
        let last = read.as_ref().map_or(true, Vec::is_empty);
        if read.as_ref().is_ok_and(Vec::is_empty) || out.blocking_send(read).is_err() || last {
            return;
        }
    }
}
