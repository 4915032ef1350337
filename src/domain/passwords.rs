//! Passwords: how strong they must be, and their argon2id digests.
//!
//! Hashing takes about 20 ms and 19 MiB: callers bound how many run at a time. No transaction is open meanwhile.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};

use super::{Refusal, Result, secrets};
use crate::model::FieldError;

/// Fewest characters.
const MIN_CHARS: usize = 8;
/// Most bytes: argon2 would take more, but nobody types it.
const MAX_BYTES: usize = 1024;
/// Least zxcvbn score, of 4.
const MIN_SCORE: u8 = 2;

/// A digest that no password has, with the parameters of real ones: an unknown user costs the same work as a known one.
/// The salt and output are those of RFC 9106's style of example, not secret.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5bm9ib2R5$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Refuses a password that is too weak, saying why. `field` is what the form calls it.
pub(super) fn check(field: &'static str, username: &str, password: &str) -> std::result::Result<(), FieldError> {
    if password.chars().count() < MIN_CHARS {
        return Err(FieldError::new(field, format!("must have at least {MIN_CHARS} characters")));
    }
    if password.len() > MAX_BYTES {
        return Err(FieldError::new(field, format!("must have at most {MAX_BYTES} bytes")));
    }
    // zxcvbn's work grows with the square of the length; the first hundred characters decide.
    let head: String = password.chars().take(100).collect();
    let estimate = zxcvbn::zxcvbn(&head, &[username, "left4me", "left4dead"]);
    if u8::from(estimate.score()) >= MIN_SCORE {
        return Ok(());
    }
    let mut message = "is too easy to guess".to_owned();
    if let Some(feedback) = estimate.feedback() {
        if let Some(warning) = feedback.warning() {
            message.push_str(": ");
            message.push_str(&warning.to_string());
        }
        for advice in feedback.suggestions() {
            message.push_str(" — ");
            message.push_str(&advice.to_string());
        }
    }
    Err(FieldError::new(field, message))
}

/// The digest of a password, as a PHC string with its own salt.
pub(super) fn hash(password: &str) -> Result<String> {
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|digest| digest.to_string())
        .map_err(|error| Refusal::Conflict(format!("the password could not be hashed: {error}")))
}

/// Whether the password is the digest's. Without a digest (no such user) the same work is done for nothing.
pub(super) fn verify(password: &str, digest: Option<&str>) -> bool {
    // An absurdly long one is cut before it costs more than others; no stored password is that long.
    let mut end = password.len().min(MAX_BYTES + 1);
    while !password.is_char_boundary(end) {
        end -= 1;
    }
    let password = &password.as_bytes()[..end];
    let matches = PasswordHash::new(digest.unwrap_or(NOBODY))
        .is_ok_and(|parsed| Argon2::default().verify_password(password, &parsed).is_ok());
    matches && digest.is_some()
}

/// A random password that passes every rule.
pub(super) fn random() -> Result<String> {
    Ok(secrets::base64url(&secrets::random::<18>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_argon2id_and_knows_its_password_only() {
        let digest = hash("correct horse battery").unwrap();
        assert!(digest.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{digest}");
        assert!(verify("correct horse battery", Some(&digest)));
        assert!(!verify("correct horse batterz", Some(&digest)));
        assert_ne!(digest, hash("correct horse battery").unwrap(), "each has its own salt");
    }

    #[test]
    fn the_digest_of_nobody_is_well_formed_so_that_it_costs_work() {
        assert!(PasswordHash::new(NOBODY).is_ok());
        assert!(!verify("x", None));
        assert!(!verify("x", Some("no digest")));
    }

    #[test]
    fn weak_passwords_are_refused_and_the_field_is_named() {
        assert_eq!(
            check("password", "bob", "Aq3$x").unwrap_err().to_string(),
            "password: must have at least 8 characters"
        );
        for weak in ["password", "12345678", "bobbobbob", "qwertyuiop"] {
            let error = check("password", "bob", weak).unwrap_err();
            assert!(error.message.starts_with("is too easy to guess"), "{weak}: {error}");
        }
        assert!(check("password", "bob", &"x1Z ".repeat(400)).is_err(), "too long");
        check("password", "bob", "violet tramway 93").unwrap();
        check("password", "admin", &random().unwrap()).unwrap();
    }

    #[test]
    fn the_username_does_not_make_a_password_strong() {
        assert!(check("password", "zwiebelturm77", "zwiebelturm77").is_err());
        assert!(check("password", "other", "zwiebelturm77").is_ok());
    }
}
