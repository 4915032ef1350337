//! The web page and its programs' interface: pages, JSON and streams on the same paths (contract §3).
//!
//! The daemon makes one [`Web`] and hands it to [`server::serve_tcp`] and [`server::serve_unix`]. A request goes
//! `server → service → routes (below, the whole table) → extract → pages → domain`. Nothing here touches the machine
//! but through [`Machine`].

pub mod address;
mod ask;
pub mod assets;
mod chart;
pub mod error;
pub mod extract;
pub mod fields;
pub mod json;
pub mod layout;
pub mod memo;
pub mod metrics;
mod note;
pub mod pages;
pub mod places;
pub mod reply;
pub mod routing;
pub mod server;
pub mod service;
pub mod session;
pub mod sse;
pub mod tls;
pub mod upload;

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, Method, StatusCode};
use warp::path::FullPath;
use warp::reply::{Reply, Response};
use warp::{Filter, Rejection};

use crate::blocking;
use crate::domain::{Domain, Refusal};
use crate::model::machine::Machine;
use error::Fault;
use extract::Peer;

/// Password hashes at a time: each takes 19 MiB and a core for some 20 ms.
const HASHES: usize = 2;

/// What the operator decides.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Where browsers find this site, e.g. `https://l4d2.example`, without a slash at the end.
    pub public_url: Option<String>,
    /// Host of `steam://connect` links, where it differs.
    pub public_address: Option<String>,
    /// Whose forwarded addresses count.
    pub trusted_proxies: Vec<address::Network>,
    /// Whether this process speaks TLS itself.
    pub tls: bool,
    /// Whether `/metrics` is open to everybody.
    pub metrics: bool,
    /// How connections are kept.
    pub limits: server::Limits,
}

impl Settings {
    /// `host[:port]` of the public URL; empty without one.
    pub fn public_authority(&self) -> &str {
        let url = self.public_url.as_deref().unwrap_or_default();
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default()
    }
}

/// The context of every request.
pub struct Web {
    /// Every operation.
    pub domain: Domain,
    /// The machine, as far as pages may ask it.
    pub machine: Arc<dyn Machine>,
    /// What the operator decides.
    pub settings: Settings,
    /// Style, script and icons.
    pub assets: assets::Assets,
    /// Counters of `/metrics`.
    pub metrics: metrics::Metrics,
    /// Becomes true when the daemon ends: streams end with it.
    pub stop: watch::Receiver<bool>,
    /// Places for streams.
    pub streams: sse::Streams,
    /// Pages that nothing has changed since.
    pub memo: memo::Memo,
    /// Places for password hashes.
    hashes: Semaphore,
}

impl Web {
    /// The context. `stop` is the daemon's signal that it ends.
    pub fn new(
        domain: Domain,
        machine: Arc<dyn Machine>,
        settings: Settings,
        stop: watch::Receiver<bool>,
    ) -> Arc<Self> {
        Arc::new(Self {
            streams: sse::Streams::new(&settings.limits),
            domain,
            machine,
            settings,
            assets: assets::Assets::new(),
            metrics: metrics::Metrics::new(),
            stop,
            memo: memo::Memo::default(),
            hashes: Semaphore::new(HASHES),
        })
    }

    /// Runs a blocking operation off the async threads.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Fault> {
        let web = Arc::clone(self);
        match blocking::run(move || work(&web)).await {
            Ok(outcome) => outcome.map_err(Fault::from),
            Err(error) => {
                log::error!("an operation panicked: {error}");
                Err(Fault::internal())
            }
        }
    }

    /// The same for operations that hash a password: only so many at a time.
    pub async fn run_hashing<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Fault> {
        // The semaphore is never closed; were it, hashing without a place would still be right.
        let _place = self.hashes.acquire().await;
        self.run(work).await
    }

    /// Whether the browser speaks TLS, to us or to a proxy that we trust.
    pub fn is_secure(&self, peer: Peer, headers: &HeaderMap) -> bool {
        if self.settings.tls || self.settings.public_url.as_deref().is_some_and(|url| url.starts_with("https://")) {
            return true;
        }
        match peer {
            Peer::Control => false,
            Peer::Address(address) => address::forwarded_tls(address.ip(), headers, &self.settings.trusted_proxies),
        }
    }

    /// The client's address for limits and the audit log.
    pub fn client_address(&self, peer: Peer, headers: &HeaderMap) -> String {
        match peer {
            Peer::Control => "local".to_owned(),
            Peer::Address(address) => self.client_ip(address.ip(), headers).to_string(),
        }
    }

    fn client_ip(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        address::client(peer, headers, &self.settings.trusted_proxies)
    }
}

/// All routes as one filter; `service` calls it.
pub type Routes = BoxedFilter<(Response,)>;

/// Writes the routes down once: their handlers and, as `(method, pattern)`, where they are found.
macro_rules! table {
    ($($group:ident { $($method:ident [$($segment:tt)/ *] $handler:path;)+ })+) => {
        /// Every route as `(method, pattern)`; `u64` stands for an identifier.
        pub const TABLE: &[(&str, &str)] = &[$($((stringify!($method), concat!($("/", stringify!($segment)),*)),)+)+];

        /// The handlers, in the order of [`TABLE`].
        fn handlers() -> Vec<routing::Handler> {
            vec![$($(routing::handler($handler),)+)+]
        }
    };
}

/// The whole route table as one filter.
pub fn routes(web: &Arc<Web>) -> Routes {
    let handlers = Arc::new(handlers());
    let found = warp::method()
        .and(warp::path::full())
        .and_then(|method: Method, path: FullPath| std::future::ready(routing::find(TABLE, &method, path.as_str())));
    let served = found
        .and(extract::given(Arc::clone(web)))
        .then(move |(number, id): (usize, u64), given| handlers[number](id, given))
        .map(Reply::into_response)
        .boxed();
    assets_and_root(web).or(served).unify().recover(rejected).map(Reply::into_response).boxed()
}

use pages::{
    account, admin, blueprints, control, dashboard, doctor, entry, files, jobs, overlays, paths, ports, servers, totp,
    users,
};

table! {
    front {
        get ["health"] dashboard::health;
        get ["metrics"] metrics::show;
        get ["api" / "openapi.json"] assets::openapi;
        get ["dashboard"] dashboard::show;
        get ["dashboard" / "cards"] dashboard::cards;
        get ["events"] sse::events::stream;
        get ["login"] entry::login_page;
        post ["login"] entry::login;
        get ["signup"] entry::signup_page;
        post ["signup"] entry::signup;
        post ["logout"] entry::logout;
    }
    server_routes {
        get ["servers"] servers::list;
        post ["servers"] servers::create;
        get ["servers" / "new"] servers::new_page;
        get ["servers" / "batch"] servers::batch_page;
        post ["servers" / "batch"] servers::batch;
        get ["servers" / u64] servers::show;
        post ["servers" / u64] servers::update;
        patch ["servers" / u64] servers::update;
        delete ["servers" / u64] servers::delete;
        get ["servers" / u64 / "edit"] servers::edit_page;
        get ["servers" / u64 / "delete"] servers::delete_page;
        post ["servers" / u64 / "delete"] servers::delete_form;
        get ["servers" / u64 / "card"] servers::card;
        get ["servers" / u64 / "panel"] servers::panel;
        post ["servers" / u64 / "initialize"] servers::initialize;
        post ["servers" / u64 / "start"] servers::start;
        post ["servers" / u64 / "stop"] servers::stop;
        post ["servers" / u64 / "restart"] servers::restart;
        post ["servers" / u64 / "console"] servers::console;
        get ["servers" / u64 / "live"] servers::live;
        get ["servers" / u64 / "files"] servers::files;
        get ["servers" / u64 / "paths"] paths::of_server;
        post ["servers" / u64 / "reset-layer"] servers::reset_layer;
        get ["servers" / u64 / "logs"] servers::logs;
        get ["servers" / u64 / "logs" / "stream"] sse::console::stream;
    }
    blueprint_routes {
        get ["blueprints"] blueprints::list;
        post ["blueprints"] blueprints::create;
        get ["blueprints" / "new"] blueprints::new_page;
        get ["blueprints" / u64] blueprints::show;
        post ["blueprints" / u64] blueprints::update;
        patch ["blueprints" / u64] blueprints::update;
        put ["blueprints" / u64] blueprints::replace;
        delete ["blueprints" / u64] blueprints::delete;
        get ["blueprints" / u64 / "delete"] blueprints::delete_page;
        post ["blueprints" / u64 / "delete"] blueprints::delete;
        post ["blueprints" / u64 / "duplicate"] blueprints::duplicate;
        get ["blueprints" / u64 / "paths"] paths::of_blueprint;
    }
    job_routes {
        get ["jobs"] jobs::list;
        get ["jobs" / u64] jobs::show;
        get ["jobs" / u64 / "state"] jobs::state;
        post ["jobs" / u64 / "cancel"] jobs::cancel;
        get ["jobs" / u64 / "stream"] sse::job::stream;
    }
    port_routes {
        get ["ports"] ports::list;
        get ["ports" / "check"] ports::check;
        post ["ports" / "cleanup"] ports::cleanup;
        post ["ports" / "clear"] ports::clear;
        get ["ports" / "strays" / u64 / "end"] ports::strays::end_page;
        post ["ports" / "strays" / u64 / "end"] ports::strays::end;
        get ["ports" / u64] ports::inspect;
        delete ["ports" / u64] ports::release_claim;
        post ["ports" / u64 / "delete"] ports::release_claim;
        get ["ports" / "reservations"] ports::reservations;
        post ["ports" / "reservations"] ports::reserve;
        delete ["ports" / "reservations" / u64] ports::release;
        get ["ports" / "reservations" / u64 / "delete"] ports::release_page;
        post ["ports" / "reservations" / u64 / "delete"] ports::release;
    }
    overlay_routes {
        get ["admin" / "overlays"] overlays::list;
        post ["admin" / "overlays"] overlays::create;
        get ["admin" / "overlays" / u64] overlays::show;
        post ["admin" / "overlays" / u64] overlays::update;
        patch ["admin" / "overlays" / u64] overlays::update;
        delete ["admin" / "overlays" / u64] overlays::delete;
        get ["admin" / "overlays" / u64 / "delete"] overlays::delete_page;
        post ["admin" / "overlays" / u64 / "delete"] overlays::delete;
        get ["admin" / "overlays" / u64 / "files"] files::browse;
        post ["admin" / "overlays" / u64 / "files"] files::upload;
        get ["admin" / "overlays" / u64 / "revisions"] files::revisions;
        post ["admin" / "overlays" / u64 / "revisions"] files::activate;
    }
    admin_routes {
        get ["admin" / "install"] admin::install_page;
        post ["admin" / "install"] admin::install;
        get ["admin" / "builds"] admin::builds;
        post ["admin" / "builds" / u64 / "activate"] admin::activate;
        get ["admin" / "audit"] admin::audit;
        get ["admin" / "doctor"] doctor::show;
        get ["admin" / "settings"] admin::settings;
        post ["admin" / "settings"] admin::update_settings;
        get ["admin" / "users"] users::list;
        get ["admin" / "users" / u64] users::show;
        post ["admin" / "users" / u64] users::update;
        patch ["admin" / "users" / u64] users::update;
        delete ["admin" / "users" / u64] users::delete;
        post ["admin" / "users" / u64 / "delete"] users::delete;
    }
    control_routes {
        post ["control" / "reset-admin"] control::reset_admin;
        post ["control" / "promote-admin"] control::promote_admin;
        get ["control" / "backup"] control::backup;
    }
    account_routes {
        get ["account"] account::show;
        post ["account" / "password"] account::password;
        get ["account" / "tokens"] account::tokens;
        post ["account" / "tokens"] account::create_token;
        delete ["account" / "tokens" / u64] account::revoke_token;
        get ["account" / "totp"] totp::show;
        post ["account" / "totp"] totp::begin;
        delete ["account" / "totp"] totp::remove;
        post ["account" / "totp" / "confirm"] totp::confirm;
        post ["account" / "totp" / "delete"] totp::remove;
        get ["account" / "tokens" / u64 / "delete"] account::revoke_page;
        post ["account" / "tokens" / u64 / "delete"] account::revoke_token;
    }
}

/// What needs no sender: the root and the files.
fn assets_and_root(web: &Arc<Web>) -> Routes {
    let root = warp::path::end().and(warp::get()).map(|| reply::see("/dashboard")).boxed();
    let web = Arc::clone(web);
    let assets = warp::path("assets")
        .and(warp::get())
        .and(warp::path::tail())
        .and(warp::header::headers_cloned())
        .map(move |path: warp::path::Tail, headers| web.assets.answer(path.as_str(), &headers))
        .map(Reply::into_response)
        .boxed();
    root.or(assets).unify().boxed()
}

/// warp's own rejections as faults. Which methods a path takes is added by `service`, which knows the path.
async fn rejected(rejection: Rejection) -> Result<Fault, std::convert::Infallible> {
    let bad = |text: String| Ok(Fault::bad_request(text));
    if rejection.is_not_found() {
        return Ok(Fault::no_such_path());
    }
    if rejection.find::<routing::WrongMethod>().is_some()
        || rejection.find::<warp::reject::MethodNotAllowed>().is_some()
    {
        return Ok(Fault::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method"));
    }
    if rejection.find::<warp::reject::PayloadTooLarge>().is_some() {
        return Ok(Fault::too_large(extract::BODY_MAX as u64));
    }
    if rejection.find::<warp::reject::UnsupportedMediaType>().is_some() {
        return Ok(Fault::media_type());
    }
    if rejection.find::<warp::reject::LengthRequired>().is_some() {
        return Ok(Fault::new(StatusCode::LENGTH_REQUIRED, "say the length of the body"));
    }
    if rejection.find::<warp::reject::InvalidQuery>().is_some() {
        return bad("the query cannot be read".into());
    }
    if let Some(header) = rejection.find::<warp::reject::MissingHeader>() {
        return bad(format!("the header {} is missing", header.name()));
    }
    if let Some(header) = rejection.find::<warp::reject::InvalidHeader>() {
        return bad(format!("the header {} cannot be read", header.name()));
    }
    if rejection.find::<warp::reject::MissingCookie>().is_some() {
        return bad("a cookie is missing".into());
    }
    log::error!("a rejection has no answer: {rejection:?}");
    Ok(Fault::internal())
}

/// Methods that a path takes, as the `Allow` header wants them.
pub fn allowed(path: &str) -> String {
    routing::allowed(TABLE, path)
}
