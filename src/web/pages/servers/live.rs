//! How a game is now and was in the last hour, as its page and programs see it.

use std::sync::Arc;

use maud::{Markup, html};
use serde_json::{Value, json};

use crate::blocking;
use crate::domain::servers::ServerView;
use crate::model::id::ServerId;
use crate::model::machine::{Facts, Person, Sample};
use crate::model::server::ActualState;
use crate::model::time::Timestamp;
use crate::web::chart;
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given};
use crate::web::layout::size;
use crate::web::reply;

/// The facts as programs read them; null while no game runs.
pub fn json_of(view: &ServerView, facts: Option<&Facts>) -> Value {
    let Some(facts) = facts else { return Value::Null };
    let running = view.server.actual_state == ActualState::Running;
    let since = view.server.started_at.filter(|_| running);
    let people = facts.people.as_ref().map(|people| people.iter().map(person).collect::<Vec<_>>());
    json!({
        "map": facts.map, "players": facts.players, "bots": facts.bots, "max_players": facts.max_players,
        "ping_ms": facts.ping_ms, "cpu_percent": facts.cpu_percent, "memory_bytes": facts.memory_bytes,
        "processes": facts.processes, "layer_bytes": facts.layer_bytes,
        "uptime_seconds": since.map(|since| Timestamp::now().seconds_since(since).max(0)),
        "people": people, "rcon_problem": facts.rcon_problem,
    })
}

fn person(person: &Person) -> Value {
    json!({
        "userid": person.userid, "name": person.name, "steam_id": person.steam_id, "connected": person.connected,
        "ping_ms": person.ping_ms,
    })
}

/// What the process uses, as entries of a list of facts.
pub fn usage(facts: Option<&Facts>) -> Markup {
    let entry = |name: &str, text: Option<String>| html! { div { dt { (name) } dd.number { (text.as_deref().unwrap_or("–")) } } };
    html! {
        (entry("Processor", facts.and_then(|facts| facts.cpu_percent).map(|cpu| format!("{cpu} %"))))
        (entry("Memory", facts.and_then(|facts| facts.memory_bytes).map(size)))
        (entry("Processes", facts.and_then(|facts| facts.processes).map(|count| count.to_string())))
        (entry("Written to disk", facts.and_then(|facts| facts.layer_bytes).map(size)))
    }
}

/// How long a game has run: `3 d 04 h`, `2 h 05 min`, `1 min`.
pub fn uptime(since: Timestamp, now: Timestamp) -> String {
    let minutes = now.seconds_since(since).max(0) / 60;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, hours) => format!("{hours} h {minutes:02} min"),
        (days, hours) => format!("{days} d {hours:02} h"),
    }
}

/// `GET /servers/{id}/live`: pictures of the last hour and who plays, as they are now.
pub async fn live(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let id = ServerId(id);
    call.run(move |web, actor| web.domain.may_see_server(actor, id)).await?;
    Ok(reply::fragment(section(&call, id).await?))
}

/// The part of a server's page that moves by itself.
pub async fn section(call: &Call, id: ServerId) -> Result<Markup, Fault> {
    let web = Arc::clone(&call.web);
    let samples = blocking::run(move || web.machine.history(id)).await.map_err(|error| {
        log::error!("reading a history panicked: {error}");
        Fault::internal()
    })?;
    let facts = call.web.machine.facts(id);
    Ok(html! {
        section.card #live data-hx-get=(format!("/servers/{id}/live")) data-hx-trigger="every 15s" data-hx-swap="outerHTML" {
            h2 { "Last hour" }
            (graphs(&samples, facts.as_ref()))
            @if let Some(facts) = &facts { (people(facts)) }
        }
    })
}

fn graphs(samples: &[Sample], facts: Option<&Facts>) -> Markup {
    let now = Timestamp::now();
    let seats = facts.and_then(|facts| facts.max_players).map_or(4.0, f64::from);
    html! {
        div.graphs {
            (chart::hour("Players", samples, now, seats, |sample| sample.players.map(f64::from), |n| format!("{n:.0}")))
            (chart::hour("Processor", samples, now, 100.0, |sample| Some(f64::from(sample.cpu_percent)), |n| format!("{n:.0} %")))
            (chart::hour("Memory", samples, now, f64::from(64 << 20), |sample| Some(sample.memory_bytes as f64), |n| size(n as u64)))
        }
    }
}

fn people(facts: &Facts) -> Markup {
    html! {
        @if let Some(people) = &facts.people {
            div.scroll {
                table {
                    thead { tr { th { "Player" } th { "Steam id" } th { "Connected" } th { "Ping" } } }
                    tbody {
                        @for person in people {
                            tr {
                                td { (person.name) }
                                td data-label="Steam id" { code { (person.steam_id) } }
                                td.number data-label="Connected" { (person.connected) }
                                td.number data-label="Ping" { @if let Some(ping) = person.ping_ms { (ping) " ms" } @else { "–" } }
                            }
                        }
                        @if people.is_empty() { tr { td colspan="4" { "Nobody plays now." } } }
                    }
                }
            }
        }
        @if let Some(problem) = &facts.rcon_problem { p.muted { "Who plays is not known by name: " (problem) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uptime_is_said_in_its_two_largest_units() {
        for (seconds, text) in
            [(59, "0 min"), (3599, "59 min"), (7500, "2 h 05 min"), (3 * 86_400 + 4 * 3600, "3 d 04 h")]
        {
            assert_eq!(uptime(Timestamp(0), Timestamp(seconds * 1000)), text);
        }
    }
}
