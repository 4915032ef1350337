//! Users: accounts, admins, passwords.

use std::collections::HashMap;

use super::audit::{note, object};
use super::blueprints::remove_blueprint;
use super::sessions::{as_actor, end_sessions};
use super::tokens::end_tokens;
use super::{Domain, Items, Page, Refusal, Result, acting_user, lockout, passwords, require_admin, secrets};
use crate::model::FieldError;
use crate::model::id::UserId;
use crate::model::name::{parse_username, username_key};
use crate::model::time::Timestamp;
use crate::model::user::{Actor, User};
use crate::store::tables::{
    BLUEPRINT_NAMES, OFFERED_FACTORS, SERVER_NAMES, SERVERS, SERVERS_BY_BLUEPRINT, USERNAMES, USERS,
};
use crate::store::{Read, Span, Tx};

/// What an admin changes about a user; `None`: nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserChange {
    /// May manage the box.
    pub admin: Option<bool>,
    /// May not log in.
    pub disabled: Option<bool>,
}

impl Domain {
    /// Whether anybody has an account.
    pub fn has_users(&self) -> Result<bool> {
        Ok(self.read()?.count(&USERS, &Span::all().limit(1))? > 0)
    }

    /// Whether anybody may sign up now.
    pub fn signup_open(&self) -> Result<bool> {
        Ok(self.settings()?.signup_open)
    }

    /// Makes or restores an admin with a new random password, which is returned and never shown again. Lifts the lockout,
    /// the disabled flag and the second factor; ends the user's sessions and tokens.
    pub fn reset_admin(&self, username: &str) -> Result<(User, String)> {
        let username = new_username(username)?;
        let password = passwords::random()?;
        let digest = passwords::hash(&password)?;
        let now = self.now();
        let user = self.write(|tx| {
            let user = match by_name(tx, &username)? {
                Some(user) => {
                    let user = User { password: digest, admin: true, disabled: false, second_factor: None, ..user };
                    tx.put(&USERS, &user.id, &user)?;
                    user
                }
                None => insert_user(tx, now, &username, digest, true)?,
            };
            end_sessions(tx, user.id, None)?;
            end_tokens(tx, user.id)?;
            tx.remove(&OFFERED_FACTORS, &user.id)?;
            lockout::forgive_all(tx)?;
            note(tx, now, &Actor::system(), "user.reset_admin", &object("user", user.id, &user.username))?;
            Ok(user)
        })?;
        Ok((user, password))
    }

    /// Makes a user an admin, by name. Admins only.
    pub fn promote_admin(&self, actor: &Actor, username: &str) -> Result<User> {
        require_admin(actor)?;
        let found = by_name(&self.read()?, username)?.ok_or(Refusal::NotFound("user"))?;
        self.update_user(actor, found.id, UserChange { admin: Some(true), disabled: None })
    }

    /// All users, by name. Admins only.
    pub fn list_users(&self, actor: &Actor, page: &Page) -> Result<Items<User>> {
        require_admin(actor)?;
        let read = self.read()?;
        let mut found = Vec::new();
        for (name, id) in read.list(&USERNAMES, &page.narrow(Span::all())?.limit(page.size() + 1))? {
            found.push((name, user_of(&read, id)?));
        }
        Ok(page.cut(found))
    }

    /// One user. Admins, and the user.
    pub fn user(&self, actor: &Actor, id: UserId) -> Result<User> {
        if !actor.may_touch(id) {
            return Err(Refusal::Forbidden("only admins may see other users".into()));
        }
        user_of(&self.read()?, id)
    }

    /// Names of users, for pages that show whose something is. Users that are gone are left out.
    pub fn user_names(&self, ids: &[UserId]) -> Result<HashMap<UserId, String>> {
        let read = self.read()?;
        let mut names = HashMap::new();
        for id in ids {
            if let Some(user) = read.get(&USERS, id)? {
                names.insert(*id, user.username);
            }
        }
        Ok(names)
    }

    /// Promotes, demotes, disables or enables. Disabling ends sessions and tokens and leaves servers running. Admins only.
    pub fn update_user(&self, actor: &Actor, id: UserId, change: UserChange) -> Result<User> {
        require_admin(actor)?;
        let now = self.now();
        self.write(|tx| {
            let old = user_of(tx, id)?;
            let new = User {
                admin: change.admin.unwrap_or(old.admin),
                disabled: change.disabled.unwrap_or(old.disabled),
                ..old.clone()
            };
            if new == old {
                return Ok(old);
            }
            if !new.admin || new.disabled {
                keep_an_admin(tx, &old)?;
            }
            tx.put(&USERS, &id, &new)?;
            let who = object("user", id, &new.username);
            if new.admin != old.admin {
                // Open pages of the user show what they may: they must ask again.
                note(tx, now, actor, if new.admin { "user.promote" } else { "user.demote" }, &who)?;
                tx.note(crate::model::event::Event::SessionsEnded(id));
            }
            if new.disabled != old.disabled {
                note(tx, now, actor, if new.disabled { "user.disable" } else { "user.enable" }, &who)?;
                if new.disabled {
                    end_sessions(tx, id, None)?;
                    end_tokens(tx, id)?;
                }
            }
            Ok(new)
        })
    }

    /// Deletes a user who has no servers, with blueprints, tokens and sessions; jobs and audit keep the name. Admins only.
    pub fn delete_user(&self, actor: &Actor, id: UserId) -> Result<()> {
        require_admin(actor)?;
        let now = self.now();
        self.write(|tx| {
            let user = user_of(tx, id)?;
            keep_an_admin(tx, &user)?;
            let mut names: Vec<String> =
                tx.keys(&SERVER_NAMES, &Span::under(&id))?.into_iter().map(|(_, name)| name).collect();
            let blueprints = tx.list(&BLUEPRINT_NAMES, &Span::under(&id))?;
            for (_, blueprint) in &blueprints {
                for (_, server) in tx.keys(&SERVERS_BY_BLUEPRINT, &Span::under(blueprint))? {
                    if let Some(server) = tx.get(&SERVERS, &server)?.filter(|server| server.user_id != id) {
                        names.push(server.name);
                    }
                }
            }
            if !names.is_empty() {
                return Err(Refusal::InUse { what: "servers", names });
            }
            for (_, blueprint) in blueprints {
                remove_blueprint(tx, blueprint)?;
            }
            end_sessions(tx, id, None)?;
            end_tokens(tx, id)?;
            tx.remove(&OFFERED_FACTORS, &id)?;
            tx.remove(&USERNAMES, &username_key(&user.username))?;
            tx.remove(&USERS, &id)?;
            note(tx, now, actor, "user.delete", &object("user", id, &user.username))
        })
    }

    /// Changes the actor's own password and ends all sessions but the one whose cookie is `keep_session`. Hashes twice.
    pub fn change_password(&self, actor: &Actor, keep_session: Option<&str>, current: &str, new: &str) -> Result<()> {
        let id = acting_user(actor)?;
        let known = user_of(&self.read()?, id)?;
        // A stolen session must not become a way to guess the password.
        let attempt = self.count_attempt(None, &known.username)?;
        if !passwords::verify(current, Some(&known.password)) {
            return Err(Refusal::WrongPassword);
        }
        let checked = passwords::check("password", &known.username, new).map_err(Refusal::from);
        let digest = checked.and_then(|()| passwords::hash(new));
        let now = self.now();
        let refused = self.write(|tx| {
            lockout::forgive(tx, &attempt)?;
            let digest = match digest {
                Ok(digest) => digest,
                Err(refusal) => return Ok(Some(refusal)),
            };
            let mut user = user_of(tx, id)?;
            if user.password != known.password {
                return Ok(Some(Refusal::Conflict("the password was changed meanwhile: log in again".into())));
            }
            user.password = digest;
            tx.put(&USERS, &id, &user)?;
            end_sessions(tx, id, keep_session.map(secrets::digest))?;
            note(tx, now, &as_actor(&user, &actor.address), "user.password", &object("user", id, &user.username))?;
            Ok(None)
        })?;
        refused.map_or(Ok(()), Err)
    }
}

/// Reads the name of a user that may be new.
pub(super) fn new_username(text: &str) -> Result<String> {
    let username = parse_username(text)?;
    if username_key(&username) == Actor::system().name {
        return Err(FieldError::new("username", "is the name of the box itself: choose another").into());
    }
    Ok(username)
}

/// A user by id.
pub(super) fn user_of(read: &impl Read, id: UserId) -> Result<User> {
    read.get(&USERS, &id)?.ok_or(Refusal::NotFound("user"))
}

/// A user by name, however it is written.
pub(super) fn by_name(read: &impl Read, username: &str) -> Result<Option<User>> {
    match read.get(&USERNAMES, &username_key(username.trim()))? {
        Some(id) => Ok(read.get(&USERS, &id)?),
        None => Ok(None),
    }
}

/// Adds a user under a name that must be free.
pub(super) fn insert_user(tx: &mut Tx, now: Timestamp, username: &str, password: String, admin: bool) -> Result<User> {
    let key = username_key(username);
    if tx.has(&USERNAMES, &key)? {
        return Err(Refusal::NameTaken);
    }
    let user = User {
        id: UserId(tx.next_number("user")?),
        username: username.to_owned(),
        password,
        admin,
        disabled: false,
        created_at: now,
        second_factor: None,
    };
    tx.put(&USERNAMES, &key, &user.id)?;
    tx.put(&USERS, &user.id, &user)?;
    Ok(user)
}

/// Refuses to take away the last enabled admin.
fn keep_an_admin(read: &impl Read, leaving: &User) -> Result<()> {
    if !leaving.admin || leaving.disabled {
        return Ok(());
    }
    let others = read.list(&USERS, &Span::all())?;
    if others.iter().any(|(id, user)| *id != leaving.id && user.admin && !user.disabled) {
        Ok(())
    } else {
        Err(Refusal::LastAdmin)
    }
}
