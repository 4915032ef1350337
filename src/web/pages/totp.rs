//! The second factor of the user's own account: set up with a QR code, confirmed by a code, removed with the password.

use maud::{Markup, html};
use qrcode::{Color, QrCode};
use serde_json::json;
use warp::http::StatusCode;

use crate::domain::Refusal;
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given, Who};
use crate::web::layout::{Field, action, csrf_field, form_alert};
use crate::web::reply;

/// Fields that the page's forms show.
const SHOWN: [&str; 2] = ["code", "password"];
/// Empty modules that a QR code needs around it (ISO 18004).
const QUIET: usize = 4;

/// Only a person sets it up: a token that leaked could otherwise lock its owner out.
fn person(given: Given) -> Result<Call, Fault> {
    let call = given.signed_in()?;
    match &call.who {
        Some(Who::Session { .. }) => Ok(call),
        Some(Who::Token { .. }) => Err(Fault::forbidden("a token cannot change the second factor: sign in")),
        Some(Who::System) | None => Err(Fault::bad_request("the box itself has no account")),
    }
}

/// Whether it is on, as the sender was read for this request.
fn is_on(call: &Call) -> bool {
    matches!(&call.who, Some(Who::Session { user, .. }) if user.second_factor.is_some())
}

/// `GET /account/totp`.
pub async fn show(given: Given) -> Answer {
    let call = person(given)?;
    let on = is_on(&call);
    if call.is_json() {
        return Ok(reply::json_with(StatusCode::OK, &json!({ "second_factor": on })));
    }
    Ok(call.show("Second factor", &markup(&call, on, None, None)))
}

/// `POST /account/totp`: offers one. The secret is in this answer; nothing changes until it is confirmed.
pub async fn begin(given: Given) -> Answer {
    let call = person(given)?;
    let offer = call.run(|web, actor| web.domain.second_factor_begin(actor)).await?;
    if call.is_json() {
        let body = json!({ "secret": offer.secret, "uri": offer.uri });
        return Ok(reply::json_with(StatusCode::CREATED, &body));
    }
    let picture = picture(&offer.uri)?;
    Ok(call.show("Second factor", &markup(&call, false, Some((&offer.secret, &picture)), None)))
}

/// `POST /account/totp/confirm`: switches it on. The recovery codes are in this answer and never again.
pub async fn confirm(given: Given) -> Answer {
    let call = person(given)?;
    let fields = call.fields();
    let outcome = async {
        let code = fields.required_text("code")?;
        call.run(move |web, actor| web.domain.second_factor_confirm(actor, &code)).await
    };
    match outcome.await {
        Ok(codes) if call.is_json() => Ok(reply::json_with(StatusCode::OK, &json!({ "recovery_codes": codes }))),
        Ok(codes) => Ok(call.show("Second factor", &recovery(&codes))),
        Err(fault) => refused(&call, fault, true),
    }
}

/// `POST /account/totp/delete` and `DELETE /account/totp`: switches it off, given the password.
pub async fn remove(given: Given) -> Answer {
    let call = person(given)?;
    let fields = call.fields();
    let outcome = async {
        let password = fields.required_text("password")?;
        let actor = call.actor();
        call.web.run_hashing(move |web| web.domain.second_factor_remove(&actor, &password)).await
    };
    match outcome.await {
        Ok(()) => Ok(call.gone("/account/totp")),
        Err(fault) => refused(&call, fault, false),
    }
}

fn refused(call: &Call, fault: Fault, confirming: bool) -> Answer {
    if call.is_json() {
        return Err(fault);
    }
    // A wrong password is 401, and belongs beside its field.
    let fault = if fault.status == StatusCode::UNAUTHORIZED && fault.field.is_none() {
        Fault { field: Some("password"), message: "is wrong".into(), ..fault }
    } else {
        fault
    };
    let markup = if confirming && !is_on(call) {
        confirming_again(call, &fault)
    } else {
        markup(call, is_on(call), None, Some(&fault))
    };
    Ok(call.show_refused("Second factor", &markup, &fault))
}

fn confirm_form(call: &Call, fault: Option<&Fault>) -> Markup {
    html! {
        form.narrow method="post" action="/account/totp/confirm" {
            (csrf_field(call.csrf()))
            (Field { required: true, autocomplete: "one-time-code", hint: "The six digits that the device shows now.",
                ..Field::text("code", "Code", "") }.render(fault))
            button.main type="submit" { "Switch it on" }
        }
    }
}

/// The secret is not shown again: it is in the device already, or the person begins anew.
fn confirming_again(call: &Call, fault: &Fault) -> Markup {
    html! {
        h1 { "Second factor" }
        (form_alert(Some(fault), &SHOWN))
        div.card {
            (confirm_form(call, Some(fault)))
            p { "Or begin anew with another secret:" }
            (action("/account/totp", "Begin anew", "", call.csrf()))
        }
    }
}

fn markup(call: &Call, on: bool, offer: Option<(&str, &Markup)>, fault: Option<&Fault>) -> Markup {
    html! {
        h1 { "Second factor" }
        (form_alert(fault, &SHOWN))
        div.card {
            @if on {
                p { "It is on: signing in asks for a code of your device, or for a recovery code." }
                form.narrow method="post" action="/account/totp/delete" {
                    (csrf_field(call.csrf()))
                    (Field { kind: "password", required: true, autocomplete: "current-password", ..Field::text("password", "Your password", "") }.render(fault))
                    button.danger type="submit" { "Switch it off" }
                }
            } @else if let Some((secret, picture)) = offer {
                p { "Scan this with an authenticator app, or type the secret into it:" }
                (picture)
                p { code { (secret) } " " button.quiet.copy type="button" data-copy=(secret) { "Copy" } }
                (confirm_form(call, fault))
            } @else {
                p { "It is off. With it, signing in asks for your password and for a code that a device of yours makes." }
                (action("/account/totp", "Set it up", "main", call.csrf()))
            }
        }
        p { a href="/account" { "Back to the account" } }
    }
}

fn recovery(codes: &[String]) -> Markup {
    let text = codes.join("\n");
    html! {
        h1 { "Second factor" }
        div.alert.good {
            p { "It is on. These recovery codes are shown once; each works once when the device is not at hand. Keep them apart from it:" }
            pre { (text) }
            button.quiet.copy type="button" data-copy=(text) { "Copy" }
        }
        p { a href="/account" { "Back to the account" } }
    }
}

/// The QR code as part of the page: no image is fetched, no style is inline, so the policy of every page holds.
fn picture(uri: &str) -> Result<Markup, Fault> {
    let code = QrCode::new(uri).map_err(|error| {
        log::error!("a QR code could not be made: {error}");
        Fault::from(Refusal::Conflict("this username is too long for a QR code".into()))
    })?;
    let width = code.width();
    let whole = width + 2 * QUIET;
    let dark = |(place, color): (usize, &Color)| {
        (*color == Color::Dark).then(|| format!("M{} {}h1v1h-1z", place % width + QUIET, place / width + QUIET))
    };
    let path: String = code.to_colors().iter().enumerate().filter_map(dark).collect();
    Ok(html! {
        svg.qr role="img" aria-label="QR code of the secret" width="240" height="240" viewBox=(format!("0 0 {whole} {whole}")) shape-rendering="crispEdges" {
            rect width=(whole) height=(whole) fill="#fff" {}
            path d=(path) fill="#000" {}
        }
    })
}
