//! The fast tier: store and domain on real files, the real binary without a daemon, the web over real HTTP with a real
//! store, and rules about the code; no browser, no namespaces.

mod domain_accounts;
mod domain_catalog;
mod domain_jobs;
mod domain_kit;
mod domain_ports;
mod domain_ports_property;
mod domain_servers;
mod harness;
mod leftovers;
mod sim_config;
mod sim_game;
mod store_file;
mod store_full;
mod store_killed;
mod store_writes;
mod tidy;
#[path = "../support/totp.rs"]
mod totp;
mod web_ask;
mod web_auth;
mod web_jobs;
mod web_memo;
mod web_objects;
mod web_paths;
mod web_pending;
mod web_rows;
mod web_shell;
mod web_streams;
mod web_table;
mod web_totp;
mod web_uploads;
