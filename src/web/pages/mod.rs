//! The pages, one file per noun. Handlers are small: open the gate, read the fields, one call of the domain, answer in
//! the client's shape. None of them decides a rule: the domain does.

pub mod account;
pub mod admin;
pub mod blueprints;
pub mod control;
pub mod dashboard;
pub mod doctor;
pub mod entry;
pub mod files;
pub mod jobs;
pub mod overlays;
pub mod paths;
pub mod ports;
pub mod servers;
pub mod totp;
pub mod users;
