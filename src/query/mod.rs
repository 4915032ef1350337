//! Asking a running game over the network: [`a2s`] for what it plays, [`rcon`] for its console, [`status`] for what that
//! says of who plays.
//!
//! Called by `supervise` (probes) and by tests. Own codecs, because what answers is a program of strangers: everything
//! read is bounded and nothing in here panics on bytes from outside. Knows no server record and no store.

pub mod a2s;
pub mod rcon;
pub mod status;
