//! The first page, and whether the box is well.

use maud::{Markup, html};
use serde_json::json;
use sha2::{Digest, Sha256};
use warp::http::StatusCode;
use warp::reply::Reply;

use super::servers::{CardFacts, card_markup};
use crate::domain::servers::ServerView;
use crate::domain::{Items, Page, Refusal};
use crate::model::user::Actor;
use crate::web::error::Answer;
use crate::web::extract::{Call, Given};
use crate::web::memo::remembered;
use crate::web::{Web, json as objects, reply, session};

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

/// The servers of a page, and what each does at this moment.
fn servers_now(web: &Web, actor: &Actor, page: &Page) -> Result<(Items<ServerView>, Vec<CardFacts>), Refusal> {
    let servers = web.domain.list_servers(actor, page)?;
    let now = servers.items.iter().map(|view| CardFacts::of(web, view.server.id)).collect();
    Ok((servers, now))
}

async fn draw(call: Call) -> Answer {
    let page = call.page()?;
    if call.is_json() {
        let servers = call.run(move |web, actor| web.domain.list_servers(actor, &page)).await?;
        return Ok(call.list(&servers, objects::server));
    }
    let (servers, now, steps) = call
        .run(move |web, actor| {
            let (servers, now) = servers_now(web, actor, &page)?;
            let has_servers = page.cursor.is_some() || !servers.items.is_empty();
            let steps = first_steps(web, actor, has_servers)?;
            Ok((servers, now, steps))
        })
        .await?;
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
    let (servers, now) = call.run(move |web, actor| servers_now(web, actor, &page)).await?;
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
fn first_steps(web: &Web, actor: &Actor, servers: bool) -> Result<Markup, Refusal> {
    let installed = web.domain.active_build()?.is_some();
    let blueprints = !web.domain.list_blueprints(actor, &Page::first(1))?.items.is_empty();
    if installed && blueprints && servers {
        return Ok(html! {});
    }
    let admin = actor.admin;
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
