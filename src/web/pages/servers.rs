//! Servers: the list, one server with its console, and what can be asked of it.

mod download;
mod files;
mod form;
mod live;
pub mod pending;
mod show;

pub use files::{files, reset_layer};
pub use form::{batch, batch_page, create, edit_page, new_page, update};
pub use live::live;
pub use show::{CardFacts, card, card_markup, logs, panel, show};

use maud::html;

use crate::model::id::ServerId;
use crate::model::job::Operation;
use crate::web::ask::{self, Question};
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given};
use crate::web::json;
use crate::web::layout::{badge, next_link};
use crate::web::memo::remembered;

/// Most bytes of a console line that is typed: a terminal takes 4,096 with its end (termios(3), canonical mode).
const CONSOLE_LINE_MAX: usize = 4095;

/// `GET /servers`.
pub async fn list(given: Given) -> Answer {
    remembered(given.signed_in()?, draw_list).await
}

async fn draw_list(call: Call) -> Answer {
    let page = call.page()?;
    let servers = call.run(move |web, actor| web.domain.list_servers(actor, &page)).await?;
    if call.is_json() {
        return Ok(call.list(&servers, json::server));
    }
    Ok(call.show(
        "Servers",
        &html! {
            div.head { h1 { "Servers" } a.button.main href="/servers/new" { "New server" } }
            div.card.scroll {
                table {
                    thead { tr { th { "Name" } th { "State" } th { "Port" } th { "Blueprint" } th { "Owner" } } }
                    tbody {
                        @for view in &servers.items {
                            tr {
                                td { a href=(format!("/servers/{}", view.server.id)) { (view.server.name) } }
                                td data-label="State" { (badge(view.display_state)) @if view.drift { " " span.badge data-state="drift" { "drift" } } }
                                td.number data-label="Port" { (view.server.port) }
                                td data-label="Blueprint" { a href=(format!("/blueprints/{}", view.server.blueprint_id)) { (view.blueprint_name) } }
                                td data-label="Owner" { (view.owner) }
                            }
                        }
                        @if servers.items.is_empty() {
                            tr { td colspan="5" { "No servers yet. " a href="/servers/new" { "Make the first" } "." } }
                        }
                    }
                }
            }
            (next_link("/servers", servers.next.as_deref()))
        },
    ))
}

/// Asks for a job.
async fn request(id: u64, given: Given, operation: Operation) -> Answer {
    let call = given.signed_in()?;
    enqueue(&call, ServerId(id), operation).await
}

async fn enqueue(call: &Call, id: ServerId, operation: Operation) -> Answer {
    let job = call.run(move |web, actor| web.domain.request(actor, id, operation)).await?;
    Ok(call.enqueued(&job))
}

/// `POST /servers/{id}/initialize`.
pub async fn initialize(id: u64, given: Given) -> Answer {
    request(id, given, Operation::Initialize).await
}

/// `POST /servers/{id}/start`.
pub async fn start(id: u64, given: Given) -> Answer {
    request(id, given, Operation::Start).await
}

/// `POST /servers/{id}/stop`.
pub async fn stop(id: u64, given: Given) -> Answer {
    request(id, given, Operation::Stop).await
}

/// `POST /servers/{id}/restart`.
pub async fn restart(id: u64, given: Given) -> Answer {
    request(id, given, Operation::Restart).await
}

/// `DELETE /servers/{id}`: enqueues.
pub async fn delete(id: u64, given: Given) -> Answer {
    request(id, given, Operation::Delete).await
}

async fn question(call: &Call, id: u64) -> Result<Question, Fault> {
    let view = call.run(move |web, actor| web.domain.server(actor, ServerId(id))).await?;
    Ok(Question {
        thing: "server",
        name: view.server.name,
        verb: "Delete",
        loss: "The game is stopped; what it wrote, its console and its port go. Its jobs stay in the list. This cannot be undone.",
        path: format!("/servers/{id}/delete"),
        back: format!("/servers/{id}"),
        hidden: None,
    })
}

/// `GET /servers/{id}/delete`: asks by name first.
pub async fn delete_page(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    Ok(question(&call, id).await?.show(&call))
}

/// `POST /servers/{id}/delete`: the form twin.
pub async fn delete_form(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    ask::then(&call, question(&call, id), enqueue(&call, ServerId(id), Operation::Delete)).await
}

/// `POST /servers/{id}/console`: types a line into the game.
pub async fn console(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let id = ServerId(id);
    let line = call.fields().required_text("line")?;
    let line = line.trim_end_matches(['\r', '\n']).to_owned();
    if line.chars().any(char::is_control) {
        return Err(Fault::field("line", "must be one line without control characters"));
    }
    if line.len() > CONSOLE_LINE_MAX {
        return Err(Fault::field("line", format!("has more than {CONSOLE_LINE_MAX} bytes")));
    }
    let view = call.run(move |web, actor| web.domain.server(actor, id)).await?;
    let object = format!("server {id} \"{}\": {line}", view.server.name);
    // First: nothing can be typed that is not in the log. A game that does not run takes nothing, and the log says so.
    let asked = object.clone();
    call.run(move |web, actor| web.domain.record(actor, "server.console", &asked)).await?;
    if let Err(error) = call.web.machine.console_send(id, line).await {
        let object = format!("{object} ({error})");
        call.run(move |web, actor| web.domain.record(actor, "server.console_failed", &object)).await?;
        return Err(error.into());
    }
    Ok(call.gone(&format!("/servers/{id}")))
}
