//! Ports: who holds which, what is wrong, and blocks held for later.

use maud::{Markup, html};
use serde_json::{Value, json};
use warp::http::StatusCode;

use crate::domain::Refusal;
use crate::domain::ports::{ClaimView, NewReservation, ReservationView};
use crate::model::FieldError;
use crate::model::id::ReservationId;
use crate::model::port::Holder;
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given};
use crate::web::fields::Fields;
use crate::web::layout::{Field, action, badge, csrf_field, form_alert, when, when_maybe};
use crate::web::{json as objects, reply};

/// Fields that the form shows.
const SHOWN: [&str; 3] = ["count", "label", "expires_at"];

fn claim_json(view: &ClaimView) -> Value {
    let (server, reservation) = match view.claim.holder {
        Holder::Server(id) => (Some(id), None),
        Holder::Reservation(id) => (None, Some(id)),
    };
    json!({
        "port": view.port, "purpose": view.claim.purpose.word(), "kind": view.claim.kind.word(),
        "status": view.status.word(), "server_id": server, "reservation_id": reservation,
        "holder": view.holder_name, "user_id": view.user_id, "username": view.username,
        "claimed_at": view.claim.claimed_at.to_string(),
        "expires_at": view.expires_at.map(|at| at.to_string()),
    })
}

fn reservation_json(view: &ReservationView) -> Value {
    let mut value = objects::reservation(&view.reservation);
    value["ports"] = view.ports.clone().into();
    value["expired"] = view.expired.into();
    value
}

/// `GET /ports`.
pub async fn list(given: Given) -> Answer {
    let call = given.signed_in()?;
    if call.is_json() {
        let claims = call.run(|web, actor| web.domain.list_claims(actor)).await?;
        return Ok(call.whole_list(&claims, claim_json));
    }
    let markup = markup(&call, None, None).await?;
    Ok(call.show("Ports", &markup))
}

async fn markup(call: &Call, typed: Option<&Fields>, fault: Option<&Fault>) -> Result<Markup, Fault> {
    let admin = call.actor().admin;
    let (claims, reservations) = call
        .run(move |web, actor| {
            let reservations = if admin { web.domain.list_reservations(actor)? } else { Vec::new() };
            Ok((web.domain.list_claims(actor)?, reservations))
        })
        .await?;
    let range = call.web.domain.rules().port_range;
    Ok(html! {
        div.head { h1 { "Ports" } @if admin { a.button href="/ports/check" { "Check" } } }
        p { "Automatic choice takes the lowest free port of " (range) "." }
        div.card.scroll {
            table {
                thead { tr { th { "Port" } th { "For" } th { "Holder" } th { "User" } th { "Status" } th { "Chosen" } th { "Since" } } }
                tbody {
                    @for claim in &claims {
                        tr {
                            td.number { (claim.port) }
                            td { (claim.claim.purpose.word()) }
                            td { (holder(claim)) }
                            td { (claim.username.as_deref().unwrap_or("–")) }
                            td { (badge(claim.status.word())) }
                            td { (claim.claim.kind.word()) }
                            td { (when(claim.claim.claimed_at)) }
                        }
                    }
                    @if claims.is_empty() { tr { td colspan="7" { "No port is claimed. Each server claims its own when it is made." } } }
                }
            }
        }
        @if admin { (reservations_markup(call, &reservations, typed, fault)) }
    })
}

fn holder(view: &ClaimView) -> Markup {
    let name = view.holder_name.as_deref().unwrap_or("gone");
    html! {
        @match view.claim.holder {
            Holder::Server(id) => a href=(format!("/servers/{id}")) { (name) },
            Holder::Reservation(_) => (name),
        }
    }
}

fn reservations_markup(
    call: &Call,
    reservations: &[ReservationView],
    typed: Option<&Fields>,
    fault: Option<&Fault>,
) -> Markup {
    let field = |name: &str| typed.and_then(|fields| fields.typed(name)).unwrap_or_default().to_owned();
    html! {
        section.card.scroll {
            h2 { "Reservations" }
            @if reservations.is_empty() { p { "None. A reservation holds ports for servers that you plan to make together." } } @else {
                table {
                    thead { tr { th { "Label" } th { "Ports" } th { "Ends" } th { span.visually-hidden { "Actions" } } } }
                    tbody {
                        @for view in reservations {
                            tr {
                                td { (view.reservation.label) }
                                td.number { (ports(&view.ports)) }
                                td { (when_maybe(view.reservation.expires_at)) @if view.expired { " " (badge("stale")) } }
                                td { (action(&format!("/ports/reservations/{}/delete", view.reservation.id), "Release", "", call.csrf())) }
                            }
                        }
                    }
                }
            }
            h3 { "Reserve" }
            (form_alert(fault, &SHOWN))
            form.narrow method="post" action="/ports/reservations" {
                (csrf_field(call.csrf()))
                (Field { kind: "number", required: true, ..Field::text("count", "How many", &field("count")) }.render(fault))
                (Field { required: true, ..Field::text("label", "Label", &field("label")) }.render(fault))
                (Field { kind: "datetime-local", hint: "In UTC. Leave it empty to keep them until you release them.", ..Field::text("expires_at", "Until", &field("expires_at")) }.render(fault))
                button type="submit" { "Reserve" }
            }
        }
    }
}

fn ports(ports: &[u16]) -> String {
    ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// `GET /ports/reservations`.
pub async fn reservations(given: Given) -> Answer {
    let call = given.admin()?;
    if !call.is_json() {
        return Ok(call.go("/ports"));
    }
    let reservations = call.run(|web, actor| web.domain.list_reservations(actor)).await?;
    Ok(call.whole_list(&reservations, reservation_json))
}

/// `POST /ports/reservations`.
pub async fn reserve(given: Given) -> Answer {
    let call = given.admin()?;
    let fields = call.fields();
    let outcome = async {
        let count = fields.required_number("count")?;
        let new = NewReservation {
            count: u32::try_from(count).map_err(|_| FieldError::new("count", "is too large"))?,
            label: fields.required_text("label")?,
            expires_at: fields.time("expires_at")?,
        };
        call.run(move |web, actor| {
            let listeners = web.machine.listeners();
            web.domain.reserve(actor, new, &listeners)
        })
        .await
    };
    match outcome.await {
        Ok(view) if call.is_json() => {
            let mut value = reservation_json(&view);
            value["id"] = view.reservation.id.0.into();
            Ok(reply::json_with(StatusCode::CREATED, &value))
        }
        Ok(_) => Ok(call.go("/ports")),
        Err(fault) => {
            if call.is_json() || !fault.is_about_the_form() {
                return Err(fault);
            }
            let markup = markup(&call, Some(&fields), Some(&fault)).await?;
            reply::refuse(&call, fault, |fault| call.show_refused("Ports", &markup, fault))
        }
    }
}

/// `DELETE /ports/reservations/{id}` and its form twin.
pub async fn release(id: u64, given: Given) -> Answer {
    let call = given.admin()?;
    call.run(move |web, actor| web.domain.release_reservation(actor, ReservationId(id))).await?;
    Ok(call.gone("/ports"))
}

/// `GET /ports/check`.
pub async fn check(given: Given) -> Answer {
    let call = given.admin()?;
    let report = call
        .run(|web, actor| {
            let listeners = web.machine.listeners();
            web.domain.check_ports(actor, &listeners)
        })
        .await?;
    if call.is_json() {
        let unclaimed: Vec<Value> = report
            .unclaimed
            .iter()
            .map(|(id, name, port)| json!({ "server_id": id, "name": name, "port": port }))
            .collect();
        let foreign: Vec<Value> =
            report.foreign.iter().map(|(port, who)| json!({ "port": port, "listener": who })).collect();
        let stale: Vec<Value> = report.stale.iter().map(claim_json).collect();
        let body = json!({ "stale": stale, "unclaimed": unclaimed, "foreign": foreign });
        return Ok(reply::json_with(StatusCode::OK, &body));
    }
    let fine = report.stale.is_empty() && report.unclaimed.is_empty() && report.foreign.is_empty();
    Ok(call.show(
        "Port check",
        &html! {
            div.head { h1 { "Port check" } a.button href="/ports" { "Back" } }
            section.card {
                @if fine { p { "Every claim belongs to a server or a reservation, and no stranger listens on a claimed port." } }
                @if !report.stale.is_empty() {
                    h2 { "Stale claims" }
                    ul { @for claim in &report.stale { li { (claim.port) ": " (claim.holder_name.as_deref().unwrap_or("gone")) } } }
                    (action("/ports/cleanup", "Release them", "", call.csrf()))
                }
                @if !report.unclaimed.is_empty() {
                    h2 { "Servers without a claim" }
                    ul { @for (id, name, port) in &report.unclaimed { li { a href=(format!("/servers/{id}")) { (name) } " (" (port) ")" } } }
                }
                @if !report.foreign.is_empty() {
                    h2 { "Strangers on claimed ports" }
                    ul { @for (_, who) in &report.foreign { li { (who) } } }
                }
            }
        },
    ))
}

/// `POST /ports/cleanup`.
pub async fn cleanup(given: Given) -> Answer {
    let call = given.admin()?;
    let fields = call.fields();
    let only = fields.text("filter")?.filter(|filter| !filter.trim().is_empty());
    let dry_run = fields.flag("dry_run")?.unwrap_or(false);
    let released = call.run(move |web, actor| web.domain.cleanup_ports(actor, only.as_deref(), dry_run)).await?;
    if call.is_json() {
        return Ok(call.whole_list(&released, claim_json));
    }
    Ok(call.go("/ports"))
}

/// A port of a path: out of its bounds no such port is known.
fn port(number: u64) -> Result<u16, Fault> {
    u16::try_from(number).map_err(|_| Refusal::NotFound("port").into())
}

/// `GET /ports/{port}`: who holds it and who listens on it.
pub async fn inspect(number: u64, given: Given) -> Answer {
    let call = given.admin()?;
    let port = port(number)?;
    let found = call
        .run(move |web, actor| {
            let listeners = web.machine.listeners();
            web.domain.inspect_port(actor, port, &listeners)
        })
        .await?;
    let body = json!({
        "port": found.port, "claim": found.claim.as_ref().map(claim_json),
        "foreign": found.foreign, "in_range": found.in_range,
    });
    Ok(reply::json_with(StatusCode::OK, &body))
}

/// `DELETE /ports/{port}`: releases a claim that no server needs; answers with what it was.
pub async fn release_claim(number: u64, given: Given) -> Answer {
    let call = given.admin()?;
    let port = port(number)?;
    let released = call.run(move |web, actor| web.domain.release_claim(actor, port)).await?;
    Ok(call.changed(&claim_json(&released), "/ports"))
}

/// `POST /ports/clear`: ends all reservations and stale claims.
pub async fn clear(given: Given) -> Answer {
    let call = given.admin()?;
    let released = call.run(|web, actor| web.domain.clear_claims(actor)).await?;
    if call.is_json() {
        return Ok(call.whole_list(&released, claim_json));
    }
    Ok(call.go("/ports"))
}
