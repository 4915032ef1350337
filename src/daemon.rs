//! The composition root: opens, migrates, recovers, adopts, serves, notifies, drains. The only place where the drivers
//! meet; it decides nothing else.
//!
//! ```text
//!   open store ─▶ recover jobs ─▶ adopt instances ─▶ listen ─▶ READY ─▶ probe kernel ─▶ … ─▶ SIGTERM ─▶ drain
//! ```
//!
//! The end of the daemon touches no game: shims go on, and the next daemon adopts them.

mod rest;
mod sockets;

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::blocking;
use crate::config::Config;
use crate::domain::{Domain, Refusal, Rules};
use crate::host::archive;
use crate::host::launch::Limits;
use crate::host::paths::Paths;
use crate::host::probe::{self, Outcome};
use crate::host::shim::starter::ShimStarter;
use crate::jobs;
use crate::live::Hub;
use crate::model::machine::{Instances, Machine};
use crate::store::{Store, StoreError};
use crate::supervise::{self, Supervisor, SupervisorHandle, leftovers};
use crate::sys::memory;
use crate::systemd::notify;
use crate::web;

/// This program, also when a package has put another in its place since.
const PROGRAM: &str = "/proc/self/exe";
/// How long jobs under way may take to end after SIGTERM. What is left is interrupted and run again by the next daemon.
const DRAIN_JOBS: Duration = Duration::from_secs(8);

/// Why the daemon could not begin, or why it ended other than asked.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The data folder cannot be used.
    #[error("{path} cannot be used: {error}; it must belong to the user that runs left4me")]
    DataDir {
        /// Which.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An address cannot be listened on.
    #[error("{what} {address} cannot be listened on: {error}")]
    Listen {
        /// `listen` or `socket`.
        what: &'static str,
        /// The address.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// Something else.
    #[error("{0}")]
    Other(String),
}

/// What a caller may learn once the daemon answers requests.
pub struct Ready<'a> {
    /// Where the page is.
    pub address: std::net::SocketAddr,
    /// The store's operations.
    pub domain: &'a Domain,
}

/// What a store needs to be worked with, daemon or not.
pub fn open_domain(config: &Config) -> Result<Domain, DaemonError> {
    prepare_folder(&config.data_dir, 0o750)?;
    if !config.overlay_root.starts_with(&config.data_dir) || config.overlay_root == config.data_dir.join("overlays") {
        prepare_folder(&config.overlay_root, 0o755)?;
    }
    let store = Store::open(&config.data_dir.join("left4me.redb"), Hub::new())?;
    Ok(Domain::new(
        store,
        Rules {
            port_range: config.port_range,
            max_servers_per_user: config.max_servers_per_user,
            overlay_root: config.overlay_root.clone(),
            data_dir: config.data_dir.clone(),
            signup_open: config.signup_open(),
            log_line_max_chars: config.job_log_line_max_chars,
            log_replay_limit: config.job_log_replay_limit,
        },
    ))
}

/// Runs the daemon until SIGTERM or SIGINT. `ready` is called once, when requests are answered.
pub async fn serve(config: Config, ready: impl FnOnce(&Ready<'_>)) -> Result<(), DaemonError> {
    memory::keep_little();
    let opened = config.clone();
    let domain = blocking(move || open_domain(&opened)).await??;
    let paths = Paths::new(config.data_dir.clone(), config.overlay_root.clone());
    paths.create().map_err(|error| DaemonError::DataDir { path: config.data_dir.display().to_string(), error })?;
    let (numbered, named) = (domain.clone(), paths.clone());
    blocking(move || numbered.never_reuse(&named.highest())).await??;
    let overlays_changed = domain.hub().listen();
    let (asked, swept) = (domain.clone(), paths.clone());
    let left = blocking(move || leftovers::collect(&asked, &swept, true)).await?.unwrap_or_else(|error| {
        log::warn!("what earlier uploads left could not be removed: {error}");
        archive::Left::default()
    });
    if rustix::process::geteuid().is_root() {
        log::warn!("left4me runs as root: it needs no root; make a user of its own, or install the package");
    }

    // Set by the unit: under systemd each shim is a unit of its own. Elsewhere the daemon executes itself.
    let starter = match &config.shim_socket {
        Some(path) => ShimStarter::Socket { path: path.clone() },
        None => ShimStarter::Exec { program: PROGRAM.into() },
    };
    let looked_at = (starter.clone(), paths.clone());
    let limits = Limits {
        memory_max: config.memory_max,
        cpu_weight: Some(config.cpu_weight.into()),
        pids_max: Some(config.pids_max.into()),
        ..Limits::default()
    };
    // An install writes what Steam sends; only games are held to what one instance may write.
    let file_bytes = config.disk_max.into_iter().chain(limits.file_bytes).min();
    let game_limits = Limits { disk_max: config.disk_max, file_bytes, ..limits.clone() };
    let supervisor = Supervisor::new(supervise::Context {
        domain: domain.clone(),
        paths: paths.clone(),
        starter: starter.clone(),
        steamcmd: config.steamcmd_path(),
        limits: game_limits,
        start_timeout: Duration::from_secs(config.start_timeout_seconds),
        refresh: Duration::from_secs(config.status_refresh_seconds),
    });
    let handle = Arc::new(SupervisorHandle(supervisor.clone()));
    let instances: Arc<dyn Instances> = handle.clone();
    let machine: Arc<dyn Machine> = handle;

    let overlay_paths = paths.clone();
    let specs = Arc::new(tokio::sync::RwLock::new(()));
    let context = Arc::new(jobs::Context {
        domain: domain.clone(),
        paths,
        instances,
        starter,
        limits,
        workers: config.job_workers,
        steamcmd: config.steamcmd_path(),
        steamcmd_url: config.steamcmd_url.clone(),
        specs: specs.clone(),
        timeouts: jobs::Timeouts::new(Duration::from_secs(config.start_timeout_seconds)),
        line_max: config.job_log_line_max_chars,
    });
    let adopted = jobs::recover(&context).await.map_err(DaemonError::Other)?;
    supervisor.adopt_all().await.map_err(DaemonError::Other)?;

    let certificate = read_certificate(&config).map_err(DaemonError::Other)?.map(watch::Sender::new);
    let (stop, stopped) = watch::channel(false);
    let pages = sockets::page(config.listen)?;
    let addresses: Vec<_> = pages.iter().map(TcpListener::local_addr).collect::<Result<_, _>>().map_err(other)?;
    let address = *addresses.first().ok_or_else(|| other("no socket to listen on"))?;
    let control = listen_control(&config.socket).await?;

    let site = web::Web::new(domain.clone(), machine, web_settings(&config), stopped.clone());
    let uid = rustix::process::geteuid().as_raw();
    let tidied = context.clone();
    let mut runner = tokio::spawn(jobs::runner::run(context, adopted, stopped.clone()));
    let mut page_servers = JoinSet::new();
    for page in pages {
        match &certificate {
            None => page_servers.spawn(web::server::serve_tcp(site.clone(), page, stopped.clone())),
            Some(certificate) => {
                page_servers.spawn(web::server::serve_tls(site.clone(), page, certificate.subscribe(), stopped.clone()))
            }
        };
    }
    let control_server = tokio::spawn(web::server::serve_unix(site, control, uid, stopped.clone()));
    let watchdog = tokio::spawn(feed_watchdog(domain.clone()));
    let sweeper = tokio::spawn(sweep(tidied));
    let rest = tokio::spawn(rest::follow());
    let collector = tokio::spawn(leftovers::follow(domain.clone(), overlay_paths, specs, left, overlays_changed));

    ready(&Ready { address, domain: &domain });
    let scheme = if config.tls_cert.is_some() { "https" } else { "http" };
    let everywhere: Vec<String> = addresses.iter().map(|address| format!("{scheme}://{address}")).collect();
    notify::ready(&format!("listening on {}", everywhere.join(", ")));
    log::info!("left4me {} listens on {}", env!("CARGO_PKG_VERSION"), everywhere.join(", "));

    // Only now: it tells the log what games will miss, and nobody waits for that.
    let checked = tokio::spawn(report_checks(looked_at.0, looked_at.1));
    let ended_early = tokio::select! {
        result = asked_to_stop(&config, certificate.as_ref()) => result.err().map(|error| error.to_string()),
        result = &mut runner => Some(format!("the job runner ended: {result:?}")),
    };
    notify::stopping("ending; game servers go on");
    log::info!("ending; game servers go on");
    stop.send_replace(true);
    watchdog.abort();
    sweeper.abort();
    rest.abort();
    checked.abort();
    collector.abort();
    let _ = tokio::join!(page_servers.join_all(), control_server);
    if ended_early.is_none() && tokio::time::timeout(DRAIN_JOBS, runner).await.is_err() {
        log::warn!("jobs were under way: the next daemon goes on with them");
    }
    // The socket's file stays: nobody answers there, and removing it could take a newer daemon's.
    match ended_early {
        None => Ok(()),
        Some(error) => Err(DaemonError::Other(error)),
    }
}

/// Waits for SIGTERM or SIGINT. SIGHUP reads the certificate again; what cannot be read leaves the old one in force.
async fn asked_to_stop(config: &Config, certificate: Option<&watch::Sender<Arc<ServerConfig>>>) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => {
                notify::reloading();
                match (certificate, read_certificate(config)) {
                    (Some(current), Ok(Some(new))) => {
                        current.send_replace(new);
                        log::info!("the certificate was read again");
                    }
                    (_, Err(error)) => log::error!("the certificate stays as it was: {error}"),
                    (Some(_), Ok(None)) | (None, Ok(_)) => log::info!("nothing to read again: built-in TLS is off"),
                }
                notify::ready("listening");
            }
        }
    }
}

/// The configured certificate and key; `None`: built-in TLS is off.
fn read_certificate(config: &Config) -> Result<Option<Arc<ServerConfig>>, String> {
    let (Some(certificate), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(None) };
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()));
    web::tls::configuration(&read(certificate)?, &read(key)?).map(Some)
}

/// Removes old job logs, ended sessions, forgotten failures and game layers that nothing uses: now, and once an hour.
async fn sweep(context: Arc<jobs::Context>) {
    let mut tick = tokio::time::interval(Duration::from_hours(1));
    loop {
        tick.tick().await;
        match jobs::layers::collect(&context).await {
            Ok(gone) if gone.is_empty() => {}
            Ok(gone) => log::info!("{} game layers that nothing used were removed", gone.len()),
            Err(error) => log::warn!("game layers that nothing uses stay for now: {error}"),
        }
        let swept = context.domain.clone();
        match blocking(move || swept.prune_logs()).await {
            Ok(Ok(pruned)) => log::debug!("{} old jobs and {} lines were removed", pruned.jobs, pruned.lines),
            Ok(Err(refusal)) => log::warn!("old job logs stay for now: {refusal}"),
            Err(error) => log::warn!("old job logs stay for now: {error}"),
        }
    }
}

/// Feeds systemd's watchdog while store and scheduler answer, and only then.
async fn feed_watchdog(domain: Domain) {
    let Some(period) = notify::watchdog_period() else { return };
    let mut tick = tokio::time::interval(period / 2);
    loop {
        tick.tick().await;
        let asked = domain.clone();
        match blocking(move || asked.health()).await {
            Ok(Ok(())) => notify::watchdog(),
            Ok(Err(refusal)) => log::error!("not well: {refusal}"),
            Err(error) => log::error!("not well: {error}"),
        }
    }
}

fn web_settings(config: &Config) -> web::Settings {
    web::Settings {
        public_url: config.public_url.clone(),
        public_address: config.public_address.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        tls: config.tls_cert.is_some(),
        metrics: config.metrics,
        limits: web::server::Limits::default(),
    }
}

async fn report_checks(starter: ShimStarter, paths: Paths) {
    let checks = blocking(move || probe::run(&starter, &paths)).await.unwrap_or_else(|error| {
        log::error!("the machine could not be looked at: {error}");
        Vec::new()
    });
    for check in checks {
        match check.outcome {
            Outcome::Ok => {}
            Outcome::Warning => log::warn!("{}: {}", check.name, check.text),
            Outcome::Failure => log::error!("{}: {}", check.name, check.text),
        }
    }
}

async fn listen_control(path: &Path) -> Result<UnixListener, DaemonError> {
    let wrong = |error| DaemonError::Listen { what: "socket", address: path.display().to_string(), error };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        prepare_folder(parent, 0o750)?;
    }
    // A file that nobody listens on is what a killed daemon left.
    if tokio::net::UnixStream::connect(path).await.is_ok() {
        return Err(wrong(io::Error::new(io::ErrorKind::AddrInUse, "another left4me answers there")));
    }
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(wrong(error)),
    }
    let listener = UnixListener::bind(path).map_err(wrong)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(wrong)?;
    Ok(listener)
}

fn prepare_folder(path: &Path, mode: u32) -> Result<(), DaemonError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|error| DaemonError::DataDir { path: path.display().to_string(), error })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, DaemonError> {
    blocking::run(work).await.map_err(other)
}

fn other(error: impl std::fmt::Display) -> DaemonError {
    DaemonError::Other(error.to_string())
}

impl From<Refusal> for DaemonError {
    fn from(refusal: Refusal) -> Self {
        other(refusal)
    }
}
