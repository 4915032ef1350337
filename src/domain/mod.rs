//! What left4me does, as operations: each public one is one transaction, authorises its actor, writes its audit entry
//! and notes its events.
//!
//! Called by web, jobs, supervise and the command line, always on a thread that may block. It holds no state of its own
//! beyond the store, touches no process and no game file, and chooses no HTTP status.

pub mod audit;
pub mod blueprints;
pub mod builds;
pub mod error;
pub mod jobs;
pub mod overlays;
pub mod ports;
pub mod second_factor;
pub mod servers;
pub mod sessions;
pub mod settings;
pub mod tokens;
pub mod users;

use std::path::PathBuf;
use std::sync::Arc;

pub use error::{Refusal, Result};

use crate::live::Hub;
use crate::model::port::PortRange;
use crate::store::Store;

/// What the configuration says about the rules; settings of admins at run time win over it.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Ports that automatic choice takes from.
    pub port_range: PortRange,
    /// Most servers of one user who is no admin.
    pub max_servers_per_user: u32,
    /// Path overlays must lie under it. Absolute.
    pub overlay_root: PathBuf,
    /// Where everything is kept. Absolute.
    pub data_dir: PathBuf,
    /// Whether anybody may sign up.
    pub signup_open: bool,
    /// Most characters of a stored job line.
    pub log_line_max_chars: usize,
    /// Most job lines that one read gives.
    pub log_replay_limit: usize,
}

/// The operations. Clones share one store.
#[derive(Clone)]
pub struct Domain {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    rules: Rules,
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// What [`Items::next`] said; `None`: from the beginning.
    pub cursor: Option<String>,
    /// Most items; 0 means [`Page::DEFAULT`], and more than [`Page::MAX`] means that.
    pub limit: usize,
}

impl Page {
    /// Items of a page when nothing else is asked for.
    pub const DEFAULT: usize = 50;
    /// Most items of a page.
    pub const MAX: usize = 500;

    /// The first `limit` items.
    pub fn first(limit: usize) -> Self {
        Self { cursor: None, limit }
    }
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Items<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next part begins; `None`: this was the last.
    pub next: Option<String>,
}

impl Domain {
    /// The operations on `store` under `rules`.
    pub fn new(store: Store, rules: Rules) -> Self {
        Self { inner: Arc::new(Inner { store, rules }) }
    }

    /// The rules of the configuration.
    pub fn rules(&self) -> &Rules {
        &self.inner.rules
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Where changes are announced after their commit.
    pub fn hub(&self) -> &Hub {
        self.inner.store.hub()
    }

    /// Whether the store can be read and written.
    pub fn health(&self) -> Result<()> {
        pending()
    }
}

fn pending<T>() -> Result<T> {
    Err(Refusal::Conflict("not there yet".into()))
}
