//! The fast tier: the real binary without a daemon, and rules about the code.

mod sim_config;
mod sim_game;
