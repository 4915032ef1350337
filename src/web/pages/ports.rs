//! Ports: who holds which, what is wrong, and blocks held for later.

pub mod map;
pub mod strays;

use maud::{Markup, html};
use serde_json::{Value, json};
use warp::http::StatusCode;

use crate::domain::Refusal;
use crate::domain::ports::{ClaimView, NewReservation, PortInspection, ReservationView};
use crate::model::FieldError;
use crate::model::id::ReservationId;
use crate::model::port::Holder;
use crate::web::ask::{self, Question};
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given};
use crate::web::fields::Fields;
use crate::web::layout::{Field, action, badge, csrf_field, form_alert, when, when_maybe};
use crate::web::note::Note;
use crate::web::reply;

/// Fields that the form shows.
const SHOWN: [&str; 3] = ["count", "label", "expires_at"];

fn claim_json(view: &ClaimView) -> Value {
    json!(view)
}

fn reservation_json(view: &ReservationView) -> Value {
    json!(view)
}

/// `GET /ports`.
pub async fn list(given: Given) -> Answer {
    let call = given.signed_in()?;
    if call.is_json() {
        let claims = call.run(|web, actor| web.domain.list_claims(actor)).await?;
        return call.short_list(&claims, claim_json);
    }
    let markup = markup(&call, None, None).await?;
    Ok(call.show("Ports", &markup))
}

async fn markup(call: &Call, typed: Option<&Fields>, fault: Option<&Fault>) -> Result<Markup, Fault> {
    let admin = call.actor().admin;
    let (claims, reservations, slots, strays) = call
        .run(move |web, actor| {
            let reservations = if admin { web.domain.list_reservations(actor)? } else { Vec::new() };
            let slots = web.domain.port_map(actor, &web.machine.listeners(&[]))?;
            let strays = if admin { web.machine.strays().len() } else { 0 };
            Ok((web.domain.list_claims(actor)?, reservations, slots, strays))
        })
        .await?;
    let range = call.web.domain.rules().port_range;
    Ok(html! {
        div.head { h1 { "Ports" } @if admin { a.button href="/ports/check" { "Check" } } }
        p { "A new server gets the lowest free port of " (range) " unless it asks for one." }
        @if strays > 0 {
            div.alert.bad role="status" {
                p { @if strays == 1 { "One game runs" } @else { (strays) " games run" } " on this box that no server owns. " a href="/ports/check" { "Look at what is wrong" } }
            }
        }
        (map::render(range, &slots))
        div.card.scroll {
            table {
                thead { tr { th { "Port" } th { "For" } th { "Holder" } th { "User" } th { "Status" } th { "Chosen" } th { "Since" } } }
                tbody {
                    @for claim in &claims {
                        tr {
                            td.number { (claim.port) }
                            td data-label="For" { (claim.claim.purpose.word()) }
                            td data-label="Holder" { (holder(claim)) }
                            td data-label="User" { (claim.username.as_deref().unwrap_or("–")) }
                            td data-label="Status" { (badge(claim.status.word())) }
                            td data-label="Chosen" { (claim.claim.kind.word()) }
                            td data-label="Since" { (when(claim.claim.claimed_at)) }
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
                                td.number data-label="Ports" { (ports(&view.ports)) }
                                td data-label="Ends" { (when_maybe(view.reservation.expires_at)) @if view.expired { " " (badge("stale")) } }
                                td { (ask::link(&format!("/ports/reservations/{}/delete", view.reservation.id), "Release", &view.reservation.label)) }
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
    call.short_list(&reservations, reservation_json)
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
            let listeners = web.machine.listeners(&[]);
            web.domain.reserve(actor, new, &listeners)
        })
        .await
    };
    match outcome.await {
        Ok(view) if call.is_json() => Ok(reply::json_with(StatusCode::CREATED, &json!(view))),
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

async fn question(call: &Call, id: u64) -> Result<Question, Fault> {
    let all = call.run(|web, actor| web.domain.list_reservations(actor)).await?;
    let found = all.into_iter().find(|view| view.reservation.id == ReservationId(id));
    Ok(Question {
        thing: "reservation",
        name: found.ok_or(Refusal::NotFound("reservation"))?.reservation.label,
        verb: "Release",
        loss: "Its ports are free again: any new server may get them.",
        path: format!("/ports/reservations/{id}/delete"),
        back: "/ports".into(),
        hidden: None,
    })
}

/// `GET /ports/reservations/{id}/delete`: asks by name first.
pub async fn release_page(id: u64, given: Given) -> Answer {
    let call = given.admin()?;
    Ok(question(&call, id).await?.show(&call))
}

/// `DELETE /ports/reservations/{id}` and its form twin.
pub async fn release(id: u64, given: Given) -> Answer {
    let call = given.admin()?;
    let deed = async {
        call.run(move |web, actor| web.domain.release_reservation(actor, ReservationId(id))).await?;
        Ok(call.noting(Note::Released, call.gone("/ports")))
    };
    ask::then(&call, question(&call, id), deed).await
}

/// `GET /ports/check`.
pub async fn check(given: Given) -> Answer {
    let call = given.admin()?;
    let (report, strays) = call
        .run(|web, actor| {
            let claimed: Vec<u16> = web.domain.list_claims(actor)?.iter().map(|claim| claim.port).collect();
            let listeners = web.machine.listeners(&claimed);
            Ok((web.domain.check_ports(actor, &listeners)?, web.machine.strays()))
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
        let body = json!({ "stale": report.stale, "unclaimed": unclaimed, "foreign": foreign, "strays": strays });
        return Ok(reply::json_with(StatusCode::OK, &body));
    }
    let fine = report.stale.is_empty() && report.unclaimed.is_empty() && report.foreign.is_empty() && strays.is_empty();
    Ok(call.show(
        "Port check",
        &html! {
            div.head { h1 { "Port check" } a.button href="/ports" { "Back" } }
            div.card {
                @if fine { p { "Every claim belongs to a server or a reservation, no stranger listens on a claimed port, and no game runs that no server owns." } }
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
                (strays::render(&strays))
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
    Ok(call.noting(Note::Released, call.go("/ports")))
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
            let listeners = web.machine.listeners(&[port]);
            web.domain.inspect_port(actor, port, &listeners)
        })
        .await?;
    if !call.is_json() {
        return Ok(call.show(&format!("Port {port}"), &one_port(&found)));
    }
    let body = json!({
        "port": found.port, "claim": found.claim,
        "foreign": found.foreign, "in_range": found.in_range,
    });
    Ok(reply::json_with(StatusCode::OK, &body))
}

fn one_port(found: &PortInspection) -> Markup {
    html! {
        div.head { h1 { "Port " (found.port) } a.button href="/ports" { "All ports" } }
        div.card {
            p { "Automatic choice " @if found.in_range { "may take it when it is free." } @else { "never takes it: it lies outside the range." } }
            @if let Some(claim) = &found.claim {
                dl.facts {
                    div { dt { "Holder" } dd { (holder(claim)) } }
                    div { dt { "For" } dd { (claim.claim.purpose.word()) } }
                    div { dt { "Status" } dd { (badge(claim.status.word())) } }
                    div { dt { "User" } dd { (claim.username.as_deref().unwrap_or("–")) } }
                    div { dt { "Since" } dd { (when(claim.claim.claimed_at)) } }
                }
            } @else { p { "Nobody holds it." } }
            @for stranger in &found.foreign { p { (stranger) } }
        }
    }
}

/// `DELETE /ports/{port}` and its form twin: releases a claim that no server needs; answers with what it was.
pub async fn release_claim(number: u64, given: Given) -> Answer {
    let call = given.admin()?;
    let port = port(number)?;
    let released = call.run(move |web, actor| web.domain.release_claim(actor, port)).await?;
    if call.is_json() {
        return Ok(reply::json_with(StatusCode::OK, &claim_json(&released)));
    }
    Ok(call.noting(Note::Released, call.go("/ports")))
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
