//! Settings that admins change at run time.

use super::{Domain, Result};
use crate::model::user::Actor;
use serde::Serialize;

use super::pending;

/// The settings in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// Whether anybody may sign up.
    pub signup_open: bool,
    /// Most servers of one user who is no admin.
    pub max_servers_per_user: u32,
}

/// What an admin changes; `None`: nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct SettingsChange {
    /// Whether anybody may sign up.
    pub signup_open: Option<bool>,
    /// Most servers of one user who is no admin.
    pub max_servers_per_user: Option<u32>,
}

impl Domain {
    /// See the contract.
    pub fn settings(&self) -> Result<Settings> {
        pending()
    }

    /// See the contract.
    pub fn update_settings(&self, actor: &Actor, change: SettingsChange) -> Result<Settings> {
        let _ = (actor, change);
        pending()
    }
}
