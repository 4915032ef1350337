//! Sign-up, log-in and sessions of browsers.

use super::{Domain, Result};
use crate::model::user::{Session, User};

use super::pending;

/// The secret of a session, as its cookie carries it. Shown by no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken(pub String);

impl Domain {
    /// See the contract.
    pub fn sign_up(&self, address: &str, username: &str, password: &str) -> Result<(SessionToken, User)> {
        let _ = (address, username, password);
        pending()
    }

    /// See the contract.
    pub fn log_in(
        &self,
        address: &str,
        username: &str,
        password: &str,
        code: Option<&str>,
    ) -> Result<(SessionToken, User)> {
        let _ = (address, username, password, code);
        pending()
    }

    /// See the contract.
    pub fn session(&self, token: &str) -> Result<Option<(User, Session)>> {
        let _ = (token,);
        pending()
    }

    /// See the contract.
    pub fn log_out(&self, token: &str) -> Result<()> {
        let _ = (token,);
        pending()
    }
}
