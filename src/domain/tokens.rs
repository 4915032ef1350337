//! API tokens: made on the account page, shown once, stored as their SHA-256.

use subtle::ConstantTimeEq;

use super::audit::{note, object};
use super::memory::memory;
use super::{Domain, Refusal, Result, acting_user, secrets};
use crate::model::FieldError;
use crate::model::event::Event;
use crate::model::id::{TokenId, UserId};
use crate::model::name::parse_label;
use crate::model::time::Timestamp;
use crate::model::user::{Actor, ApiToken, Scope, User};
use crate::store::tables::{TOKEN_MAKERS, TOKENS, TOKENS_BY_DIGEST, TOKENS_BY_USER, USERS};
use crate::store::{Read, Span, Tx};

/// What every token begins with, so that a leaked one is recognised by scanners.
const PREFIX: &str = "left4me_";
/// Most tokens of one user.
const TOKENS_MAX: usize = 100;
/// How exactly the last use is known, seconds: one write a minute, not one a request.
const LAST_USED_SECONDS: i64 = 60;

impl Domain {
    /// Makes a token for the actor and returns it, once. The scope `admin` is for admins. `made_with`: the token that asks
    /// for it; what it makes may neither do more nor last longer than itself, and is revoked with it.
    pub fn create_token(
        &self,
        actor: &Actor,
        label: &str,
        scope: Scope,
        expires_at: Option<Timestamp>,
        made_with: Option<TokenId>,
    ) -> Result<(String, ApiToken)> {
        let user_id = acting_user(actor)?;
        let label = parse_label(label)?;
        let now = self.now();
        if expires_at.is_some_and(|end| end <= now) {
            return Err(FieldError::new("expires_at", "lies in the past").into());
        }
        if scope == Scope::Admin && !actor.admin {
            return Err(Refusal::Forbidden("only admins may make tokens of the scope admin".into()));
        }
        let secret = format!("{PREFIX}{}", secrets::token()?);
        let digest = secrets::digest(&secret);
        let token = self.write(|tx| {
            if !tx.has(&USERS, &user_id)? {
                return Err(Refusal::NotFound("user"));
            }
            let maker = match made_with {
                None => None,
                Some(maker) => Some(tx.get(&TOKENS, &maker)?.ok_or(Refusal::NotFound("token"))?),
            };
            if let Some(maker) = &maker {
                within(maker, scope, expires_at)?;
            }
            if tx.count(&TOKENS_BY_USER, &Span::under(&user_id))? >= TOKENS_MAX {
                return Err(Refusal::Conflict(format!("you have {TOKENS_MAX} tokens, the most allowed: revoke one")));
            }
            let id = TokenId(tx.next_number("token")?);
            let token = ApiToken { id, user_id, label, scope, digest, created_at: now, expires_at, last_used_at: None };
            tx.put(&TOKENS, &id, &token)?;
            tx.put(&TOKENS_BY_DIGEST, &digest, &id)?;
            tx.put(&TOKENS_BY_USER, &(user_id, id), &())?;
            if let Some(maker) = maker {
                tx.put(&TOKEN_MAKERS, &id, &maker.id)?;
            }
            note(tx, now, actor, "token.create", &object("token", id, &token.label))?;
            Ok(token)
        })?;
        Ok((secret, token))
    }

    /// The actor's tokens, oldest first.
    pub fn list_tokens(&self, actor: &Actor) -> Result<Vec<ApiToken>> {
        let user = acting_user(actor)?;
        let read = self.read()?;
        let mut tokens = Vec::new();
        for (_, id) in read.keys(&TOKENS_BY_USER, &Span::under(&user))? {
            tokens.extend(read.get(&TOKENS, &id)?);
        }
        Ok(tokens)
    }

    /// Revokes a token at once; streams that it opened are told. Its user, and admins.
    pub fn revoke_token(&self, actor: &Actor, id: TokenId) -> Result<()> {
        let now = self.now();
        self.write(|tx| {
            let token = tx.get(&TOKENS, &id)?.ok_or(Refusal::NotFound("token"))?;
            if !actor.may_touch(token.user_id) {
                return Err(Refusal::Forbidden("this token belongs to another user".into()));
            }
            remove_token(tx, &token)?;
            note(tx, now, actor, "token.revoke", &object("token", id, &token.label))
        })
    }

    /// What [`Self::authenticate`] would answer, where that is known without a look at the store. Never blocks on the disk.
    pub fn known_token(&self, bearer: &str) -> Option<(User, ApiToken)> {
        memory(&self.inner.tokens).get(self.version(), &secrets::digest(bearer), self.now())
    }

    /// Whose token this is; `None`: nobody's (revoked, expired, its user disabled).
    pub fn authenticate(&self, bearer: &str) -> Result<Option<(User, ApiToken)>> {
        let digest = secrets::digest(bearer);
        let now = self.now();
        let version = self.version();
        let read = self.read()?;
        let Some(id) = read.get(&TOKENS_BY_DIGEST, &digest)? else { return Ok(None) };
        let Some(mut token) = read.get(&TOKENS, &id)? else { return Ok(None) };
        let same: bool = token.digest.ct_eq(&digest).into();
        if !same || token.expires_at.is_some_and(|end| end <= now) {
            return Ok(None);
        }
        let Some(user) = read.get(&USERS, &token.user_id)?.filter(|user| !user.disabled) else { return Ok(None) };
        if token.last_used_at.is_none_or(|last| now.seconds_since(last) >= LAST_USED_SECONDS) {
            token.last_used_at = Some(now);
            let still_there = self.write(|tx| {
                let found = tx.has(&TOKENS, &id)?;
                if found {
                    tx.put(&TOKENS, &id, &token)?;
                }
                Ok(found)
            })?;
            if !still_there {
                return Ok(None);
            }
        } else if let Some(last) = token.last_used_at {
            let noted = last.plus_seconds(LAST_USED_SECONDS);
            let until = token.expires_at.map_or(noted, |end| end.min(noted));
            memory(&self.inner.tokens).put(version, digest, until, (user.clone(), token.clone()));
        }
        Ok(Some((user, token)))
    }
}

/// Refuses what a token may not hand on.
fn within(maker: &ApiToken, scope: Scope, expires_at: Option<Timestamp>) -> Result<()> {
    if scope > maker.scope {
        return Err(Refusal::Forbidden("a token cannot make one that may do more than itself".into()));
    }
    match maker.expires_at {
        Some(end) if expires_at.is_none_or(|asked| asked > end) => Err(FieldError::new(
            "expires_at",
            format!("must not be later than {end}, when the token ends that asks for this one"),
        )
        .into()),
        Some(_) | None => Ok(()),
    }
}

/// Removes a token with all that were made with it.
fn remove_token(tx: &mut Tx, token: &ApiToken) -> Result<()> {
    let mut going = vec![token.clone()];
    while let Some(token) = going.pop() {
        tx.remove(&TOKENS, &token.id)?;
        tx.remove(&TOKENS_BY_DIGEST, &token.digest)?;
        tx.remove(&TOKENS_BY_USER, &(token.user_id, token.id))?;
        tx.remove(&TOKEN_MAKERS, &token.id)?;
        tx.note(Event::TokenRevoked(token.id));
        for (_, id) in tx.keys(&TOKENS_BY_USER, &Span::under(&token.user_id))? {
            if tx.get(&TOKEN_MAKERS, &id)? == Some(token.id) {
                going.extend(tx.get(&TOKENS, &id)?);
            }
        }
    }
    Ok(())
}

/// Revokes all tokens of a user.
pub(super) fn end_tokens(tx: &mut Tx, user: UserId) -> Result<()> {
    for (_, id) in tx.keys(&TOKENS_BY_USER, &Span::under(&user))? {
        if let Some(token) = tx.get(&TOKENS, &id)? {
            remove_token(tx, &token)?;
        }
    }
    Ok(())
}
