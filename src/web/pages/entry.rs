//! Signing up, in and out.

use maud::{Markup, html};
use warp::http::{HeaderMap, StatusCode, header};
use warp::reply::Response;

use crate::domain::sessions::SessionToken;
use crate::model::user::User;
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given, Who};
use crate::web::layout::{Field, form_alert};
use crate::web::{json, reply, session};

/// `GET /login`.
pub async fn login_page(given: Given) -> Answer {
    let call = given.open()?;
    let next = session::local_path(call.query.typed("next")).to_owned();
    if matches!(call.who, Some(Who::Session { .. })) {
        return Ok(reply::see(&next));
    }
    Ok(call.show("Sign in", &login_form(&call, "", &next, None).await?))
}

/// `POST /login`.
pub async fn login(given: Given) -> Answer {
    let call = given.open()?;
    let fields = call.fields();
    let typed = fields.typed("username").unwrap_or_default().to_owned();
    let next = session::local_path(fields.typed("next")).to_owned();
    let outcome = async {
        let username = fields.required_text("username")?;
        let password = fields.required_text("password")?;
        let code = fields.text("code")?.filter(|code| !code.trim().is_empty());
        let address = call.address.clone();
        call.web.run_hashing(move |web| web.domain.log_in(&address, &username, &password, code.as_deref())).await
    };
    match outcome.await {
        Ok((token, user)) => Ok(welcome(&call, &token, &user, StatusCode::OK, &next)),
        Err(fault) if call.is_json() => Err(fault),
        Err(fault) => {
            // Which of the two was wrong is told to nobody; the person looks at the last one that they typed.
            let fault = match (fault.status, fault.field) {
                (StatusCode::UNAUTHORIZED, None) if fault.wants_code => Fault { field: Some("code"), ..fault },
                (StatusCode::UNAUTHORIZED, None) => Fault { field: Some("password"), ..fault },
                _ => fault,
            };
            let form = login_form(&call, &typed, &next, Some(&fault)).await?;
            Ok(call.show_refused("Sign in", &form, &fault))
        }
    }
}

async fn login_form(call: &Call, username: &str, next: &str, fault: Option<&Fault>) -> Result<Markup, Fault> {
    let (any, open) = call.run(|web, _| Ok((web.domain.has_users()?, web.domain.signup_open()?))).await?;
    let wants_code = fault.is_some_and(|fault| fault.wants_code);
    Ok(html! {
        section.card.narrow {
            h1 { "Sign in" }
            @if !any { (first_steps()) }
            (form_alert(fault, &["username", "password", "code"]))
            form method="post" action="/login" {
                input type="hidden" name="next" value=(next);
                (Field { required: true, autocomplete: "username", ..Field::text("username", "Username", username) }.render(fault))
                (Field { kind: "password", required: true, autocomplete: "current-password", ..Field::text("password", "Password", "") }.render(fault))
                (Field { autocomplete: "one-time-code", hint: "Only when you have set up a second factor.", required: wants_code,
                    ..Field::text("code", "Code", "") }.render(fault))
                button.main type="submit" { "Sign in" }
            }
            @if open { p { "No account yet? " a href="/signup" { "Sign up" } } }
        }
    })
}

/// Nobody becomes admin by being first on the page: who has a shell on the box does.
fn first_steps() -> Markup {
    html! {
        div.alert {
            p { "There is no account on this box yet. Make the first admin in a shell on the box:" }
            pre { "left4me --reset-admin" }
            p { "It prints a username and a password, once." }
        }
    }
}

/// `GET /signup`.
pub async fn signup_page(given: Given) -> Answer {
    let call = given.open()?;
    if !call.run(|web, _| web.domain.signup_open()).await? {
        return Err(crate::domain::Refusal::SignupClosed.into());
    }
    Ok(call.show("Sign up", &signup_form("", None)))
}

/// `POST /signup`.
pub async fn signup(given: Given) -> Answer {
    let call = given.open()?;
    let fields = call.fields();
    let typed = fields.typed("username").unwrap_or_default().to_owned();
    let outcome = async {
        let username = fields.required_text("username")?;
        let password = fields.required_text("password")?;
        let address = call.address.clone();
        call.web.run_hashing(move |web| web.domain.sign_up(&address, &username, &password)).await
    };
    match outcome.await {
        Ok((token, user)) => Ok(welcome(&call, &token, &user, StatusCode::CREATED, "/dashboard")),
        Err(fault) if call.is_json() => Err(fault),
        Err(fault) => Ok(call.show_refused("Sign up", &signup_form(&typed, Some(&fault)), &fault)),
    }
}

fn signup_form(username: &str, fault: Option<&Fault>) -> Markup {
    html! {
        section.card.narrow {
            h1 { "Sign up" }
            (form_alert(fault, &["username", "password"]))
            form method="post" action="/signup" {
                (Field { required: true, autocomplete: "username", ..Field::text("username", "Username", username) }.render(fault))
                (Field { kind: "password", required: true, autocomplete: "new-password",
                    hint: "At least 8 characters, and not easy to guess: several words work well.",
                    ..Field::text("password", "Password", "") }.render(fault))
                button.main type="submit" { "Sign up" }
            }
            p { "You have an account? " a href="/login" { "Sign in" } }
        }
    }
}

/// Hands the session to the browser.
fn welcome(call: &Call, token: &SessionToken, user: &User, status: StatusCode, next: &str) -> Response {
    let mut response = if call.is_json() {
        let mut body = json::user(user);
        body["csrf_token"] = session::csrf_token(&token.0).into();
        reply::json_with(status, &body)
    } else {
        call.go(next)
    };
    with_cookie(call, &mut response, session::set_cookie(&token.0, call.web.is_secure(call.peer, &call.headers)));
    response
}

fn with_cookie(call: &Call, response: &mut Response, cookie: Option<header::HeaderValue>) {
    let headers: &mut HeaderMap = response.headers_mut();
    match cookie {
        Some(cookie) => {
            headers.insert(header::SET_COOKIE, cookie);
        }
        None => log::error!("a session token is no cookie value (from {})", call.address),
    }
}

/// `POST /logout`.
pub async fn logout(given: Given) -> Answer {
    let call = given.signed_in()?;
    if let Some(Who::Session { token, .. }) = &call.who {
        let token = token.clone();
        call.run(move |web, _| web.domain.log_out(&token)).await?;
    }
    let mut response = call.gone("/login");
    with_cookie(&call, &mut response, session::clear_cookie(call.web.is_secure(call.peer, &call.headers)));
    Ok(response)
}
