//! Second factor: TOTP (RFC 6238: SHA-1, 6 digits, 30 seconds, one step of tolerance) and recovery codes.
//!
//! No code works twice: the last accepted step is stored, in the transaction that makes the session. A recovery code is
//! removed when it is used.

use subtle::ConstantTimeEq;
use totp_rs::{Builder, Totp};

use super::audit::{note, object};
use super::users::user_of;
use super::{Domain, Refusal, Result, acting_user, lockout, passwords, secrets};
use crate::model::FieldError;
use crate::model::time::Timestamp;
use crate::model::user::{Actor, SecondFactor};
use crate::store::Read;
use crate::store::tables::{OFFERED_FACTORS, OfferedFactor, USERS};

/// Bytes of a shared secret (RFC 4226 §4 recommends 160 bits).
const SECRET_BYTES: usize = 20;
/// Recovery codes that are given out.
const RECOVERY_CODES: usize = 10;
/// How long an offer may be confirmed, seconds.
const OFFER_SECONDS: i64 = 3600;

/// What a person needs to set up an authenticator.
#[derive(Clone)]
pub struct SecondFactorOffer {
    /// The secret in base32, to be typed.
    pub secret: String,
    /// `otpauth://…`, for a QR code.
    pub uri: String,
}

impl Domain {
    /// Offers the actor a second factor; nothing changes until it is confirmed. Asking again gives a new one.
    pub fn second_factor_begin(&self, actor: &Actor) -> Result<SecondFactorOffer> {
        let id = acting_user(actor)?;
        let secret = secrets::random::<SECRET_BYTES>()?;
        let now = self.now();
        let user = self.write(|tx| {
            let user = user_of(tx, id)?;
            if user.second_factor.is_some() {
                return Err(Refusal::Conflict("a second factor is set up: remove it first".into()));
            }
            tx.put(&OFFERED_FACTORS, &id, &OfferedFactor { secret: secret.to_vec(), offered_at: now })?;
            Ok(user)
        })?;
        let text = secrets::base32(&secret);
        let uri = format!("otpauth://totp/left4me:{}?secret={text}&issuer=left4me", percent_encoded(&user.username));
        Ok(SecondFactorOffer { secret: text, uri })
    }

    /// Switches the offered second factor on, given a code of it, and returns the recovery codes, once.
    pub fn second_factor_confirm(&self, actor: &Actor, code: &str) -> Result<Vec<String>> {
        let id = acting_user(actor)?;
        let now = self.now();
        let mut codes = Vec::new();
        for _ in 0..RECOVERY_CODES {
            codes.push(recovery_code()?);
        }
        self.write(|tx| {
            let mut user = user_of(tx, id)?;
            if user.second_factor.is_some() {
                return Err(Refusal::Conflict("a second factor is set up: remove it first".into()));
            }
            let offer = tx
                .get(&OFFERED_FACTORS, &id)?
                .filter(|offer| now.seconds_since(offer.offered_at) < OFFER_SECONDS)
                .ok_or_else(|| Refusal::Conflict("no second factor was offered within the hour: begin again".into()))?;
            let mut factor = SecondFactor { secret: offer.secret, last_step: 0, recovery: Vec::new() };
            if !accept_totp(&mut factor, code, now) {
                return Err(
                    FieldError::new("code", "is wrong: check the clock of the device, and try its next code").into()
                );
            }
            factor.recovery = codes.iter().map(|code| secrets::digest(&normal_code(code))).collect();
            user.second_factor = Some(factor);
            tx.put(&USERS, &id, &user)?;
            tx.remove(&OFFERED_FACTORS, &id)?;
            note(tx, now, actor, "user.second_factor_on", &object("user", id, &user.username))?;
            Ok(())
        })?;
        Ok(codes)
    }

    /// Removes the actor's second factor, given the password. Hashes.
    pub fn second_factor_remove(&self, actor: &Actor, password: &str) -> Result<()> {
        let id = acting_user(actor)?;
        let known = user_of(&self.read()?, id)?;
        let attempt = self.count_attempt(None, &known.username)?;
        if !passwords::verify(password, Some(&known.password)) {
            return Err(Refusal::WrongPassword);
        }
        let now = self.now();
        self.write(|tx| {
            lockout::forgive(tx, &attempt)?;
            tx.remove(&OFFERED_FACTORS, &id)?;
            let mut user = user_of(tx, id)?;
            if user.second_factor.take().is_some() {
                tx.put(&USERS, &id, &user)?;
                note(tx, now, actor, "user.second_factor_off", &object("user", id, &user.username))?;
            }
            Ok(())
        })
    }
}

/// Whether a code is right, and uses it up.
pub(super) fn accept(factor: &mut SecondFactor, code: &str, now: Timestamp) -> bool {
    accept_totp(factor, code, now) || accept_recovery(factor, code)
}

fn accept_totp(factor: &mut SecondFactor, code: &str, now: Timestamp) -> bool {
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    let Some(totp) = totp_of(&factor.secret) else { return false };
    match totp.check(&code, (now.0 / 1000).max(0) as u64) {
        Some(step) if step > factor.last_step => {
            factor.last_step = step;
            true
        }
        Some(_) | None => false,
    }
}

fn accept_recovery(factor: &mut SecondFactor, code: &str) -> bool {
    let digest = secrets::digest(&normal_code(code));
    let before = factor.recovery.len();
    factor.recovery.retain(|kept| !bool::from(kept.ct_eq(&digest)));
    factor.recovery.len() < before
}

fn totp_of(secret: &[u8]) -> Option<Totp> {
    let secret: [u8; SECRET_BYTES] = secret.try_into().ok()?;
    Builder::new().with_secret(secret).build().ok()
}

fn recovery_code() -> Result<String> {
    let text = secrets::base32(&secrets::random::<10>()?).to_lowercase();
    Ok(text.as_bytes().chunks(4).map(String::from_utf8_lossy).collect::<Vec<_>>().join("-"))
}

/// A recovery code as people may type it: dashes, spaces and case do not matter.
fn normal_code(code: &str) -> String {
    code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factor() -> SecondFactor {
        // The key of RFC 6238 appendix B.
        SecondFactor { secret: b"12345678901234567890".to_vec(), last_step: 0, recovery: vec![] }
    }

    #[test]
    fn codes_are_those_of_rfc_6238() {
        // Appendix B gives eight digits; ours are the last six.
        assert!(accept(&mut factor(), "287082", Timestamp(59_000)));
        assert!(accept(&mut factor(), " 081 804 ", Timestamp(1_111_111_109_000)));
        assert!(!accept(&mut factor(), "081805", Timestamp(1_111_111_109_000)));
    }

    #[test]
    fn no_code_works_twice_nor_an_older_one_after_a_newer() {
        let mut factor = factor();
        let now = Timestamp(1_111_111_109_000);
        assert!(accept(&mut factor, "081804", now));
        assert!(!accept(&mut factor, "081804", now));
        factor.last_step += 1;
        assert!(!accept(&mut factor, "081804", now));
    }

    #[test]
    fn a_recovery_code_works_once_however_it_is_typed() {
        let mut factor = factor();
        let code = recovery_code().unwrap();
        assert_eq!(code.len(), 19, "{code}");
        factor.recovery = vec![secrets::digest(&normal_code(&code))];
        assert!(accept(&mut factor, &format!(" {} ", code.to_uppercase().replace('-', " ")), Timestamp(0)));
        assert!(!accept(&mut factor, &code, Timestamp(0)));
    }
}
