//! Effects on the machine: layers, instances, sandboxes, shims, ports. Knows no users and no store.
//!
//! Called by jobs, supervise, the daemon and a few commands; the shim's own process runs [`shim::main`] and nothing else
//! of left4me. Everything here blocks, but for [`shim::client`] and [`fetch`].

pub mod archive;
pub mod console;
pub mod doctor;
pub mod fetch;
pub mod history;
pub mod instance;
pub mod launch;
pub mod layers;
pub mod paths;
pub mod ports;
pub mod probe;
pub mod remedy;
pub mod restored;
pub mod sandbox;
pub mod shim;
pub mod snapshots;
pub mod stack;
pub mod steam;
pub mod steamcmd;
pub mod strays;
pub mod usage;
pub mod written;
