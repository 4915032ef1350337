//! Plain types, state machines and parsing: the words that every layer shares.
//!
//! Nothing here does I/O or knows a table, a URL or a path of this machine. Parsing is total: whatever comes from
//! outside becomes either a value that keeps its rules or a [`FieldError`] that names the field and says how to mend it.

pub mod ansi;
pub mod audit;
pub mod blueprint;
pub mod build;
pub mod difference;
pub mod event;
pub mod id;
pub mod job;
pub mod layers;
pub mod machine;
pub mod name;
pub mod network;
pub mod overlay;
pub mod pace;
pub mod port;
pub mod server;
pub mod settings;
pub mod spec;
pub mod time;
pub mod user;

use serde::Serialize;

/// What is wrong with one field of a request, in words for the person who filled it in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    /// Name of the JSON key or form field.
    pub field: &'static str,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl FieldError {
    /// An error about `field`.
    pub fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, message: message.into() }
    }
}
