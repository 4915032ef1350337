//! The first page, and whether the box is well.

use std::sync::Arc;

use maud::{Markup, html};
use serde_json::json;
use sha2::{Digest, Sha256};
use warp::http::StatusCode;
use warp::reply::Reply;

use super::servers::{CardFacts, card_markup, now_of};
use crate::domain::Page;
use crate::domain::servers::ServerView;
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given};
use crate::web::memo::remembered;
use crate::web::{json as objects, reply, session};

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
    remembered(given.signed_in()?, draw).await
}

async fn draw(call: Call) -> Answer {
    let page = call.page()?;
    let servers = call.run(move |web, actor| web.domain.list_servers(actor, &page)).await?;
    if call.is_json() {
        return Ok(call.list(&servers, objects::server));
    }
    let steps = first_steps(&call).await?;
    let now = now_of(&call, servers.items.iter().map(|view| view.server.id).collect()).await?;
    Ok(call.show(
        "Dashboard",
        &html! {
            div.head { h1 { "Servers" } a.button.main href="/servers/new" { "New server" } }
            (steps)
            (grid(&inside(&call, &servers.items, &now)))
            (crate::web::layout::next_link("/dashboard", servers.next.as_deref()))
        },
    ))
}

/// `GET /dashboard/cards`: the grid alone, after servers came or went.
pub async fn cards(given: Given) -> Answer {
    remembered(given.signed_in()?, draw_cards).await
}

async fn draw_cards(call: Call) -> Answer {
    let page = call.page()?;
    let servers = call.run(move |web, actor| web.domain.list_servers(actor, &page)).await?;
    let now = now_of(&call, servers.items.iter().map(|view| view.server.id).collect()).await?;
    let inner = inside(&call, &servers.items, &now);
    if call.query.typed("seen") == Some(&*digest(&inner)) {
        // What the browser shows is what it would get: laying out fifty cards anew would only cost it time.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(reply::fragment(grid(&inner)))
}

/// A short name for what is shown.
fn digest(inner: &Markup) -> String {
    session::hex(&Sha256::digest(inner.0.as_bytes())[..8])
}

fn grid(inner: &Markup) -> Markup {
    html! {
        div.grid #cards data-live="servers" data-seen=(digest(inner)) data-hx-get="/dashboard/cards" data-hx-trigger="live" data-hx-swap="outerHTML" { (inner) }
    }
}

fn inside(call: &Call, servers: &[ServerView], now: &[CardFacts]) -> Markup {
    html! {
        @for (view, now) in servers.iter().zip(now) { (card_markup(call, view, now)) }
        @if servers.is_empty() {
            section.card.empty {
                h2 { "No servers yet" }
                p { "A server follows a blueprint: make one, then make a server from it." }
                div.actions { a.button href="/blueprints/new" { "New blueprint" } a.button href="/servers/new" { "New server" } }
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
