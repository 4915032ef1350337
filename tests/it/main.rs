//! The fast tier: the real binary without a daemon, the web over real HTTP with a real store, and rules about the code;
//! no browser, no namespaces.

mod harness;
mod sim_config;
mod sim_game;
mod web_auth;
mod web_objects;
mod web_shell;
mod web_streams;
