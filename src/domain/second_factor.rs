//! Second factor: TOTP (RFC 6238) and recovery codes.

use super::{Domain, Result};
use crate::model::user::Actor;

use super::pending;

/// What a person needs to set up an authenticator.
#[derive(Clone)]
pub struct SecondFactorOffer {
    /// The secret in base32, to be typed.
    pub secret: String,
    /// `otpauth://…`, for a QR code.
    pub uri: String,
}

impl Domain {
    /// See the contract.
    pub fn second_factor_begin(&self, actor: &Actor) -> Result<SecondFactorOffer> {
        let _ = (actor,);
        pending()
    }

    /// See the contract.
    pub fn second_factor_confirm(&self, actor: &Actor, code: &str) -> Result<Vec<String>> {
        let _ = (actor, code);
        pending()
    }

    /// See the contract.
    pub fn second_factor_remove(&self, actor: &Actor, password: &str) -> Result<()> {
        let _ = (actor, password);
        pending()
    }
}
