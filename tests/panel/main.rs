//! The whole product, run as its users run it: the real binary as a daemon, with its store, web page, shims, sandboxes
//! and the simulated game. What a browser shows of it is tested in `tests/browser`, what systemd makes of it in
//! `tests/packages`.

#[path = "../support/mod.rs"]
mod support;

mod contained;
mod crash;
mod games;
mod killed;
mod life;
mod outlives;
mod ports;
mod rcon;
mod schemathesis;
mod terminal;
