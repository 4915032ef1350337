//! `GET /servers/{id}/files`: what the game of a server wrote, folder by folder.

use std::sync::Arc;

use maud::html;
use serde_json::json;

use crate::model::id::ServerId;
use crate::model::machine::FileKind;
use crate::web::error::{Answer, Fault};
use crate::web::extract::Given;
use crate::web::layout::size;

/// `?path=`: which folder; the top without it. Only names and sizes are shown: a hostile game wrote them.
pub async fn browse(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let id = ServerId(id);
    let view = call.run(move |web, actor| web.domain.server(actor, id)).await?;
    let path = call.query.text("path")?.unwrap_or_default().trim_matches('/').to_owned();
    let (web, folder) = (Arc::clone(&call.web), path.clone());
    let entries = tokio::task::spawn_blocking(move || web.machine.written_folder(id, &folder)).await;
    let entries = entries.map_err(|error| {
        log::error!("reading what a game wrote panicked: {error}");
        Fault::internal()
    })??;
    if call.is_json() {
        return Ok(call.whole_list(
            &entries,
            |entry| json!({ "name": entry.name, "kind": entry.kind.word(), "bytes": entry.bytes }),
        ));
    }
    let link = |path: &str| {
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("path", path).finish();
        format!("/servers/{id}/files?{query}")
    };
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
    Ok(call.show(
        &format!("Files of {}", view.server.name),
        &html! {
            div.head { h1 { "Files of " a href=(format!("/servers/{id}")) { (view.server.name) } } }
            p { "What the game wrote over its layers: " code { "/" (path) } }
            div.card.scroll {
                table {
                    thead { tr { th { "Name" } th { "Size" } } }
                    tbody {
                        @if let Some((parent, _)) = path.rsplit_once('/').or((!path.is_empty()).then_some(("", ""))) {
                            tr { td { a href=(link(parent)) { ".." } } td {} }
                        }
                        @for entry in &entries {
                            tr {
                                @match entry.kind {
                                    FileKind::Folder => { td { a href=(link(&below(&entry.name))) { (entry.name) "/" } } td {} }
                                    FileKind::File => { td { (entry.name) } td.number { (size(entry.bytes)) } }
                                    FileKind::Link => { td { (entry.name) } td { "link" } }
                                }
                            }
                        }
                        @if entries.is_empty() { tr { td colspan="2" { "Nothing." } } }
                    }
                }
            }
        },
    ))
}
