//! The accept loops: HTTP over TCP and over the control socket, around the same routes.
//!
//! warp's own server leaves a half-sent header open for ever and drains until the last stream has left; here headers
//! have a deadline and a size, connections have a cap, and a drain has an end. Called by the daemon; knows no route.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::extract::Peer;
use super::places::{Place, Places};
use super::{Routes, Web, service};
use crate::model::network::subscriber;

/// Most header lines of a request.
const HEADERS_MAX: usize = 64;
/// Most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// How long after the stop a connection that has just come may still send its first request: without it, who connected
/// in that moment would be hung up on.
const LAST_REQUEST: Duration = Duration::from_millis(250);
/// Pause after accept has failed, e.g. for want of descriptors: the connections that hold them must end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How connections are kept.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most connections at a time.
    pub connections: usize,
    /// Most connections at a time of one address (an IPv6 /64), but for trusted proxies.
    pub connections_per_address: usize,
    /// Most streams at a time of one user.
    pub streams_per_user: usize,
    /// Most streams at a time of one address.
    pub streams_per_address: usize,
    /// How long a client may take to send a request's head, and how long it may idle before the next one.
    pub header_time: Duration,
    /// How long open requests may last after the stop.
    pub drain: Duration,
    /// How long the log of a job waits for a reader that takes nothing before it tells it to come back later.
    pub slow_reader: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        // A page holds two streams, and a browser six connections to one site: nobody has so many pages open by hand.
        Self {
            connections: 512,
            connections_per_address: 128,
            streams_per_user: 32,
            streams_per_address: 64,
            header_time: Duration::from_secs(15),
            drain: Duration::from_secs(5),
            slow_reader: Duration::from_secs(30),
        }
    }
}

/// Serves TCP until `stop` becomes true, then drains.
pub async fn serve_tcp(web: Arc<Web>, listener: TcpListener, stop: watch::Receiver<bool>) {
    Connections::new(web, stop).serve(Page(listener)).await;
}

/// Serves TLS over TCP until `stop` becomes true, then drains. The newest configuration counts for the next connection.
pub async fn serve_tls(
    web: Arc<Web>,
    listener: TcpListener,
    configuration: watch::Receiver<Arc<ServerConfig>>,
    stop: watch::Receiver<bool>,
) {
    Connections::new(web, stop).serve(TlsPage { page: Page(listener), configuration }).await;
}

/// Serves the control socket until `stop` becomes true, then drains. Root and `service_uid` act as the box itself;
/// others are turned away without a word.
pub async fn serve_unix(web: Arc<Web>, listener: UnixListener, service_uid: u32, stop: watch::Receiver<bool>) {
    Connections::new(web, stop).serve(Control { listener, service_uid }).await;
}

/// Where connections come from.
trait Accept: Send + Sync + 'static {
    /// As it is accepted.
    type Raw: Send + 'static;
    /// As HTTP is spoken over it.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection; `None`: one that was turned away.
    fn accept(&self) -> impl Future<Output = io::Result<Option<(Self::Raw, Peer)>>> + Send;

    /// Makes it fit for HTTP, in the connection's own task: a slow client holds up nobody else.
    fn prepare(&self, raw: Self::Raw) -> impl Future<Output = io::Result<Self::Stream>> + Send + 'static;
}

struct Page(TcpListener);

impl Accept for Page {
    type Raw = TcpStream;
    type Stream = TcpStream;

    fn prepare(&self, raw: TcpStream) -> impl Future<Output = io::Result<TcpStream>> + Send + 'static {
        std::future::ready(Ok(raw))
    }

    async fn accept(&self) -> io::Result<Option<(TcpStream, Peer)>> {
        let (stream, address) = self.0.accept().await?;
        // A page is many small writes; waiting to fill packets only delays it.
        stream.set_nodelay(true)?;
        Ok(Some((stream, Peer::Address(address))))
    }
}

struct TlsPage {
    page: Page,
    configuration: watch::Receiver<Arc<ServerConfig>>,
}

impl Accept for TlsPage {
    type Raw = TcpStream;
    type Stream = TlsStream<TcpStream>;

    async fn accept(&self) -> io::Result<Option<(TcpStream, Peer)>> {
        self.page.accept().await
    }

    fn prepare(&self, raw: TcpStream) -> impl Future<Output = io::Result<TlsStream<TcpStream>>> + Send + 'static {
        TlsAcceptor::from(Arc::clone(&self.configuration.borrow())).accept(raw)
    }
}

struct Control {
    listener: UnixListener,
    service_uid: u32,
}

impl Accept for Control {
    type Raw = UnixStream;
    type Stream = UnixStream;

    fn prepare(&self, raw: UnixStream) -> impl Future<Output = io::Result<UnixStream>> + Send + 'static {
        std::future::ready(Ok(raw))
    }

    async fn accept(&self) -> io::Result<Option<(UnixStream, Peer)>> {
        let (stream, _) = self.listener.accept().await?;
        let uid = stream.peer_cred()?.uid();
        if uid != 0 && uid != self.service_uid {
            log::warn!("a process of uid {uid} was turned away from the control socket");
            return Ok(None);
        }
        Ok(Some((stream, Peer::Control)))
    }
}

/// An address holds all its places.
struct Full;

/// The connections of one listener.
struct Connections {
    web: Arc<Web>,
    routes: Routes,
    free: Arc<Semaphore>,
    of_address: Arc<Places<IpAddr>>,
    turned_away: bool,
    stop: watch::Receiver<bool>,
    tasks: JoinSet<()>,
}

impl Connections {
    fn new(web: Arc<Web>, stop: watch::Receiver<bool>) -> Self {
        let free = Arc::new(Semaphore::new(web.settings.limits.connections));
        let of_address = Places::new(web.settings.limits.connections_per_address);
        let routes = super::routes(&web);
        Self { web, routes, free, of_address, turned_away: false, stop, tasks: JoinSet::new() }
    }

    /// A place among those of the peer's address, unless it holds all. A trusted proxy speaks for many and needs none.
    fn place_of(&mut self, peer: Peer) -> Result<Option<Place<IpAddr>>, Full> {
        let Peer::Address(address) = peer else { return Ok(None) };
        let address = address.ip();
        if self.web.settings.trusted_proxies.iter().any(|network| network.contains(address)) {
            return Ok(None);
        }
        let place = self.of_address.take(subscriber(address));
        if place.is_none() && !std::mem::replace(&mut self.turned_away, true) {
            log::warn!(
                "{address} holds {} connections, the most that one address may: more are closed. Is it a proxy? Name it \
                 in trusted_proxies",
                self.of_address.most()
            );
        }
        place.map(Some).ok_or(Full)
    }

    async fn serve(mut self, listener: impl Accept) {
        loop {
            // The place is taken before the connection: at the cap, clients wait in the listener's queue.
            let place = tokio::select! {
                place = Arc::clone(&self.free).acquire_owned() => place,
                () = stopped(self.stop.clone()) => break,
            };
            let Ok(place) = place else { break };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stopped(self.stop.clone()) => break,
            };
            while self.tasks.try_join_next().is_some() {}
            match accepted {
                Ok(Some((raw, peer))) => {
                    // Without a place the connection ends here.
                    let Ok(own_place) = self.place_of(peer) else { continue };
                    let prepared = listener.prepare(raw);
                    let time = self.web.settings.limits.header_time;
                    let (web, routes, stop) = (Arc::clone(&self.web), self.routes.clone(), self.stop.clone());
                    self.tasks.spawn(async move {
                        match tokio::time::timeout(time, prepared).await {
                            Ok(Ok(stream)) => connection(web, routes, stream, peer, stop).await,
                            Ok(Err(error)) => log::debug!("a connection ended early: {error}"),
                            Err(_) => log::debug!("a connection ended early: no TLS in time"),
                        }
                        drop((place, own_place));
                    });
                }
                Ok(None) => {}
                Err(error) => {
                    log::warn!("a connection could not be accepted: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        let drained = tokio::time::timeout(self.web.settings.limits.drain, async {
            while self.tasks.join_next().await.is_some() {}
        });
        if drained.await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

async fn connection<S>(web: Arc<Web>, routes: Routes, stream: S, peer: Peer, stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = web.settings.limits.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (web, routes) = (Arc::clone(&web), routes.clone());
        async move { Ok::<_, Infallible>(service::answer(&web, &routes, peer, request).await) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stopped(stop) => {
            if let Ok(ended) = tokio::time::timeout(LAST_REQUEST, serving.as_mut()).await {
                ended
            } else {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        }
    };
    if let Err(error) = ended {
        // Clients leave and send nonsense all day: worth knowing only when one looks for it.
        log::debug!("a connection ended early: {error}");
    }
}

/// Resolves when the stop is asked for, or when nobody can ask for it any more.
pub async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone: the daemon is ending.
    let _ = stop.wait_for(|stop| *stop).await;
}
