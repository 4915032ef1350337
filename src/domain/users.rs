//! Users: accounts, admins, passwords.

use super::{Domain, Items, Page, Result};
use crate::model::id::UserId;
use crate::model::user::{Actor, User};

use super::pending;

/// What an admin changes about a user; `None`: nothing.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    /// May manage the box.
    pub admin: Option<bool>,
    /// May not log in.
    pub disabled: Option<bool>,
}

impl Domain {
    /// See the contract.
    pub fn has_users(&self) -> Result<bool> {
        pending()
    }

    /// See the contract.
    pub fn signup_open(&self) -> Result<bool> {
        pending()
    }

    /// See the contract.
    pub fn reset_admin(&self, username: &str) -> Result<(User, String)> {
        let _ = (username,);
        pending()
    }

    /// See the contract.
    pub fn promote_admin(&self, actor: &Actor, username: &str) -> Result<User> {
        let _ = (actor, username);
        pending()
    }

    /// See the contract.
    pub fn list_users(&self, actor: &Actor, page: &Page) -> Result<Items<User>> {
        let _ = (actor, page);
        pending()
    }

    /// See the contract.
    pub fn user(&self, actor: &Actor, id: UserId) -> Result<User> {
        let _ = (actor, id);
        pending()
    }

    /// See the contract.
    pub fn user_names(&self, ids: &[UserId]) -> Result<std::collections::HashMap<UserId, String>> {
        let _ = (ids,);
        pending()
    }

    /// See the contract.
    pub fn update_user(&self, actor: &Actor, id: UserId, change: UserChange) -> Result<User> {
        let _ = (actor, id, change);
        pending()
    }

    /// See the contract.
    pub fn delete_user(&self, actor: &Actor, id: UserId) -> Result<()> {
        let _ = (actor, id);
        pending()
    }

    /// See the contract.
    pub fn change_password(&self, actor: &Actor, keep_session: Option<&str>, current: &str, new: &str) -> Result<()> {
        let _ = (actor, keep_session, current, new);
        pending()
    }
}
