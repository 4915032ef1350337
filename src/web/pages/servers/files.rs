//! What a server's game wrote, what it hides, and throwing it away.

use maud::{Markup, html};
use serde_json::{Value, json};
use warp::http::StatusCode;

use crate::domain::servers::ServerView;
use crate::model::id::ServerId;
use crate::model::machine::{WrittenEntry, WrittenFolder, WrittenKind, WrittenOver};
use crate::model::overlay::Overlay;
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given};
use crate::web::layout::{Field, csrf_field, form_alert, size};
use crate::web::note::Note;
use crate::web::reply;

/// `GET /servers/{id}/files?path=`: a folder of what the game wrote.
pub async fn files(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    show(&call, ServerId(id), None).await
}

async fn show(call: &Call, id: ServerId, fault: Option<&Fault>) -> Answer {
    let path = call.query.text("path")?.unwrap_or_default().trim_matches('/').to_owned();
    let (view, overlays) =
        call.run(move |web, actor| Ok((web.domain.server(actor, id)?, web.domain.overlay_choices(actor)?))).await?;
    let folder = path.clone();
    let found = call.run(move |web, _| Ok(web.machine.written_files(id, &folder))).await??;
    let hides = |entry: &WrittenEntry| entry.over.map(|over| hidden(over, &overlays));
    if call.is_json() {
        let one = |entry: &WrittenEntry| -> Value {
            json!({ "name": entry.name, "kind": entry.kind.word(), "bytes": entry.bytes, "hides": hides(entry) })
        };
        let mut page = call.short_page(&found.entries, one)?;
        page["left_out"] = found.is_cut.into();
        return Ok(reply::json_with(StatusCode::OK, &page));
    }
    let markup = markup(call, &view, &path, &found, &hides, fault);
    let title = format!("Files of {}", view.server.name);
    Ok(fault.map_or_else(|| call.show(&title, &markup), |fault| call.show_refused(&title, &markup, fault)))
}

fn hidden(over: WrittenOver, overlays: &[Overlay]) -> String {
    match over {
        WrittenOver::Game => "a file of the game".into(),
        WrittenOver::Overlay(id) => {
            let name = overlays.iter().find(|overlay| overlay.id == id).map(|overlay| overlay.name.as_str());
            name.map_or_else(|| format!("a file of overlay {id}"), |name| format!("a file of overlay \"{name}\""))
        }
    }
}

fn markup(
    call: &Call,
    view: &ServerView,
    path: &str,
    found: &WrittenFolder,
    hides: &dyn Fn(&WrittenEntry) -> Option<String>,
    fault: Option<&Fault>,
) -> Markup {
    let id = view.server.id;
    let entries = &found.entries;
    let link = |path: &str| {
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("path", path).finish();
        format!("/servers/{id}/files?{query}")
    };
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
    html! {
        div.head { h1 { "Files of " a href=(format!("/servers/{id}")) { (view.server.name) } } }
        p { "What the game wrote, in " code { "/" (path) } ". It lies over the blueprint's overlays and the game: what it hides stays hidden when they change." }
        @if found.is_cut { p.hint { "There are more than these " (entries.len()) ": the others are left out." } }
        div.card.scroll {
            table {
                thead { tr { th { "Name" } th { "Size" } th { "Hides" } } }
                tbody {
                    @if let Some((parent, _)) = path.rsplit_once('/').or((!path.is_empty()).then_some(("", ""))) {
                        tr { td { a href=(link(parent)) { ".." } } td {} td {} }
                    }
                    @for entry in entries {
                        tr {
                            @match entry.kind {
                                WrittenKind::Folder => { td { a href=(link(&below(&entry.name))) { (entry.name) "/" } } td {} }
                                WrittenKind::File => { td { (entry.name) } td.number data-label="Size" { (size(entry.bytes)) } }
                                WrittenKind::Link | WrittenKind::Removed | WrittenKind::Other => { td { (entry.name) } td data-label="Kind" { (entry.kind.word()) } }
                            }
                            td data-label="Hides" { @if let Some(hidden) = hides(entry) { (hidden) } }
                        }
                    }
                    @if entries.is_empty() { tr { td colspan="3" { "Nothing yet: what the game writes while it runs comes here." } } }
                }
            }
        }
        section.card.narrow {
            h2 { "Throw it away" }
            p { "The next start begins with the blueprint's files and the game's alone. This cannot be undone." }
            (form_alert(fault, &["confirm"]))
            form method="post" action=(format!("/servers/{id}/reset-layer")) {
                (csrf_field(call.csrf()))
                (Field { required: true, hint: "Type the name of the server. It must be stopped.", ..Field::text("confirm", "Name", "") }.render(fault))
                button.danger type="submit" { "Throw away what it wrote" }
            }
        }
    }
}

/// `POST /servers/{id}/reset-layer`: throws away what the game wrote. A page sends the name along.
pub async fn reset_layer(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let id = ServerId(id);
    let typed = call.fields().typed("confirm").map(str::trim).map(str::to_owned);
    let outcome = call
        .run(move |web, actor| {
            let view = web.domain.may_reset_layer(actor, id)?;
            if typed.is_some_and(|typed| typed != view.server.name) {
                return Ok(Err(Fault::field("confirm", "this is not the server's name")));
            }
            if let Err(error) = web.machine.reset_layer(id) {
                return Ok(Err(error.into()));
            }
            // Written after it was done: the log says what happened.
            let object = format!("server {id} \"{}\"", view.server.name);
            Ok(Ok(web.domain.record(actor, "server.reset_layer", &object)?))
        })
        .await;
    match outcome.and_then(std::convert::identity) {
        Ok(()) => Ok(call.noting(Note::Emptied, call.gone(&format!("/servers/{id}/files")))),
        Err(fault) if call.is_json() || !fault.is_about_the_form() => Err(fault),
        Err(fault) => {
            let page = show(&call, id, Some(&fault)).await?;
            reply::refuse(&call, fault, |_| page)
        }
    }
}
