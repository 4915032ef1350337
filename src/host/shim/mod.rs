//! The shim: the process between left4me and a program from outside. It owns the terminal, the console log and the
//! process tree, and outlives the daemon.
//!
//! ```text
//! starter ──launch request──▶ shim ──clone──▶ init (PID 1 of the sandbox) ──clone──▶ program
//!    │                         │  ▲              │
//!    ◀──── started/failed ─────┘  └── reports ───┘
//! daemon ◀── shim.sock: lines in, notifications out; console bytes lie in files ──▶ readers
//! ```
//!
//! The shim's own process runs [`main`], [`serve`], [`init`], [`log`], [`clients`], [`journal`], [`state`]; the daemon uses
//! [`client`] and [`starter`]; both speak [`protocol`].

pub mod client;
pub mod clients;
pub mod init;
pub mod journal;
pub mod log;
pub mod main;
pub mod protocol;
pub mod serve;
pub mod starter;
pub mod state;
