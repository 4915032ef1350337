//! What the daemon says to systemd: [`notify`] for its state, [`journal`] for its log.
//!
//! Called by `cli` (logging) and `daemon` (state). Both do nothing harmful where systemd is absent.

pub mod journal;
pub mod notify;
