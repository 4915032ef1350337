//! What admins change at run time. Where a value is set here, it wins over the configuration file.

use serde::{Deserialize, Serialize};

/// The admins' settings; `None`: the configuration file's value counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSettings {
    /// Whether anybody may sign up.
    pub signup_open: Option<bool>,
    /// Most servers of one user who is no admin.
    pub max_servers_per_user: Option<u32>,
}
