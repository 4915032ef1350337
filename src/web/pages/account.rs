//! The user's own account: password and tokens.

use maud::{Markup, html};
use serde_json::json;
use warp::http::StatusCode;

use crate::domain::Refusal;
use crate::model::id::TokenId;
use crate::model::user::{ApiToken, Scope};
use crate::web::ask::{self, Question};
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given, Who};
use crate::web::fields::Fields;
use crate::web::layout::{Field, csrf_field, form_alert, select, when_maybe};
use crate::web::note::Note;
use crate::web::{json as objects, reply};

/// Scopes with their words.
const SCOPES: [(Scope, &str, &str); 3] = [
    (Scope::Read, "read", "read: look"),
    (Scope::Operate, "operate", "operate: change what is yours"),
    (Scope::Admin, "admin", "admin: all that you may do as an admin"),
];

/// Fields that the page's forms show.
const SHOWN: [&str; 5] = ["current", "password", "label", "scope", "expires_at"];

/// `GET /account`.
pub async fn show(given: Given) -> Answer {
    let call = given.signed_in()?;
    if call.is_json() {
        let user = match &call.who {
            Some(Who::Session { user, .. } | Who::Token { user, .. }) => user.clone(),
            Some(Who::System) | None => return Err(Fault::bad_request("the box itself has no account")),
        };
        return Ok(reply::json_with(StatusCode::OK, &objects::user(&user)));
    }
    let markup = markup(&call, None, None, None).await?;
    Ok(call.show("Account", &markup))
}

async fn markup(
    call: &Call,
    typed: Option<&Fields>,
    secret: Option<&str>,
    fault: Option<&Fault>,
) -> Result<Markup, Fault> {
    let tokens = call.run(|web, actor| web.domain.list_tokens(actor)).await?;
    let csrf = call.csrf();
    let field = |name: &str| typed.and_then(|fields| fields.typed(name)).unwrap_or_default().to_owned();
    let scopes: Vec<(String, String)> = SCOPES
        .iter()
        .filter(|(scope, ..)| *scope != Scope::Admin || call.actor().admin)
        .map(|(_, word, text)| ((*word).to_owned(), (*text).to_owned()))
        .collect();
    Ok(html! {
        h1 { "Account" }
        (form_alert(fault, &SHOWN))
        @if let Some(secret) = secret {
            div.alert.good {
                p { "This is the new token. It is shown once; copy it now:" }
                pre { (secret) }
                button.quiet.copy type="button" data-copy=(secret) { "Copy" }
            }
        }
        section.card.narrow {
            h2 { "Password" }
            form method="post" action="/account/password" {
                (csrf_field(csrf))
                // Password managers want to know whose password it is.
                input type="text" autocomplete="username" value=(call.actor().name) hidden;
                (Field { kind: "password", required: true, autocomplete: "current-password", ..Field::text("current", "Current password", "") }.render(fault))
                (Field { kind: "password", required: true, autocomplete: "new-password",
                    hint: "At least 8 characters, and not easy to guess. Your other sessions end.",
                    ..Field::text("password", "New password", "") }.render(fault))
                button.main type="submit" { "Change the password" }
            }
        }
        section.card.narrow {
            h2 { "Second factor" }
            p { "A code of a device of yours, asked for when you sign in. " a href="/account/totp" { "Set it up or switch it off" } "." }
        }
        section.card.scroll {
            h2 { "Tokens" }
            p { "Programs sign in with a token: " code { "Authorization: Bearer …" } }
            (token_table(&tokens))
            h3 { "New token" }
            form.narrow method="post" action="/account/tokens" {
                (csrf_field(csrf))
                (Field { required: true, ..Field::text("label", "Label", &field("label")) }.render(fault))
                (select("scope", "May", &scopes, &field("scope"), fault))
                (Field { kind: "datetime-local", hint: "In UTC. Leave it empty for a token without an end.", ..Field::text("expires_at", "Until", &field("expires_at")) }.render(fault))
                button type="submit" { "Make a token" }
            }
        }
    })
}

fn token_table(tokens: &[ApiToken]) -> Markup {
    let word = |scope: Scope| SCOPES.iter().find(|(own, ..)| *own == scope).map_or("", |(_, word, _)| word);
    html! {
        @if !tokens.is_empty() {
            table {
                thead { tr { th { "Label" } th { "May" } th { "Until" } th { "Last used" } th { span.visually-hidden { "Actions" } } } }
                tbody {
                    @for token in tokens {
                        tr {
                            td { (token.label) } td data-label="May" { (word(token.scope)) }
                            td data-label="Until" { (when_maybe(token.expires_at)) } td data-label="Last used" { (when_maybe(token.last_used_at)) }
                            td { (ask::link(&format!("/account/tokens/{}/delete", token.id), "Revoke", &token.label)) }
                        }
                    }
                }
            }
        }
    }
}

/// `POST /account/password`: other sessions end, this one stays.
pub async fn password(given: Given) -> Answer {
    let call = given.signed_in()?;
    let fields = call.fields();
    let keep = match &call.who {
        Some(Who::Session { token, .. }) => Some(token.clone()),
        Some(Who::Token { .. } | Who::System) | None => None,
    };
    let outcome = async {
        // `current_password` and `new_password` are what programs tend to write.
        let either = |a: &'static str, b: &'static str| match fields.text(a)? {
            Some(text) => Ok(text),
            None => fields.text(b)?.ok_or_else(|| crate::model::FieldError::new(a, "is missing")),
        };
        let (current, new) = (either("current", "current_password")?, either("password", "new_password")?);
        let actor = call.actor();
        call.web.run_hashing(move |web| web.domain.change_password(&actor, keep.as_deref(), &current, &new)).await
    };
    match outcome.await {
        Ok(()) => Ok(call.noting(Note::Password, call.gone("/account"))),
        // Named as it was sent.
        Err(fault) if fault.field == Some("password") && fields.has("new_password") => {
            refused(&call, &fields, Fault { field: Some("new_password"), ..fault }).await
        }
        Err(fault) => refused(&call, &fields, fault).await,
    }
}

async fn refused(call: &Call, fields: &Fields, fault: Fault) -> Answer {
    if call.is_json() {
        return Err(fault);
    }
    // A wrong current password is 401, and belongs beside its field.
    let fault = if fault.status == StatusCode::UNAUTHORIZED && fault.field.is_none() {
        Fault { field: Some("current"), message: "is wrong".into(), ..fault }
    } else {
        fault
    };
    let markup = markup(call, Some(fields), None, Some(&fault)).await?;
    Ok(call.show_refused("Account", &markup, &fault))
}

/// `GET /account/tokens`.
pub async fn tokens(given: Given) -> Answer {
    let call = given.signed_in()?;
    if !call.is_json() {
        return Ok(call.go("/account"));
    }
    let tokens = call.run(|web, actor| web.domain.list_tokens(actor)).await?;
    call.short_list(&tokens, objects::token)
}

/// `POST /account/tokens`: the token is in this answer and never again.
pub async fn create_token(given: Given) -> Answer {
    let call = given.signed_in()?;
    let fields = call.fields();
    let outcome = async {
        let label = fields.required_text("label")?;
        let word = fields.required_text("scope")?;
        let scope = SCOPES
            .iter()
            .find(|(_, own, _)| *own == word)
            .map(|(scope, ..)| *scope)
            .ok_or_else(|| Fault::field("scope", "must be read, operate or admin"))?;
        let made_with = match &call.who {
            Some(Who::Token { token, .. }) => Some(token.id),
            Some(Who::Session { .. } | Who::System) | None => None,
        };
        let expires_at = fields.time("expires_at")?;
        call.run(move |web, actor| web.domain.create_token(actor, &label, scope, expires_at, made_with)).await
    };
    match outcome.await {
        Ok((secret, token)) if call.is_json() => {
            let mut body = objects::token(&token);
            body["token"] = json!(secret);
            Ok(reply::json_with(StatusCode::CREATED, &body))
        }
        Ok((secret, _)) => {
            let markup = markup(&call, None, Some(&secret), None).await?;
            Ok(call.show("Account", &markup))
        }
        Err(fault) => refused(&call, &fields, fault).await,
    }
}

async fn question(call: &Call, id: u64) -> Result<Question, Fault> {
    let tokens = call.run(|web, actor| web.domain.list_tokens(actor)).await?;
    let token = tokens.into_iter().find(|token| token.id == TokenId(id)).ok_or(Refusal::NotFound("token"))?;
    Ok(Question {
        thing: "token",
        name: token.label,
        verb: "Revoke",
        loss: "Programs that use it are refused from now on. This cannot be undone.",
        path: format!("/account/tokens/{id}/delete"),
        back: "/account".into(),
        hidden: None,
    })
}

/// `GET /account/tokens/{id}/delete`: asks by name first.
pub async fn revoke_page(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    Ok(question(&call, id).await?.show(&call))
}

/// `DELETE /account/tokens/{id}` and its form twin.
pub async fn revoke_token(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let deed = async {
        call.run(move |web, actor| web.domain.revoke_token(actor, TokenId(id))).await?;
        Ok(call.noting(Note::Revoked, call.gone("/account")))
    };
    ask::then(&call, question(&call, id), deed).await
}
