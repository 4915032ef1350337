//! Blueprints: the list, one blueprint with its form, and what uses it.

mod form;

use maud::html;
use warp::http::StatusCode;

use super::servers::pending;
use crate::domain::blueprints::{BlueprintChange, NewBlueprint};
use crate::model::FieldError;
use crate::model::id::{BlueprintId, OverlayId};
use crate::web::ask::{self, Question};
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given};
use crate::web::fields::Fields;
use crate::web::layout::{action, next_link, when};
use crate::web::note::Note;
use crate::web::{json, reply};
use form::Typed;

/// `GET /blueprints`.
pub async fn list(given: Given) -> Answer {
    let call = given.signed_in()?;
    let page = call.page()?;
    let blueprints = call.run(move |web, actor| web.domain.list_blueprints(actor, &page)).await?;
    if call.is_json() {
        return Ok(call.list(&blueprints, json::blueprint));
    }
    Ok(call.show(
        "Blueprints",
        &html! {
            div.head { h1 { "Blueprints" } a.button.main href="/blueprints/new" { "New blueprint" } }
            div.card.scroll {
                table {
                    thead { tr { th { "Name" } th { "Overlays" } th { "Arguments" } th { "Config lines" } th { "Changed" } } }
                    tbody {
                        @for blueprint in &blueprints.items {
                            tr {
                                td { a href=(format!("/blueprints/{}", blueprint.id)) { (blueprint.name) } }
                                td.number data-label="Overlays" { (blueprint.overlay_ids.len()) }
                                td.number data-label="Arguments" { (blueprint.arguments.len()) }
                                td.number data-label="Config lines" { (blueprint.config.len()) }
                                td data-label="Changed" { (when(blueprint.updated_at)) }
                            }
                        }
                        @if blueprints.items.is_empty() {
                            tr { td colspan="5" {
                                "No blueprints yet. A blueprint says what a server is made of: overlays, arguments, config. "
                                a href="/blueprints/new" { "Make the first" } "."
                            } }
                        }
                    }
                }
            }
            (next_link("/blueprints", blueprints.next.as_deref()))
        },
    ))
}

/// `GET /blueprints/new`.
pub async fn new_page(given: Given) -> Answer {
    let call = given.signed_in()?;
    let markup = form::render(&call, None, &Typed::default(), None).await?;
    Ok(call.show("New blueprint", &markup))
}

fn overlays(fields: &Fields) -> Result<Option<Vec<OverlayId>>, FieldError> {
    Ok(fields.ids("overlay_ids")?.map(|ids| ids.into_iter().map(OverlayId).collect()))
}

/// `POST /blueprints`.
pub async fn create(given: Given) -> Answer {
    let call = given.signed_in()?;
    let fields = call.fields();
    if let Some(answer) = rearranged(&call, None, &fields).await? {
        return Ok(answer);
    }
    let outcome = async {
        let new = NewBlueprint {
            name: fields.required_text("name")?,
            arguments: fields.lines("arguments")?.unwrap_or_default(),
            config: fields.lines("config")?.unwrap_or_default(),
            overlay_ids: overlays(&fields)?.unwrap_or_default(),
        };
        call.run(move |web, actor| web.domain.create_blueprint(actor, new)).await
    };
    match outcome.await {
        Ok(blueprint) => Ok(call.created(blueprint.id.0, &format!("/blueprints/{}", blueprint.id))),
        Err(fault) => refused(&call, None, &fields, fault).await,
    }
}

/// `GET /blueprints/{id}`.
pub async fn show(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let id = BlueprintId(id);
    let (blueprint, servers) = call
        .run(move |web, actor| Ok((web.domain.blueprint(actor, id)?, web.domain.blueprint_servers(actor, id)?)))
        .await?;
    if call.is_json() {
        return Ok(reply::json_with(StatusCode::OK, &json::blueprint(&blueprint)));
    }
    let mut pending = Vec::new();
    for server in &servers {
        pending.push(pending::of(&call, server.id).await?.changes);
    }
    let markup = form::render(&call, Some(id), &Typed::of_blueprint(&blueprint), None).await?;
    let csrf = call.csrf();
    Ok(call.show(
        &blueprint.name,
        &html! {
            (markup)
            section.card {
                h2 { "Servers that use it" }
                @if servers.is_empty() {
                    p { "None. " a href=(format!("/servers/new?blueprint_id={id}")) { "Make a server from it" } "." }
                } @else {
                    p { "They take a change at their next start." }
                    ul { @for (server, changes) in servers.iter().zip(&pending) {
                        li { a href=(format!("/servers/{}", server.id)) { (server.name) } (pending::badge(changes)) }
                    } }
                }
            }
            div.actions {
                a.button href=(format!("/blueprints/{id}/paths")) { "Who wins a path" }
                (action(&format!("/blueprints/{id}/duplicate"), "Duplicate", "", csrf))
                (ask::link(&format!("/blueprints/{id}/delete"), "Delete", &blueprint.name))
            }
        },
    ))
}

/// `PATCH /blueprints/{id}` and its form twin.
pub async fn update(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let fields = call.fields();
    let id = BlueprintId(id);
    if let Some(answer) = rearranged(&call, Some(id), &fields).await? {
        return Ok(answer);
    }
    let outcome = async {
        let change = BlueprintChange {
            name: fields.text("name")?,
            arguments: fields.lines("arguments")?,
            config: fields.lines("config")?,
            overlay_ids: overlays(&fields)?,
        };
        save(&call, id, change).await
    };
    match outcome.await {
        Ok(answer) => Ok(answer),
        Err(fault) => refused(&call, Some(id), &fields, fault).await,
    }
}

/// `PUT /blueprints/{id}`: what is left out is empty.
pub async fn replace(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let fields = call.fields();
    let change = BlueprintChange {
        name: Some(fields.required_text("name")?),
        arguments: Some(fields.lines("arguments")?.unwrap_or_default()),
        config: Some(fields.lines("config")?.unwrap_or_default()),
        overlay_ids: Some(overlays(&fields)?.unwrap_or_default()),
    };
    save(&call, BlueprintId(id), change).await
}

async fn save(call: &Call, id: BlueprintId, change: BlueprintChange) -> Answer {
    let blueprint = call
        .run(move |web, actor| {
            // Turning SourceTV on claims ports: strangers on them must be known.
            let listeners = web.machine.listeners(&[]);
            web.domain.update_blueprint(actor, id, change, &listeners)
        })
        .await?;
    Ok(call.changed(&json::blueprint(&blueprint), &format!("/blueprints/{id}")))
}

/// The form again, with what was typed and what is wrong with it.
async fn refused(call: &Call, id: Option<BlueprintId>, fields: &Fields, fault: Fault) -> Answer {
    if call.is_json() || !fault.is_about_the_form() {
        return Err(fault);
    }
    let markup = form::render(call, id, &Typed::of_fields(fields), Some(&fault)).await?;
    reply::refuse(call, fault, |fault| call.show_refused("Blueprint", &markup, fault))
}

/// A button that moves a row of the form was pressed: the form again, rearranged, nothing saved.
async fn rearranged(
    call: &Call,
    id: Option<BlueprintId>,
    fields: &Fields,
) -> Result<Option<warp::reply::Response>, Fault> {
    let Some(press) = fields.typed("arrange").filter(|_| !call.is_json()) else { return Ok(None) };
    let mut typed = Typed::of_fields(fields);
    typed.arrange(press);
    let markup = form::render(call, id, &typed, None).await?;
    Ok(Some(call.show("Blueprint", &markup)))
}

async fn question(call: &Call, id: u64) -> Result<Question, Fault> {
    let blueprint = call.run(move |web, actor| web.domain.blueprint(actor, BlueprintId(id))).await?;
    Ok(Question {
        thing: "blueprint",
        name: blueprint.name,
        verb: "Delete",
        loss: "Its arguments, its config lines and the order of its overlays go. The overlays stay. This cannot be undone.",
        path: format!("/blueprints/{id}/delete"),
        back: format!("/blueprints/{id}"),
        hidden: None,
    })
}

/// `GET /blueprints/{id}/delete`: asks by name first.
pub async fn delete_page(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    Ok(question(&call, id).await?.show(&call))
}

/// `DELETE /blueprints/{id}` and its form twin.
pub async fn delete(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let deed = async {
        call.run(move |web, actor| web.domain.delete_blueprint(actor, BlueprintId(id))).await?;
        Ok(call.noting(Note::Deleted, call.gone("/blueprints")))
    };
    ask::then(&call, question(&call, id), deed).await
}

/// `POST /blueprints/{id}/duplicate`.
pub async fn duplicate(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let name = call.fields().text("name")?;
    let copy =
        call.run(move |web, actor| web.domain.duplicate_blueprint(actor, BlueprintId(id), name.as_deref())).await?;
    Ok(call.created(copy.id.0, &format!("/blueprints/{}", copy.id)))
}
