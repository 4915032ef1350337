//! Stands in for the composition root until it is merged (`src/daemon.rs`): the same signatures.

use std::io;

use crate::config::Config;
use crate::domain::{Domain, Rules};
use crate::live::Hub;
use crate::store::Store;

/// See `daemon.rs`.
pub struct Ready<'a> {
    /// Where the page is.
    pub address: std::net::SocketAddr,
    /// The store's operations.
    pub domain: &'a Domain,
}

/// See `daemon.rs`.
pub fn open_domain(config: &Config) -> Result<Domain, io::Error> {
    std::fs::create_dir_all(&config.overlay_root)?;
    let store = Store::open(&config.data_dir.join("left4me.redb"), Hub::new()).map_err(io::Error::other)?;
    Ok(Domain::new(
        store,
        Rules {
            port_range: config.port_range,
            max_servers_per_user: config.max_servers_per_user,
            overlay_root: config.overlay_root.clone(),
            data_dir: config.data_dir.clone(),
            signup_open: config.signup == crate::config::Signup::Open,
            log_line_max_chars: config.job_log_line_max_chars,
            log_replay_limit: config.job_log_replay_limit,
        },
    ))
}

/// See `daemon.rs`.
pub async fn serve(config: Config, ready: impl FnOnce(&Ready<'_>)) -> Result<(), io::Error> {
    let domain = open_domain(&config)?;
    ready(&Ready { address: config.listen, domain: &domain });
    Ok(())
}
