//! left4me turns a Linux box into a Left 4 Dead 2 server host: one binary, a web page, no root.
//!
//! # The map
//!
//! ```text
//! browser ──HTTP/SSE──┐                                   ┌─ shim 42 ── init ── srcds_linux   (own user, mount, PID, IPC, UTS namespaces)
//! CLI ──Unix socket───┤ left4me serve ──Unix sockets──────┤     └ pty → runtime/42/console/*.log, journald, subscribers
//! Prometheus ─────────┘   redb (one file)                 └─ shim 43 ── …
//! ```
//!
//! `serve` is the daemon: unprivileged, without namespaces of its own. Every program from outside (a game, SteamCMD)
//! runs under a *shim*: this same binary, single-threaded, which owns the pty, the console log and the process tree and
//! outlives the daemon. A new daemon finds the shims' sockets and adopts what runs.
//!
//! # Layers: imports point down only
//!
//! | L | module | what | may import |
//! |---|---|---|---|
//! | 6 | `main`, [`cli`], [`demo`] | dispatch; commands; the built-in simulated game | daemon, config, model, below where a command works without a daemon; `host::shim` (main only) |
//! | 5 | [`daemon`] | composition root: open, migrate, recover, adopt, serve, notify, drain | all below |
//! | 4 | [`web`] · [`jobs`] · [`supervise`] | three drivers that never import each other | domain, live, blocking, model; jobs and supervise also host; supervise also query |
//! | 3 | [`domain`] | one public operation = one transaction; authorises its actor | store, model |
//! | 3 | [`host`] | effects on the machine; knows no users and no store | sys, model |
//! | 2 | [`store`] | tables, codec, migrations, read/write | live, model |
//! | 1 | [`sys`] · [`query`] · [`live`] · [`blocking`] · [`systemd`] · [`config`] | syscalls (the only `unsafe`) · A2S, RCON · event hub · work off the serving threads · notify, journal · settings | model |
//! | 0 | [`model`] | plain types, state machines, parsing; no I/O | std, serde |
//!
//! `tests/it/tidy.rs` holds the code to this table. Where two drivers must meet (a page types into a console, a job
//! starts an instance) they do so through the traits of [`model::machine`], which the daemon supplies.
//!
//! # One way for data
//!
//! ```text
//! HTTP → web/pages → domain operation [ONE write transaction: check, write, enqueue job, note events] → commit
//!    commit wakes jobs::runner → host (overlay, shim, steamcmd) → domain::jobs::finish [transaction] → commit
//!    each commit → live (events) → web/sse → page         supervise: what shims and probes report → domain [transaction]
//! ```
//!
//! Uniqueness (ports, names, users) is checked and written in the same transaction; the store has one writer, so no
//! race exists and nothing retries. No transaction is held across work on the machine. Console bytes never enter the
//! store: the shim's files are their home.

pub mod blocking;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod domain;
pub mod host;
pub mod jobs;
pub mod live;
pub mod model;
pub mod query;
pub mod store;
pub mod supervise;
pub mod sys;
pub mod systemd;
pub mod web;
