//! Login defence: 20 failures in 15 minutes per address and per username, and 10 sign-ups per address; it lives in the
//! store, so a restart does not forget.
//!
//! An attempt is counted *before* its password is looked at, in one transaction with the check, so that attempts which
//! race cannot get past the limit; one that turns out right is taken out again.

use std::net::IpAddr;

use super::{Domain, Refusal, Result};
use crate::model::name::{parse_username, username_key};
use crate::model::network::subscriber;
use crate::model::time::Timestamp;
use crate::store::tables::{ATTEMPTS, Attempts};
use crate::store::{Read, Span, Tx};

/// Failures that are let through.
pub(super) const MAX_FAILURES: usize = 20;
/// Sign-ups of one address that are let through in the same time: a room of friends, not a script.
pub(super) const MAX_SIGN_UPS: usize = 10;
/// How long an attempt counts, seconds.
pub(super) const WINDOW_SECONDS: i64 = 15 * 60;

/// An attempt that was counted.
pub(super) struct Counted {
    keys: Vec<String>,
    number: u64,
}

/// Who an attempt comes from.
fn subscriber_of(address: &str) -> String {
    match address.parse::<IpAddr>() {
        Ok(address) => subscriber(address).to_string(),
        Err(_) => address.chars().take(64).collect(),
    }
}

fn address_key(address: &str) -> String {
    format!("address {}", subscriber_of(address))
}

fn sign_up_key(address: &str) -> String {
    format!("sign-up {}", subscriber_of(address))
}

fn name_key(username: &str) -> String {
    // Whatever cannot be a username shares one bucket: it cannot be right anyway.
    format!("name {}", parse_username(username).map_or_else(|_| "\0".into(), |name| username_key(&name)))
}

fn drop_old(attempts: &mut Attempts, now: Timestamp) {
    attempts.tries.retain(|(at, _)| now.seconds_since(*at) < WINDOW_SECONDS);
}

impl Domain {
    /// Counts an attempt to log in, or refuses it.
    pub(super) fn count_attempt(&self, address: Option<&str>, username: &str) -> Result<Counted> {
        let keys = address.map(address_key).into_iter().chain([name_key(username)]).collect();
        self.count(keys, MAX_FAILURES, |retry_after| Refusal::TooMany { retry_after })
    }

    /// Counts an attempt to sign up, or refuses it. One that succeeds counts too: it is accounts that are bounded, and the
    /// names that one can ask for.
    pub(super) fn count_sign_up(&self, address: &str) -> Result<()> {
        self.count(vec![sign_up_key(address)], MAX_SIGN_UPS, |retry_after| Refusal::TooManySignUps { retry_after })?;
        Ok(())
    }

    fn count(&self, keys: Vec<String>, most: usize, refusal: fn(u64) -> Refusal) -> Result<Counted> {
        let now = self.now();
        self.write(|tx| {
            let mut buckets = Vec::new();
            for key in &keys {
                let mut attempts = tx.get(&ATTEMPTS, key)?.unwrap_or_default();
                drop_old(&mut attempts, now);
                if attempts.tries.len() >= most {
                    let oldest = attempts.tries[attempts.tries.len() - most].0;
                    let passed = now.seconds_since(oldest).max(0);
                    return Err(refusal((WINDOW_SECONDS - passed).max(1) as u64));
                }
                buckets.push(attempts);
            }
            let number = tx.next_number("attempt")?;
            for (key, mut attempts) in keys.iter().zip(buckets) {
                attempts.tries.push((now, number));
                tx.put(&ATTEMPTS, key, &attempts)?;
            }
            Ok(Counted { keys: keys.clone(), number })
        })
    }
}

/// The attempt was right: it is no failure.
pub(super) fn forgive(tx: &mut Tx, attempt: &Counted) -> Result<()> {
    for key in &attempt.keys {
        let Some(mut attempts) = tx.get(&ATTEMPTS, key)? else { continue };
        attempts.tries.retain(|(_, number)| *number != attempt.number);
        if attempts.tries.is_empty() {
            tx.remove(&ATTEMPTS, key)?;
        } else {
            tx.put(&ATTEMPTS, key, &attempts)?;
        }
    }
    Ok(())
}

/// Forgets every failure of everybody.
pub(super) fn forgive_all(tx: &mut Tx) -> Result<()> {
    for key in tx.keys(&ATTEMPTS, &Span::all())? {
        tx.remove(&ATTEMPTS, &key)?;
    }
    Ok(())
}

/// Removes what no longer counts.
pub(super) fn sweep(tx: &mut Tx, now: Timestamp) -> Result<()> {
    for (key, mut attempts) in tx.list(&ATTEMPTS, &Span::all())? {
        drop_old(&mut attempts, now);
        if attempts.tries.is_empty() {
            tx.remove(&ATTEMPTS, &key)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_ipv6_network_share_a_bucket_and_mapped_ones_are_ipv4() {
        assert_eq!(address_key("2001:db8:1:2::1"), address_key("2001:db8:1:2:ffff::9"));
        assert_ne!(address_key("2001:db8:1:2::1"), address_key("2001:db8:1:3::1"));
        assert_eq!(address_key("::ffff:192.0.2.1"), address_key("192.0.2.1"));
    }

    #[test]
    fn usernames_share_a_bucket_whatever_their_case() {
        assert_eq!(name_key(" Bob "), name_key("bob"));
    }
}
