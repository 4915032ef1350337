//! What left4me does, as operations: each public one is one transaction, authorises its actor, writes its audit entry
//! and notes its events.
//!
//! Called by web, jobs, supervise and the command line, always on a thread that may block. It holds no state of its own
//! beyond the store, touches no process and no game file, and chooses no HTTP status.

mod allocation;
pub mod audit;
pub mod blueprints;
pub mod builds;
mod claims;
pub mod error;
pub mod jobs;
mod lockout;
mod memory;
mod observed;
mod overlay_path;
pub mod overlays;
mod passwords;
pub mod ports;
mod queue;
mod retention;
mod revisions;
pub mod second_factor;
mod secrets;
mod server_change;
pub mod servers;
pub mod sessions;
pub mod settings;
pub mod tokens;
pub mod users;
mod work;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

pub use error::{Refusal, Result};

use crate::model::FieldError;
use crate::model::id::UserId;
use crate::model::port::PortRange;
use crate::model::time::Timestamp;
use crate::model::user::{Actor, ApiToken, Session, User};
use crate::store::{Hub, Key, Snapshot, Span, Store, Tx};
use memory::Memory;
use ports::PortCounts;

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
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    port_counts: Mutex<PortCounts>,
    dense: Mutex<Option<allocation::Dense>>,
    sessions: Mutex<Memory<(User, Session)>>,
    tokens: Mutex<Memory<(User, ApiToken)>>,
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
        Self::with_clock(store, rules, Timestamp::now)
    }

    /// The same with a clock of the caller's choice: expiries and retention can be tested without waiting.
    pub fn with_clock(store: Store, rules: Rules, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                rules,
                clock: Box::new(clock),
                port_counts: Mutex::default(),
                dense: Mutex::default(),
                sessions: Mutex::default(),
                tokens: Mutex::default(),
            }),
        }
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

    /// Whether the store can be read and the newest write reached the disk.
    pub fn health(&self) -> Result<()> {
        Ok(self.inner.store.health()?)
    }

    /// Which state the operations see; see [`Store::version`].
    pub fn version(&self) -> u64 {
        self.inner.store.version()
    }

    fn now(&self) -> Timestamp {
        (self.inner.clock)()
    }

    fn read(&self) -> Result<Snapshot> {
        Ok(self.inner.store.read()?)
    }

    fn write<T>(&self, work: impl FnOnce(&mut Tx) -> Result<T>) -> Result<T> {
        self.inner.store.write(work)
    }
}

impl Page {
    fn size(&self) -> usize {
        match self.limit {
            0 => Self::DEFAULT,
            limit => limit.min(Self::MAX),
        }
    }

    /// Narrows `span` to what comes after the cursor.
    fn narrow(&self, span: Span) -> Result<Span> {
        self.narrow_by(Vec::new(), span)
    }

    /// The same for an index whose keys begin with `first`, which the cursor leaves out.
    fn narrow_under(&self, first: &impl Key, span: Span) -> Result<Span> {
        self.narrow_by(first.bytes(), span)
    }

    fn narrow_by(&self, mut first: Vec<u8>, span: Span) -> Result<Span> {
        let Some(cursor) = &self.cursor else { return Ok(span) };
        let key = secrets::from_hex(cursor)
            .ok_or_else(|| FieldError::new("cursor", "is not one that a list gave: begin without it"))?;
        first.extend(key);
        Ok(span.past(first))
    }

    /// Whether `found` items are more than the page holds, so that looking may end.
    fn is_full(&self, found: usize) -> bool {
        found > self.size()
    }

    /// The page of what was found, which may hold one item too many: the sign that there is more.
    fn cut<K: Key, T>(&self, mut found: Vec<(K, T)>) -> Items<T> {
        let more = found.len() > self.size();
        found.truncate(self.size());
        let next = found.last().filter(|_| more).map(|(key, _)| secrets::hex(&key.bytes()));
        Items { items: found.into_iter().map(|(_, item)| item).collect(), next }
    }
}

/// Refuses an actor who is no admin.
fn require_admin(actor: &Actor) -> Result<()> {
    if actor.admin { Ok(()) } else { Err(Refusal::Forbidden("only admins may do this".into())) }
}

/// The user who acts; the box itself is none.
fn acting_user(actor: &Actor) -> Result<UserId> {
    actor.user_id.ok_or_else(|| Refusal::Forbidden("the box itself owns nothing: log in as a user".into()))
}
