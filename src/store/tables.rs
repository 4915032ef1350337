//! Every table of the store: its key, its value, and why it is there.
//!
//! The number at the end of a name is the form of the *keys*; the number beside it is the form of the *values*, their
//! first byte. Changing either needs a migration. Tables whose value is `()` or an id are indexes: they are written in
//! the same transaction as what they point to, and hold nothing of their own.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use crate::model::audit::AuditEntry;
use crate::model::blueprint::Blueprint;
use crate::model::build::Build;
use crate::model::id::{AuditId, BlueprintId, BuildId, JobId, OverlayId, ReservationId, ServerId, TokenId, UserId};
use crate::model::job::{Job, JobLine};
use crate::model::overlay::{Overlay, Revision};
use crate::model::port::{PortClaim, Reservation};
use crate::model::server::Server;
use crate::model::settings::StoredSettings;
use crate::model::time::Timestamp;
use crate::model::user::{ApiToken, Session, User};

/// A table with keys `K` and values `V`.
pub struct Table<K, V> {
    /// Its name in the file.
    pub(super) name: &'static str,
    /// First byte of its values.
    pub(super) version: u8,
    kinds: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Table<K, V> {
    const fn new(name: &'static str, version: u8) -> Self {
        Self { name, version, kinds: PhantomData }
    }
}

macro_rules! tables {
    ($($(#[$doc:meta])+ $name:ident: $key:ty => $value:ty = $file_name:literal, $version:literal;)+) => {
        $($(#[$doc])+ pub const $name: Table<$key, $value> = Table::new($file_name, $version);)+
        /// Names of all tables, for creation and backup.
        pub(super) const NAMES: &[&str] = &[$($file_name),+];
    };
}

tables! {
    /// Numbers about the store itself: `schema`, the newest migration that was applied.
    META: String => u64 = "meta.1", 1;
    /// The last number given out, by kind of object. It never goes back, so no id is used twice.
    COUNTERS: String => u64 = "counters.1", 1;
    /// Choices of the box that are one record each: see [`SETTINGS_KEY`].
    SETTINGS: String => StoredSettings = "settings.1", 1;

    /// Users.
    USERS: UserId => User = "users.1", 1;
    /// Lower-case username → user. Makes names unique and logging in one lookup.
    USERNAMES: String => UserId = "usernames.1", 1;
    /// SHA-256 of the cookie → session.
    SESSIONS: [u8; 32] => Session = "sessions.1", 1;
    /// Sessions of a user, to end them all.
    SESSIONS_BY_USER: (UserId, [u8; 32]) => () = "sessions_by_user.1", 1;
    /// API tokens.
    TOKENS: TokenId => ApiToken = "tokens.1", 1;
    /// SHA-256 of the token → token.
    TOKENS_BY_DIGEST: [u8; 32] => TokenId = "tokens_by_digest.1", 1;
    /// Tokens of a user.
    TOKENS_BY_USER: (UserId, TokenId) => () = "tokens_by_user.1", 1;
    /// Token → the token that it was made with: it goes when that one goes.
    TOKEN_MAKERS: TokenId => TokenId = "token_makers.1", 1;
    /// Recent attempts: failed log-ins as `address …` and `name …`, sign-ups as `sign-up …` → when.
    ATTEMPTS: String => Attempts = "attempts.1", 1;
    /// Second factors that were offered and not confirmed.
    OFFERED_FACTORS: UserId => OfferedFactor = "offered_factors.1", 1;

    /// Overlays.
    OVERLAYS: OverlayId => Overlay = "overlays.1", 1;
    /// Name → overlay. Unique on the box; lists overlays by name.
    OVERLAY_NAMES: String => OverlayId = "overlay_names.1", 1;
    /// Revisions of managed overlays.
    REVISIONS: (OverlayId, u64) => Revision = "revisions.1", 1;
    /// Blueprints.
    BLUEPRINTS: BlueprintId => Blueprint = "blueprints.1", 1;
    /// Owner and name → blueprint. Unique per owner; lists a user's blueprints by name.
    BLUEPRINT_NAMES: (UserId, String) => BlueprintId = "blueprint_names.1", 1;
    /// Blueprints that use an overlay.
    BLUEPRINTS_BY_OVERLAY: (OverlayId, BlueprintId) => () = "blueprints_by_overlay.1", 1;

    /// Servers.
    SERVERS: ServerId => Server = "servers.1", 1;
    /// Owner and name → server. Unique per owner; lists a user's servers by name and counts them for the quota.
    SERVER_NAMES: (UserId, String) => ServerId = "server_names.1", 1;
    /// Servers that follow a blueprint.
    SERVERS_BY_BLUEPRINT: (BlueprintId, ServerId) => () = "servers_by_blueprint.1", 1;

    /// Port → claim: the one table of every port of the box.
    CLAIMS: u16 => PortClaim = "claims.1", 1;
    /// Ports of a server (its retiring ones too).
    CLAIMS_BY_SERVER: (ServerId, u16) => () = "claims_by_server.1", 1;
    /// Ports of a reservation.
    CLAIMS_BY_RESERVATION: (ReservationId, u16) => () = "claims_by_reservation.1", 1;
    /// Reservations.
    RESERVATIONS: ReservationId => Reservation = "reservations.1", 1;

    /// Jobs. Never removed.
    JOBS: JobId => Job = "jobs.1", 1;
    /// Queued and running jobs → their place in the queue (their own number, or that of the interrupted job which they
    /// run again), so that the runner and the dashboard never look at ended jobs.
    ACTIVE_JOBS: JobId => u64 = "active_jobs.1", 1;
    /// Jobs of a server; read backwards: newest first, and the last job in one step. Server 0 holds the installs.
    JOBS_BY_SERVER: (ServerId, JobId) => () = "jobs_by_server.1", 1;
    /// Jobs that a user may see: who asked, and the server's owner.
    JOBS_BY_VIEWER: (UserId, JobId) => () = "jobs_by_viewer.1", 1;
    /// Log lines by job and sequence number.
    JOB_LINES: (JobId, u64) => JobLine = "job_lines.1", 1;
    /// Jobs that have stored lines, so that retention need not look at the others.
    LOGGED_JOBS: JobId => () = "logged_jobs.1", 1;

    /// Builds.
    BUILDS: BuildId => Build = "builds.1", 1;
    /// [`ACTIVE_BUILD_KEY`] → the build that servers which start now use.
    ACTIVE_BUILD: String => BuildId = "active_build.1", 1;

    /// The audit log, oldest first.
    AUDIT: AuditId => AuditEntry = "audit.1", 1;
}

/// Key of the one record in [`SETTINGS`].
pub const SETTINGS_KEY: &str = "settings";
/// Key of the one record in [`ACTIVE_BUILD`].
pub const ACTIVE_BUILD_KEY: &str = "active";
/// The server number that stands for installs in [`JOBS_BY_SERVER`]; real ids begin at 1.
pub const INSTALL_LANE: ServerId = ServerId(0);

/// Attempts to log in that failed or are under way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// When, and which one (an attempt that turns out right is taken out again), oldest first.
    pub tries: Vec<(Timestamp, u64)>,
}

/// A second factor that waits for its first code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedFactor {
    /// The shared secret.
    pub secret: Vec<u8>,
    /// When it was offered.
    pub offered_at: Timestamp,
}
