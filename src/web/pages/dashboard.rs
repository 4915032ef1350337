//! The first page, and whether the box is well.

use std::sync::Arc;

use maud::{Markup, html};
use serde_json::json;
use warp::http::StatusCode;

use super::servers::card_markup;
use crate::domain::Page;
use crate::domain::servers::ServerView;
use crate::model::machine::Facts;
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given};
use crate::web::{json as objects, reply};

/// `GET /health`: for probes, so without a sender; always JSON.
pub async fn health(given: Given) -> Answer {
    let call = given.unjudged()?;
    match call.run(|web, _| web.domain.health()).await {
        Ok(()) => Ok(reply::json_with(StatusCode::OK, &json!({ "status": "ok" }))),
        Err(fault) => Ok(reply::json_with(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({ "status": "failing", "error": fault.text() }),
        )),
    }
}

/// `GET /dashboard`.
pub async fn show(given: Given) -> Answer {
    let call = given.signed_in()?;
    let page = call.page()?;
    let servers = call.run(move |web, actor| web.domain.list_servers(actor, &page)).await?;
    if call.is_json() {
        return Ok(call.list(&servers, objects::server));
    }
    let steps = first_steps(&call).await?;
    let facts = facts(&call, &servers.items);
    Ok(call.show(
        "Dashboard",
        &html! {
            div.head { h1 { "Servers" } a.button.main href="/servers/new" { "New server" } }
            (steps)
            (grid(&call, &servers.items, &facts))
            (crate::web::layout::next_link("/dashboard", servers.next.as_deref()))
        },
    ))
}

/// `GET /dashboard/cards`: the grid alone, after servers came or went.
pub async fn cards(given: Given) -> Answer {
    let call = given.signed_in()?;
    let page = call.page()?;
    let servers = call.run(move |web, actor| web.domain.list_servers(actor, &page)).await?;
    let facts = facts(&call, &servers.items);
    Ok(reply::fragment(grid(&call, &servers.items, &facts)))
}

/// What is known of each game that runs.
fn facts(call: &Call, servers: &[ServerView]) -> Vec<Option<Facts>> {
    servers.iter().map(|view| call.web.machine.facts(view.server.id)).collect()
}

fn grid(call: &Call, servers: &[ServerView], facts: &[Option<Facts>]) -> Markup {
    html! {
        div.grid #cards data-live="servers" hx-get="/dashboard/cards" hx-trigger="live" hx-swap="outerHTML" {
            @for (view, facts) in servers.iter().zip(facts) { (card_markup(call, view, facts.as_ref())) }
            @if servers.is_empty() {
                section.card.empty {
                    h2 { "No servers yet" }
                    p { "A server follows a blueprint: make one, then make a server from it." }
                    p { a.button href="/blueprints/new" { "New blueprint" } " " a.button href="/servers/new" { "New server" } }
                }
            }
        }
    }
}

/// The way from nothing to a first game, until it is walked.
async fn first_steps(call: &Call) -> Result<Markup, Fault> {
    let web = Arc::clone(&call.web);
    let actor = call.actor();
    let (installed, blueprints, servers) = web
        .run(move |web| {
            let one = Page::first(1);
            Ok((
                web.domain.active_build()?.is_some(),
                !web.domain.list_blueprints(&actor, &one)?.items.is_empty(),
                !web.domain.list_servers(&actor, &one)?.items.is_empty(),
            ))
        })
        .await?;
    if installed && blueprints && servers {
        return Ok(html! {});
    }
    let admin = call.actor().admin;
    let step = |done: bool, text: Markup| html! { li data-done=[done.then_some("yes")] { (text) @if done { span.muted { " – done" } } } };
    Ok(html! {
        section.card {
            h2 { "First steps" }
            ol.steps {
                (step(installed, html! {
                    @if admin { a href="/admin/install" { "Install the game files" } } @else { "An admin installs the game files" }
                }))
                (step(blueprints, html! { a href="/blueprints/new" { "Make a blueprint" } }))
                (step(servers, html! { a href="/servers/new" { "Make a server" } }))
            }
        }
    })
}
