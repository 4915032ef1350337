//! Settings that admins change at run time. They win over the configuration file.

use serde::Serialize;

use super::audit::note;
use super::{Domain, Result, require_admin};
use crate::model::settings::StoredSettings;
use crate::model::user::Actor;
use crate::store::Read;
use crate::store::tables::{SETTINGS, SETTINGS_KEY};

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
    /// The settings in force.
    pub fn settings(&self) -> Result<Settings> {
        self.settings_in(&self.read()?)
    }

    /// The settings in force, as this transaction sees them.
    pub(super) fn settings_in(&self, read: &impl Read) -> Result<Settings> {
        let stored = read.get(&SETTINGS, &SETTINGS_KEY.to_owned())?.unwrap_or_default();
        Ok(self.in_force(&stored))
    }

    fn in_force(&self, stored: &StoredSettings) -> Settings {
        Settings {
            signup_open: stored.signup_open.unwrap_or(self.rules().signup_open),
            max_servers_per_user: stored.max_servers_per_user.unwrap_or(self.rules().max_servers_per_user),
        }
    }

    /// Changes settings. Admins only.
    pub fn update_settings(&self, actor: &Actor, change: SettingsChange) -> Result<Settings> {
        require_admin(actor)?;
        self.write(|tx| {
            let key = SETTINGS_KEY.to_owned();
            let old = tx.get(&SETTINGS, &key)?.unwrap_or_default();
            let new = StoredSettings {
                signup_open: change.signup_open.or(old.signup_open),
                max_servers_per_user: change.max_servers_per_user.or(old.max_servers_per_user),
            };
            let settings = self.in_force(&new);
            if new != old {
                tx.put(&SETTINGS, &key, &new)?;
                let text = format!(
                    "signup {}, at most {} servers per user",
                    if settings.signup_open { "open" } else { "closed" },
                    settings.max_servers_per_user
                );
                note(tx, self.now(), actor, "settings.update", &text)?;
            }
            Ok(settings)
        })
    }
}
