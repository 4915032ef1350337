//! The whole product, run as its users run it: the real binary as a daemon, with its store, web page, shims, sandboxes
//! and the simulated game. What a browser shows of it is tested in `tests/browser`, what systemd makes of it in
//! `tests/packages`.

#[path = "../support/mod.rs"]
mod support;

mod builds;
mod commands;
mod contained;
mod crash;
mod fetch;
mod full;
mod games;
mod install;
mod killed;
mod life;
mod outlives;
mod overlays;
mod ports;
mod ports_cli;
mod rcon;
mod real_steamcmd;
mod rescue;
mod schemathesis;
mod terminal;
mod tls;
