//! The fast tier: real HTTP over a real listener with a real store; no browser, no namespaces.

mod harness;
mod web_auth;
mod web_objects;
mod web_shell;
mod web_streams;
