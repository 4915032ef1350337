//! API tokens.

use super::{Domain, Result};
use crate::model::id::TokenId;
use crate::model::time::Timestamp;
use crate::model::user::{Actor, ApiToken, Scope, User};

use super::pending;

impl Domain {
    /// See the contract.
    pub fn create_token(
        &self,
        actor: &Actor,
        label: &str,
        scope: Scope,
        expires_at: Option<Timestamp>,
    ) -> Result<(String, ApiToken)> {
        let _ = (actor, label, scope, expires_at);
        pending()
    }

    /// See the contract.
    pub fn list_tokens(&self, actor: &Actor) -> Result<Vec<ApiToken>> {
        let _ = (actor,);
        pending()
    }

    /// See the contract.
    pub fn revoke_token(&self, actor: &Actor, id: TokenId) -> Result<()> {
        let _ = (actor, id);
        pending()
    }

    /// See the contract.
    pub fn authenticate(&self, bearer: &str) -> Result<Option<(User, ApiToken)>> {
        let _ = (bearer,);
        pending()
    }
}
