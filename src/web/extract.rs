//! What a handler gets: who asks, from where, in which shape they read, and the fields they sent.
//!
//! [`given`] is the last filter of every route. A handler opens it by the gate that the route needs, in its first line:
//! [`Given::signed_in`], [`Given::admin`], or [`Given::open`] for the few routes without a session.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use warp::http::{HeaderMap, Method};
use warp::{Filter, Rejection};

use super::Web;
use super::error::Fault;
use super::fields::Fields;
use super::session;
use super::upload::{self, Parts};
use crate::domain::{Page, Refusal};
use crate::model::user::{Actor, ApiToken, Scope, User};

/// Most bytes of a body that is read into memory.
pub const BODY_MAX: usize = 1 << 20;
/// How long a client may take to send such a body.
const BODY_TIME: Duration = Duration::from_secs(30);
/// Most objects of one answer.
const LIMIT_MAX: u64 = 500;
/// Objects of one answer when the client does not say.
const LIMIT_DEFAULT: usize = 100;

/// Who is at the other end of the connection. Put on each request by `server`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A TCP client.
    Address(std::net::SocketAddr),
    /// Root or the service user on the control socket: acts as the box itself.
    Control,
}

/// In which shape the client reads answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// A program.
    Json,
    /// A browser that shows whole pages.
    Page,
    /// HTMX, which puts a piece into the page.
    Fragment,
}

impl Shape {
    /// Reads it from the headers (contract §3).
    pub fn of(peer: Peer, headers: &HeaderMap) -> Self {
        let says = |name: &str, word: &str| {
            headers
                .get_all(name)
                .iter()
                .any(|value| value.to_str().is_ok_and(|value| value.to_ascii_lowercase().contains(word)))
        };
        let json = peer == Peer::Control
            || bearer(headers).is_some()
            || says("content-type", "application/json")
            || says("accept", "application/json")
            || says("accept", "text/event-stream");
        if json {
            Self::Json
        } else if headers.contains_key("hx-request") {
            Self::Fragment
        } else {
            Self::Page
        }
    }
}

/// Whose request it is.
#[derive(Debug, Clone)]
pub enum Who {
    /// A browser.
    Session {
        /// The user.
        user: User,
        /// The session token, as the cookie holds it.
        token: String,
        /// The form token of the session.
        csrf: String,
    },
    /// A program.
    Token {
        /// The user.
        user: User,
        /// The token's record.
        token: ApiToken,
        /// The token as it was sent: streams look it up again.
        bearer: String,
    },
    /// The command line on the control socket.
    System,
}

/// What the frame of a page needs of its reader. Shared with `service`, which renders faults.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// The name in the corner.
    pub username: String,
    /// Whether the admin's links are shown.
    pub admin: bool,
    /// The form token.
    pub csrf: String,
}

/// Where `given` leaves the viewer for `service`.
pub type ViewerSlot = Arc<OnceLock<Viewer>>;

/// A request whose sender is known but not yet judged.
pub struct Given(Result<Call, Fault>);

/// A request that passed its gate.
#[derive(Clone)]
pub struct Call {
    /// The context.
    pub web: Arc<Web>,
    /// The method.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The query.
    pub query: Fields,
    /// Every header.
    pub headers: HeaderMap,
    /// The shape of the answer.
    pub shape: Shape,
    /// Who is at the other end.
    pub peer: Peer,
    /// Whose request it is, if anybody's.
    pub who: Option<Who>,
    /// The client's address, as text.
    pub address: String,
    /// The body, or what is wrong with it: judged after the sender.
    body: Result<Fields, Fault>,
    /// An upload that was not read yet: its handler takes it once the sender is judged.
    arriving: Arc<Mutex<Option<Parts>>>,
}

/// The token of an `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get("authorization")?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The filter that ends every route.
pub fn given(web: Arc<Web>) -> impl Filter<Extract = (Given,), Error = Rejection> + Clone {
    warp::method()
        .and(warp::path::full())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(warp::header::headers_cloned())
        .and(warp::ext::get::<Peer>())
        .and(warp::ext::get::<ViewerSlot>())
        .and(warp::body::stream())
        .then(move |method, path: warp::path::FullPath, query: String, headers, peer, slot: ViewerSlot, body| {
            let web = Arc::clone(&web);
            async move { Given(read(web, method, path.as_str(), &query, headers, peer, &slot, body).await) }
        })
}

#[allow(clippy::too_many_arguments)] // one for each part of a request; called once, above
async fn read(
    web: Arc<Web>,
    method: Method,
    path: &str,
    query: &str,
    headers: HeaderMap,
    peer: Peer,
    slot: &ViewerSlot,
    body: impl Stream<Item = Result<impl Buf + Send, warp::Error>> + Send + 'static,
) -> Result<Call, Fault> {
    let (body, arriving) = match upload::boundary(&method, path, &headers) {
        Some(boundary) => (BytesMut::new(), Some(Parts::new(bytes_of(body), &boundary))),
        None => (tokio::time::timeout(BODY_TIME, collect(body)).await.map_err(|_| Fault::late())??, None),
    };
    let who = identify(&web, peer, &headers).await?;
    let viewer = match &who {
        Some(Who::Session { user, csrf, .. }) => {
            Some(Viewer { username: user.username.clone(), admin: user.admin, csrf: csrf.clone() })
        }
        Some(Who::Token { .. } | Who::System) | None => None,
    };
    if let Some(viewer) = viewer {
        // Set once per request; nobody else writes it.
        let _ = slot.set(viewer);
    }
    Ok(Call {
        address: web.client_address(peer, &headers),
        shape: Shape::of(peer, &headers),
        query: Fields::from_form(query.as_bytes()),
        path: path.to_owned(),
        body: if arriving.is_some() { Ok(Fields::Form(Vec::new())) } else { fields(&headers, &body) },
        arriving: Arc::new(Mutex::new(arriving)),
        web,
        method,
        headers,
        peer,
        who,
    })
}

/// The pieces of a body as they come.
fn bytes_of(
    body: impl Stream<Item = Result<impl Buf + Send, warp::Error>> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, warp::Error>> + Send + 'static {
    body.map(|piece| piece.map(|mut piece| piece.copy_to_bytes(piece.remaining())))
}

/// Reads a body into memory, up to the limit. Chunked bodies say no length: they are counted as they come.
async fn collect(body: impl Stream<Item = Result<impl Buf, warp::Error>>) -> Result<BytesMut, Fault> {
    let mut body = std::pin::pin!(body);
    let mut bytes = BytesMut::new();
    let mut too_large = false;
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_| Fault::bad_request("the body could not be read"))?;
        if bytes.len() + piece.remaining() > BODY_MAX {
            too_large = true;
            break;
        }
        bytes.extend_from_slice(piece.chunk());
    }
    if !too_large {
        return Ok(bytes);
    }
    // A client that is still sending reads its answer only when it has sent: swallow a little more before closing.
    let mut spare = 4 * BODY_MAX;
    while let Some(Ok(piece)) = body.next().await {
        spare = spare.saturating_sub(piece.remaining());
        if spare == 0 {
            break;
        }
    }
    Err(Fault::too_large(BODY_MAX as u64))
}

fn fields(headers: &HeaderMap, body: &[u8]) -> Result<Fields, Fault> {
    let kind = headers.get("content-type").map(|value| value.to_str().unwrap_or("?"));
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase());
    match kind.as_deref() {
        Some("application/json") => Fields::from_json(body),
        Some("application/x-www-form-urlencoded") => Ok(Fields::from_form(body)),
        _ if body.is_empty() => Ok(Fields::Form(Vec::new())),
        _ => Err(Fault::media_type()),
    }
}

async fn identify(web: &Arc<Web>, peer: Peer, headers: &HeaderMap) -> Result<Option<Who>, Fault> {
    if peer == Peer::Control {
        return Ok(Some(Who::System));
    }
    if let Some(bearer) = bearer(headers) {
        let mut found = web.domain.known_token(bearer);
        if found.is_none() {
            let bearer = bearer.to_owned();
            found = web.run(move |web| web.domain.authenticate(&bearer)).await?;
        }
        return match found {
            Some((user, token)) => Ok(Some(Who::Token { user, token, bearer: bearer.to_owned() })),
            None => Err(Fault::new(warp::http::StatusCode::UNAUTHORIZED, "this token is unknown, revoked or expired")),
        };
    }
    let Some(token) = session::token(headers, web.is_secure(peer, headers)) else { return Ok(None) };
    let mut found = web.domain.known_session(&token);
    if found.is_none() {
        let token = token.clone();
        found = web.run(move |web| web.domain.session(&token)).await?;
    }
    Ok(found.map(|(user, _)| Who::Session { user, csrf: session::csrf_token(&token), token }))
}

impl Given {
    /// Anybody. Changes are refused when the browser says that they come from another site.
    pub fn open(self) -> Result<Call, Fault> {
        let call = self.0?;
        if is_change(&call.method) {
            let host = call.headers.get("host").and_then(|value| value.to_str().ok()).unwrap_or_default();
            let own = [host, call.web.settings.public_authority()];
            if session::is_cross_site(&call.headers, &own) {
                return Err(Fault::bad_request("this form was sent from another site"));
            }
            call.body.as_ref().map_err(Clone::clone)?;
        }
        Ok(call)
    }

    /// A user, a program with a token, or the command line. Changes need the form token (a cookie's request) or the
    /// scope (a token's).
    pub fn signed_in(self) -> Result<Call, Fault> {
        let call = self.0?;
        call.judge(call.body.as_ref().ok().and_then(|fields| fields.typed("csrf_token")))?;
        call.body.as_ref().map_err(Clone::clone)?;
        Ok(call)
    }

    /// An admin who uploads (as [`Given::admin`]): the form token is in the header, or in the first part of the body.
    pub async fn admin_uploads(self) -> Result<(Call, Parts), Fault> {
        let call = self.0?;
        let taken = call.arriving.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut parts) = taken else {
            call.judge(call.body.as_ref().ok().and_then(|fields| fields.typed("csrf_token")))?;
            call.require_admin()?;
            return Err(call.body.err().unwrap_or_else(|| {
                Fault::new(
                    warp::http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "send multipart/form-data with a part named file",
                )
            }));
        };
        let judged = async {
            let wants_field =
                matches!(call.who, Some(Who::Session { .. })) && !call.headers.contains_key("x-csrf-token");
            let field = if wants_field { parts.leading("csrf_token").await? } else { None };
            call.judge(field.as_deref())?;
            upload::check_length(&call.headers)?;
            call.require_admin()
        };
        match judged.await {
            Ok(()) => Ok((call, parts)),
            Err(fault) => {
                parts.swallow().await;
                Err(fault)
            }
        }
    }

    /// An admin (a token needs the admin scope).
    pub fn admin(self) -> Result<Call, Fault> {
        let call = self.signed_in()?;
        call.require_admin()?;
        Ok(call)
    }

    /// Whoever it is, without any judgement: for routes that decide themselves.
    pub fn unjudged(self) -> Result<Call, Fault> {
        self.0
    }
}

fn is_change(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

impl Call {
    /// Whether the sender may ask at all: signed in, and for changes with the form token or the scope.
    fn judge(&self, csrf_field: Option<&str>) -> Result<(), Fault> {
        let change = is_change(&self.method);
        match &self.who {
            None if self.shape == Shape::Json => Err(Fault::unauthorized()),
            None if change => Err(Fault::csrf()),
            None => Err(Fault::sign_in(self.shown_page())),
            Some(Who::System) => Ok(()),
            Some(Who::Token { token, .. }) => match token.scope {
                Scope::Read if change => Err(Fault::forbidden("this token may only read")),
                Scope::Read | Scope::Operate | Scope::Admin => Ok(()),
            },
            Some(Who::Session { csrf, .. }) if change => {
                let header = self.headers.get("x-csrf-token").and_then(|value| value.to_str().ok());
                if session::csrf_matches(csrf, header.or(csrf_field)) { Ok(()) } else { Err(Fault::csrf()) }
            }
            Some(Who::Session { .. }) => Ok(()),
        }
    }

    fn require_admin(&self) -> Result<(), Fault> {
        if self.actor().admin { Ok(()) } else { Err(Fault::forbidden("this is for admins")) }
    }

    /// The fields of the body. A gate has already refused a body that has none.
    pub fn fields(&self) -> Fields {
        self.body.clone().unwrap_or_else(|_| Fields::Form(Vec::new()))
    }

    /// Who acts, as the domain sees it. Without a sender: somebody who may nothing.
    pub fn actor(&self) -> Actor {
        actor_of(self.who.as_ref(), &self.address)
    }

    /// Whether the answer is JSON.
    pub fn is_json(&self) -> bool {
        self.shape == Shape::Json
    }

    /// Runs one blocking operation as the request's actor, off the async threads.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Web, &Actor) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Fault> {
        let actor = self.actor();
        self.web.run(move |web| work(web, &actor)).await
    }

    /// The path with its query.
    pub fn path_and_query(&self) -> String {
        let Fields::Form(pairs) = &self.query else { return self.path.clone() };
        if pairs.is_empty() {
            return self.path.clone();
        }
        let query: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        format!("{}?{query}", self.path)
    }

    /// The page that the sender looks at: this one, or the one that a piece is asked for by.
    fn shown_page(&self) -> String {
        if self.shape != Shape::Fragment {
            return self.path_and_query();
        }
        let around = self.headers.get("hx-current-url").and_then(|url| url.to_str().ok()).unwrap_or_default();
        let rest = around.split_once("://").map_or(around, |(_, rest)| rest);
        rest.find('/').map_or("/dashboard", |start| &rest[start..]).to_owned()
    }

    /// `?limit=` and `?cursor=`.
    pub fn page(&self) -> Result<Page, Fault> {
        let limit = match self.query.number("limit")? {
            None => LIMIT_DEFAULT,
            Some(limit) if (1..=LIMIT_MAX).contains(&limit) => limit as usize,
            Some(_) => return Err(Fault::field("limit", format!("must be a number from 1 to {LIMIT_MAX}"))),
        };
        let cursor = self.query.text("cursor")?.filter(|cursor| !cursor.is_empty());
        Ok(Page { cursor, limit })
    }

    /// The form token, empty where there is no session.
    pub fn csrf(&self) -> &str {
        match &self.who {
            Some(Who::Session { csrf, .. }) => csrf,
            Some(Who::Token { .. } | Who::System) | None => "",
        }
    }

    /// What the frame of a page needs.
    pub fn viewer(&self) -> Option<Viewer> {
        match &self.who {
            Some(Who::Session { user, csrf, .. }) => {
                Some(Viewer { username: user.username.clone(), admin: user.admin, csrf: csrf.clone() })
            }
            Some(Who::Token { .. } | Who::System) | None => None,
        }
    }
}

/// Who acts. An admin whose token is narrower than `admin` acts as a user.
pub fn actor_of(who: Option<&Who>, address: &str) -> Actor {
    let of = |user: &User, admin: bool| Actor {
        user_id: Some(user.id),
        name: user.username.clone(),
        admin: user.admin && admin,
        address: address.to_owned(),
    };
    match who {
        None => Actor { user_id: None, name: "nobody".into(), admin: false, address: address.to_owned() },
        Some(Who::System) => Actor::system(),
        Some(Who::Session { user, .. }) => of(user, true),
        Some(Who::Token { user, token, .. }) => of(user, token.scope == Scope::Admin),
    }
}
