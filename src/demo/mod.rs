//! The built-in simulated game and the sample data of `left4me demo`: the first look, without root, Steam or systemd.
//!
//! Two programs of strangers are simulated, each chosen by the name under which this binary is started: `srcds_linux`
//! ([`srcds`]) and `steamcmd` ([`steamcmd`]). Everything else in the demo is the product itself: the same daemon,
//! shim, sandbox, layers and jobs. Nothing in the product knows that it is a demo.

pub mod bots;
pub mod content;
pub mod game;
pub mod srcds;
pub mod steamcmd;
pub mod wire;
