//! One server: its card on the dashboard, its page, its console without script.

use std::sync::Arc;

use maud::{Markup, html};
use serde_json::json;
use warp::http::StatusCode;

use super::pending::{self, Spec};
use super::{download, live};
use crate::blocking;
use crate::domain::Page;
use crate::domain::jobs::JobFilter;
use crate::domain::servers::ServerView;
use crate::model::ansi;
use crate::model::id::ServerId;
use crate::model::machine::{ConsoleError, Facts, Sample};
use crate::model::server::ActualState;
use crate::model::time::Timestamp;
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given};
use crate::web::layout::{badge, csrf_field, live_action, live_actions, when};
use crate::web::pages::jobs::coloured;
use crate::web::sse::console::Lines;
use crate::web::{Web, chart, json as objects, reply};

/// Bytes of console that one page holds at most.
const LOG_BYTES_MAX: usize = 1 << 20;
/// Stands where a fact is not known: every fact keeps its place, so that nothing moves when a game starts or ends.
const NONE: &str = "–";
/// Lines of console on a page without script.
const LOG_LINES: u64 = 200;

/// `GET /servers/{id}`.
pub async fn show(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let id = ServerId(id);
    let view = call.run(move |web, actor| web.domain.server(actor, id)).await?;
    let spec = pending::of(&call, id).await?;
    if call.is_json() {
        let mut body = objects::server(&view);
        body["pending_changes"] = json!(spec.changes);
        body["live"] = live::json_of(&view, call.web.machine.facts(id).as_ref());
        return Ok(reply::json_with(StatusCode::OK, &body));
    }
    let filter = JobFilter { server_id: Some(id), ..JobFilter::default() };
    let jobs = call.run(move |web, actor| web.domain.list_jobs(actor, &filter, &Page::first(10))).await?;
    let hour = live::section(&call, id).await?;
    let server = &view.server;
    Ok(call.show(
        &server.name,
        &html! {
            div.head {
                h1 { (server.name) }
                div.actions {
                    a.button href=(format!("/servers/{id}/files")) { "Files" }
                    " " a.button href=(format!("/servers/{id}/paths")) { "Who wins a path" }
                    " " a.button href=(format!("/servers/{id}/edit")) { "Change" }
                    " " a.button.danger href=(format!("/servers/{id}/delete")) { "Delete" }
                }
            }
            (panel_markup(&call, &view, call.web.machine.facts(id).as_ref(), &spec))
            section.card {
                div.head {
                    h2 { "Console" }
                    p { a href=(format!("/servers/{id}/logs")) { "As text" } " · " a href=(format!("/servers/{id}/logs?download=1")) { "Download" } }
                }
                (console_markup(&call, id))
            }
            (hour)
            section.card.scroll {
                h2 { "Jobs" }
                (super::super::jobs::table(&jobs.items, &html! { "No jobs yet: the first is its start." }))
                p { a href=(format!("/jobs?server_id={id}")) { "All jobs of this server" } }
            }
        },
    ))
}

/// `GET /servers/{id}/panel`: state and actions, after either changed.
pub async fn panel(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let view = call.run(move |web, actor| web.domain.server(actor, ServerId(id))).await?;
    let spec = pending::of(&call, ServerId(id)).await?;
    Ok(reply::fragment(panel_markup(&call, &view, call.web.machine.facts(ServerId(id)).as_ref(), &spec)))
}

/// `GET /servers/{id}/card`: its card on the dashboard.
pub async fn card(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let id = ServerId(id);
    let (view, now) = call.run(move |web, actor| Ok((web.domain.server(actor, id)?, CardFacts::of(web, id)))).await?;
    Ok(reply::fragment(card_markup(&call, &view, &now)))
}

fn panel_markup(call: &Call, view: &ServerView, facts: Option<&Facts>, spec: &Spec) -> Markup {
    let server = &view.server;
    let id = server.id;
    html! {
        div.card #panel data-live=(format!("server-{id}")) data-hx-get=(format!("/servers/{id}/panel")) data-hx-trigger="live" data-hx-swap="outerHTML" {
            div.head {
                p.state { (badge(view.display_state)) @if view.drift { " " (drift(view)) } }
                (actions(call, view))
            }
            dl.facts {
                div { dt { "Address" } dd { (address(call, server.port)) } }
                @if let Some(port) = server.tv_port { div { dt { "SourceTV port" } dd.number { (port) } } }
                div { dt { "Blueprint" } dd { a href=(format!("/blueprints/{}", server.blueprint_id)) { (view.blueprint_name) } } }
                div { dt { "Owner" } dd { (view.owner) } }
                div { dt { "Wanted" } dd { (server.desired_state.word()) } }
                (facts_markup(facts))
                @let since = server.started_at.filter(|_| server.actual_state == ActualState::Running);
                div { dt { "Running since" } dd { @if let Some(at) = since { (when(at)) } @else { (NONE) } } }
                div { dt { "Uptime" } dd { @if let Some(at) = since { (live::uptime(at, Timestamp::now())) } @else { (NONE) } } }
            }
            (spec.render())
            (pending::badge(&spec.changes))
            @if let Some(error) = &server.last_error { div.alert.bad { p { "Last error" } pre { (error) } } }
            div.active {
                @for job in &view.active {
                    p { (badge(job.state.word())) " " a href=(format!("/jobs/{}", job.id)) { (job.operation.word()) " (job " (job.id) ")" } }
                }
            }
        }
    }
}

fn facts_markup(facts: Option<&Facts>) -> Markup {
    html! {
        div { dt { "Players" } dd.number { (facts.map_or_else(|| NONE.to_owned(), players)) } }
        div { dt { "Map" } dd { (facts.and_then(|facts| facts.map.as_deref()).unwrap_or(NONE)) } }
        div { dt { "Answers in" } dd.number { (facts.and_then(|facts| facts.ping_ms).map_or_else(|| NONE.to_owned(), |ms| format!("{ms} ms"))) } }
        (live::usage(facts))
    }
}

fn players(facts: &Facts) -> String {
    let count = |number: Option<u32>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let bots = facts.bots.filter(|bots| *bots > 0).map_or_else(String::new, |bots| format!(" + {bots} bots"));
    format!("{} of {}{bots}", count(facts.players), count(facts.max_players))
}

fn drift(view: &ServerView) -> Markup {
    html! { span.badge data-state="drift" { "should be " (view.server.desired_state.word()) } }
}

/// `host:port`, and a link that starts the game and connects.
fn address(call: &Call, port: u16) -> Markup {
    let host = call.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let public = call.web.settings.public_authority();
    let named = call.web.settings.public_address.as_deref();
    let host = named.unwrap_or(if public.is_empty() { host } else { public });
    let host = if named.is_some() { host } else { without_port(host) };
    let address = format!("{host}:{port}");
    html! {
        @if host.is_empty() { span.number { (port) } } @else {
            a.number href=(format!("steam://connect/{address}")) { (address) }
            " " button.quiet.copy type="button" data-copy=(address) { "Copy" }
        }
    }
}

/// The host of an authority: `[::1]:27080` → `[::1]`. Characters that no host has make it empty.
fn without_port(authority: &str) -> &str {
    let host = if authority.starts_with('[') {
        authority.find(']').map_or("", |end| &authority[..=end])
    } else {
        authority.split(':').next().unwrap_or_default()
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '[' | ']' | ':' | '_');
    if host.chars().all(fits) { host } else { "" }
}

/// The buttons that make sense now; the job decides in the end.
fn actions(call: &Call, view: &ServerView) -> Markup {
    let id = view.server.id;
    let csrf = call.csrf();
    let action = |word: &str, text: &str, class: &str| live_action(&format!("/servers/{id}/{word}"), text, class, csrf);
    let (runs, stopped) = match view.server.actual_state {
        ActualState::Running | ActualState::Starting => (true, false),
        ActualState::Stopped | ActualState::Failed => (false, true),
        // Nothing was ever done to it: there is nothing to stop.
        ActualState::Unknown if view.last_job.is_none() => (false, true),
        ActualState::Unknown => (true, true),
    };
    live_actions(&html! {
        @if !view.server.deleting {
            @if stopped { (action("start", "Start", "main")) }
            @if runs { (action("stop", "Stop", "")) (action("restart", "Restart", "")) }
            @if stopped { (action("initialize", "Initialize", "")) }
        }
    })
}

/// What a card tells of a game besides its record.
pub struct CardFacts {
    facts: Option<Facts>,
    hour: Vec<Sample>,
}

impl CardFacts {
    /// What is known of a game now. Blocks on files.
    pub fn of(web: &Web, server: ServerId) -> Self {
        Self { facts: web.machine.facts(server), hour: web.machine.history(server) }
    }
}

/// A picture that moves once a minute, so that a card is the same until something happened.
fn this_minute() -> Timestamp {
    let now = Timestamp::now();
    Timestamp(now.0 - now.0.rem_euclid(60_000))
}

/// A server on the dashboard.
pub fn card_markup(call: &Call, view: &ServerView, now: &CardFacts) -> Markup {
    let facts = now.facts.as_ref();
    let server = &view.server;
    let id = server.id;
    html! {
        article.card.server data-live=(format!("server-{id}")) data-hx-get=(format!("/servers/{id}/card")) data-hx-trigger="live" data-hx-swap="outerHTML" {
            div.head {
                h2 { a href=(format!("/servers/{id}")) { (server.name) } }
                p.state { (badge(view.display_state)) @if view.drift { " " (drift(view)) } }
            }
            dl.facts {
                div { dt { "Address" } dd { (address(call, server.port)) } }
                div { dt { "Blueprint" } dd { (view.blueprint_name) } }
                @if let Some(facts) = facts {
                    div { dt { "Players" } dd.number { (players(facts)) } }
                    @if let Some(map) = &facts.map { div { dt { "Map" } dd { (map) } } }
                } @else {
                    div { dt { "Players" } dd { "–" } }
                    div { dt { "Map" } dd { "–" } }
                }
                div { dt { "Last job" } dd {
                    @if let Some(job) = &view.last_job {
                        a href=(format!("/jobs/{}", job.id)) { (job.operation.word()) } " " (job.state.word())
                    } @else { "–" }
                } }
            }
            (chart::spark(&now.hour, this_minute()))
            (actions(call, view))
        }
    }
}

fn console_markup(call: &Call, id: ServerId) -> Markup {
    html! {
        div.console data-console=(format!("/servers/{id}/logs/stream?lines={LOG_LINES}&colours=1")) {
            div.console-tools {
                label { "Search " input type="search" data-search autocomplete="off"; }
                button.quiet type="button" data-copy-log { "Copy" }
                span.muted data-status { "connecting" }
                button.quiet type="button" data-follow hidden { "Follow" }
            }
            pre.log role="log" aria-label="Console" aria-live="off" tabindex="0" data-lines {}
            noscript { p { "The console moves only with JavaScript; " a href=(format!("/servers/{id}/logs")) { "its last lines as text" } "." } }
        }
        form.row data-command method="post" action=(format!("/servers/{id}/console")) {
            (csrf_field(call.csrf()))
            label.visually-hidden for="console-line" { "Console command" }
            input #console-line type="text" name="line" placeholder="status" autocomplete="off" spellcheck="false" maxlength="4095" required;
            button type="submit" { "Send" }
        }
    }
}

/// `GET /servers/{id}/logs`: the last lines, without script; JSON gives each with its cursor. `?download=1`: all of them.
pub async fn logs(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let id = ServerId(id);
    let lines = call.query.number("lines")?.unwrap_or(LOG_LINES).min(5_000) as usize;
    let view = call.run(move |web, actor| web.domain.server(actor, id)).await?;
    if call.query.number("download")? == Some(1) {
        return download::whole(&call, id);
    }
    let lines = read(&call, id, lines).await?;
    if call.is_json() {
        let items: Vec<_> =
            lines.iter().map(|(cursor, text)| json!({ "cursor": cursor, "text": ansi::plain(text) })).collect();
        return Ok(reply::json_with(StatusCode::OK, &json!({ "items": items, "next": null })));
    }
    Ok(call.show(
        &format!("Console of {}", view.server.name),
        &html! {
            div.head { h1 { "Console of " (view.server.name) } a.button href=(format!("/servers/{id}")) { "Back" } }
            div.card {
                pre.log tabindex="0" { @for (_, text) in &lines { (coloured(text)) "\n" } @if lines.is_empty() { "Nothing yet." } }
            }
        },
    ))
}

async fn read(call: &Call, id: ServerId, lines: usize) -> Result<Vec<(u64, String)>, Fault> {
    let web = Arc::clone(&call.web);
    let read = blocking::run(move || {
        let mut at = web.machine.console_tail(id, lines)?;
        let mut cutter = Lines::from(at);
        let (mut found, mut bytes) = (Vec::new(), 0);
        while bytes < LOG_BYTES_MAX {
            let chunk = web.machine.console_read(id, at, 64 * 1024)?;
            if chunk.bytes.is_empty() {
                break;
            }
            bytes += chunk.bytes.len();
            at = chunk.start + chunk.bytes.len() as u64;
            found.extend(cutter.list(&chunk).1);
        }
        Ok(found)
    });
    match read.await {
        Ok(Ok(lines)) => Ok(lines),
        Ok(Err(ConsoleError::NotRunning)) => Ok(Vec::new()),
        Ok(Err(error @ ConsoleError::Machine(_))) => Err(error.into()),
        Err(error) => {
            log::error!("reading a console panicked: {error}");
            Err(Fault::internal())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_authority_is_found_and_nonsense_is_dropped() {
        assert_eq!(without_port("box.example:27080"), "box.example");
        assert_eq!(without_port("[::1]:27080"), "[::1]");
        assert_eq!(without_port("a\"onclick=x"), "");
    }
}
