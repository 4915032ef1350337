//! Sign-up, log-in and sessions of browsers.
//!
//! A session is keyed by the SHA-256 of its cookie: whoever reads the store cannot log in with what they find.

use super::audit::{note, object};
use super::memory::memory;
use super::users::{by_name, insert_user, new_username};
use super::{Domain, Refusal, Result, lockout, passwords, second_factor, secrets};
use crate::model::event::Event;
use crate::model::id::UserId;
use crate::model::time::Timestamp;
use crate::model::user::{Actor, Session, User};
use crate::store::tables::{SESSIONS, SESSIONS_BY_USER, USERS};
use crate::store::{Read, Span, Tx};

/// How long a session lasts without being used, seconds.
const SESSION_SECONDS: i64 = 30 * 24 * 3600;

/// The secret of a session, as its cookie carries it. Shown by no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken(pub String);

impl std::fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionToken(…)")
    }
}

impl Domain {
    /// Makes an account, never an admin, and logs it in. Hashes: 20 ms and 19 MiB.
    pub fn sign_up(&self, address: &str, username: &str, password: &str) -> Result<(SessionToken, User)> {
        let read = self.read()?;
        if !self.settings_in(&read)?.signup_open {
            return Err(Refusal::SignupClosed);
        }
        let username = new_username(username)?;
        passwords::check("password", &username, password)?;
        self.count_sign_up(address)?;
        if by_name(&read, &username)?.is_some() {
            return Err(Refusal::NameTaken);
        }
        let digest = passwords::hash(password)?;
        let token = secrets::token()?;
        let now = self.now();
        let user = self.write(|tx| {
            if !self.settings_in(tx)?.signup_open {
                return Err(Refusal::SignupClosed);
            }
            let user = insert_user(tx, now, &username, digest, false)?;
            begin_session(tx, now, &user, address, &token)?;
            note(tx, now, &as_actor(&user, address), "user.sign_up", &object("user", user.id, &user.username))?;
            Ok(user)
        })?;
        Ok((SessionToken(token), user))
    }

    /// Logs in. Hashes: 20 ms and 19 MiB, for unknown users too. `code` is a code of the authenticator or a recovery code.
    pub fn log_in(
        &self,
        address: &str,
        username: &str,
        password: &str,
        code: Option<&str>,
    ) -> Result<(SessionToken, User)> {
        let attempt = self.count_attempt(Some(address), username)?;
        let known = by_name(&self.read()?, username)?;
        if !passwords::verify(password, known.as_ref().map(|user| user.password.as_str())) {
            log::info!("a log-in from {address} failed: wrong username or password");
            return Err(Refusal::WrongPassword);
        }
        let Some(known) = known else { return Err(Refusal::WrongPassword) };
        let token = secrets::token()?;
        let now = self.now();
        // `None`: the password was right, the code is missing. That is no failure, and it must be committed.
        let user = self.write(|tx| {
            let mut user = match tx.get(&USERS, &known.id)? {
                Some(user) if !user.disabled && user.password == known.password => user,
                Some(_) | None => return Err(Refusal::WrongPassword),
            };
            if let Some(factor) = &mut user.second_factor {
                let Some(code) = code.map(str::trim).filter(|code| !code.is_empty()) else {
                    lockout::forgive(tx, &attempt)?;
                    return Ok(None);
                };
                if !second_factor::accept(factor, code, now) {
                    return Err(Refusal::WrongPassword);
                }
                tx.put(&USERS, &user.id, &user)?;
            }
            lockout::forgive(tx, &attempt)?;
            begin_session(tx, now, &user, address, &token)?;
            note(tx, now, &as_actor(&user, address), "user.log_in", &object("user", user.id, &user.username))?;
            Ok(Some(user))
        })?;
        match user {
            Some(user) => Ok((SessionToken(token), user)),
            None => Err(Refusal::SecondFactorNeeded),
        }
    }

    /// Whose session a cookie is; `None`: nobody's (ended, expired, disabled). One that is used lasts on.
    pub fn session(&self, token: &str) -> Result<Option<(User, Session)>> {
        let key = secrets::digest(token);
        let now = self.now();
        let version = self.version();
        let read = self.read()?;
        let Some(session) = read.get(&SESSIONS, &key)?.filter(|session| session.expires_at > now) else {
            return Ok(None);
        };
        let Some(user) = read.get(&USERS, &session.user_id)?.filter(|user| !user.disabled) else { return Ok(None) };
        if session.expires_at.seconds_since(now) > SESSION_SECONDS / 2 {
            let until = session.expires_at.plus_seconds(-SESSION_SECONDS / 2);
            memory(&self.inner.sessions).put(version, key, until, (user.clone(), session.clone()));
            return Ok(Some((user, session)));
        }
        let renewed = self.write(|tx| {
            let Some(mut session) = tx.get(&SESSIONS, &key)? else { return Ok(None) };
            session.expires_at = now.plus_seconds(SESSION_SECONDS);
            tx.put(&SESSIONS, &key, &session)?;
            Ok(Some(session))
        })?;
        Ok(renewed.map(|session| (user, session)))
    }

    /// What [`Self::session`] would answer, where that is known without a look at the store. Never blocks on the disk.
    pub fn known_session(&self, token: &str) -> Option<(User, Session)> {
        memory(&self.inner.sessions).get(self.version(), &secrets::digest(token), self.now())
    }

    /// Ends a session. One that is not there has ended.
    pub fn log_out(&self, token: &str) -> Result<()> {
        let key = secrets::digest(token);
        self.write(|tx| {
            if let Some(session) = tx.get(&SESSIONS, &key)? {
                remove_session(tx, session.user_id, &key)?;
                tx.note(Event::SessionsEnded(session.user_id));
            }
            Ok(())
        })
    }
}

/// A user as the actor of what they do to themselves.
pub(super) fn as_actor(user: &User, address: &str) -> Actor {
    Actor { user_id: Some(user.id), name: user.username.clone(), admin: user.admin, address: address.to_owned() }
}

fn begin_session(tx: &mut Tx, now: Timestamp, user: &User, address: &str, token: &str) -> Result<()> {
    let key = secrets::digest(token);
    let session = Session {
        user_id: user.id,
        created_at: now,
        expires_at: now.plus_seconds(SESSION_SECONDS),
        address: address.to_owned(),
    };
    tx.put(&SESSIONS, &key, &session)?;
    Ok(tx.put(&SESSIONS_BY_USER, &(user.id, key), &())?)
}

fn remove_session(tx: &mut Tx, user: UserId, key: &[u8; 32]) -> Result<()> {
    tx.remove(&SESSIONS, key)?;
    Ok(tx.remove(&SESSIONS_BY_USER, &(user, *key))?)
}

/// Ends the sessions of a user, but for the one with the digest `keep`.
pub(super) fn end_sessions(tx: &mut Tx, user: UserId, keep: Option<[u8; 32]>) -> Result<()> {
    for (_, key) in tx.keys(&SESSIONS_BY_USER, &Span::under(&user))? {
        if Some(key) != keep {
            remove_session(tx, user, &key)?;
        }
    }
    tx.note(Event::SessionsEnded(user));
    Ok(())
}

/// Removes sessions that expired.
pub(super) fn sweep(tx: &mut Tx, now: Timestamp) -> Result<()> {
    for (key, session) in tx.list(&SESSIONS, &Span::all())? {
        if session.expires_at <= now {
            remove_session(tx, session.user_id, &key)?;
        }
    }
    Ok(())
}
