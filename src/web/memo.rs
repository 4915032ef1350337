//! Pages that were drawn and are the same until something changes: who asks for one again gets the same bytes.
//!
//! A page is kept under who asked for what, at one state of store and machine. The next change of either forgets them
//! all, and so does the next minute: pictures of the last hour move with it. Called by the handlers of the pages that
//! browsers and programs ask for again and again; whether the sender may see the page was judged before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use warp::http::{HeaderValue, StatusCode, header};
use warp::reply::{Reply, Response};

use super::Web;
use super::error::{Answer, Fault};
use super::extract::{Call, Shape, Who};
use super::note::Note;
use crate::model::time::Timestamp;

/// Bytes of all pages that are kept.
const BYTES_MAX: usize = 1 << 20;
/// What a page takes beside its bytes.
const ENTRY: usize = 512;

/// What pages are drawn from. The same state draws the same page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct State {
    store: u64,
    machine: u64,
    minute: i64,
}

impl State {
    fn now(web: &Web) -> Self {
        let minute = Timestamp::now().0.div_euclid(60_000);
        Self { store: web.domain.version(), machine: web.machine.changes(), minute }
    }
}

/// Who asks for what, as far as a page depends on it, as a digest: nothing that a client sends is kept, neither its secrets
/// nor a path of any length.
type Key = [u8; 32];

/// The secret of the session or token: nobody else gets this page. The host stands in links to games.
fn key(secret: &str, path: &str, host: Option<&HeaderValue>, shape: Shape) -> Key {
    let mut digest = Sha256::new();
    for part in [secret.as_bytes(), path.as_bytes(), host.map(HeaderValue::as_bytes).unwrap_or_default()] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.update([shape as u8]);
    digest.finalize().into()
}

/// The pages that are kept.
#[derive(Default)]
pub struct Memo(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    state: State,
    bytes: usize,
    pages: HashMap<Key, (HeaderValue, Bytes)>,
}

impl Memo {
    fn get(&self, state: State, key: &Key) -> Option<Response> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (kind, page) = kept.pages.get(key).filter(|_| kept.state == state)?;
        Some(response(kind, page))
    }

    fn put(&self, state: State, key: Key, kind: HeaderValue, page: Bytes) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = ENTRY + page.len();
        if kept.state != state || kept.bytes + bytes > BYTES_MAX {
            *kept = Kept { state, ..Kept::default() };
        }
        if bytes <= BYTES_MAX {
            kept.bytes += bytes;
            kept.pages.insert(key, (kind, page));
        }
    }
}

fn response(kind: &HeaderValue, page: &Bytes) -> Response {
    let mut response = warp::http::Response::new(page.clone()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    response
}

/// The page that `draw` makes of the call, or made of the same call before anything changed.
pub async fn remembered<F: Future<Output = Answer>>(call: Call, draw: impl FnOnce(Call) -> F) -> Answer {
    if Note::of(&call.headers).is_some() {
        // It is said once, and to this sender alone.
        return draw(call).await;
    }
    let secret = match &call.who {
        Some(Who::Session { token, .. }) => token,
        Some(Who::Token { bearer, .. }) => bearer,
        Some(Who::System) | None => return draw(call).await,
    };
    let key = key(secret, &call.path_and_query(), call.headers.get("host"), call.shape);
    let web = call.web.clone();
    // Before anything is read: what is drawn is at least as new.
    let state = State::now(&web);
    if let Some(page) = web.memo.get(state, &key) {
        return Ok(page);
    }
    let drawn = draw(call).await?;
    let kind = drawn.headers().get(header::CONTENT_TYPE).cloned();
    let (StatusCode::OK, Some(kind)) = (drawn.status(), kind) else { return Ok(drawn) };
    let page = drawn.into_body().collect().await.map_err(|_| Fault::internal())?.to_bytes();
    let answer = response(&kind, &page);
    web.memo.put(state, key, kind, page);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_for_ever_new_pages_gets_no_more_room_than_the_others() {
        let (memo, state) = (Memo::default(), State::default());
        for number in 0..100_000_u32 {
            let key = key("secret", &format!("/servers?x={number}"), None, Shape::Json);
            memo.put(state, key, HeaderValue::from_static("application/json"), Bytes::from_static(b"{}"));
            let kept = memo.0.lock().unwrap();
            assert!(kept.pages.len() <= BYTES_MAX / ENTRY && kept.bytes <= BYTES_MAX, "{number}");
        }
    }

    #[test]
    fn every_part_of_a_question_makes_it_another() {
        let host = HeaderValue::from_static("box");
        let keys = [
            key("a", "/b", None, Shape::Page),
            key("a/", "b", None, Shape::Page),
            key("a", "/b", None, Shape::Fragment),
            key("a", "/b", Some(&host), Shape::Page),
            key("a", "/bbox", None, Shape::Page),
        ];
        assert_eq!(keys.iter().collect::<std::collections::HashSet<_>>().len(), keys.len());
    }
}
