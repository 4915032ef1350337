//! Files of managed overlays, for admins: uploads, revisions, and a look into them.

use maud::{Markup, html};
use serde_json::json;
use warp::http::StatusCode;

use super::overlays;
use crate::blocking;
use crate::domain::Refusal;
use crate::domain::overlays::{NewRevision, OverlayView};
use crate::model::id::OverlayId;
use crate::model::machine::{FileEntry, FileKind, FilesError};
use crate::model::overlay::{OverlaySource, Revision};
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given};
use crate::web::layout::{Field, csrf_field, size, when};
use crate::web::upload::{Parts, receive};
use crate::web::{json as objects, reply};

/// `POST /admin/overlays/{id}/files`: a new revision, which becomes the current one.
pub async fn upload(id: u64, given: Given) -> Answer {
    let (call, mut parts) = given.admin_uploads().await?;
    let outcome = take(&call, OverlayId(id), &mut parts).await;
    if outcome.is_err() {
        parts.swallow().await;
    }
    match outcome {
        Ok(revision) if call.is_json() => {
            let mut body = objects::revision(&revision);
            body["id"] = revision.number.into();
            Ok(reply::json_with(StatusCode::CREATED, &body))
        }
        Ok(_) => Ok(call.go(&format!("/admin/overlays/{id}"))),
        Err(fault) => {
            if call.is_json() || !fault.is_about_the_form() {
                return Err(fault);
            }
            let markup = overlays::with_fault(&call, id, &fault).await?;
            reply::refuse(&call, fault, |fault| call.show_refused("Overlay", &markup, fault))
        }
    }
}

async fn take(call: &Call, id: OverlayId, parts: &mut Parts) -> Result<Revision, Fault> {
    let view = call.run(move |web, actor| web.domain.overlay(actor, id)).await?;
    managed(&view)?;
    let (upload_name, file) = parts.file().await?;
    let web = std::sync::Arc::clone(&call.web);
    let into = blocking(move || web.machine.upload(id)).await??;
    let (mut arrived, unpacked) = receive(upload_name.clone(), file, into).await?;
    let (actor, web) = (call.actor(), std::sync::Arc::clone(&call.web));
    blocking(move || {
        let number = web.domain.begin_revision(&actor, id)?;
        arrived.place(number)?;
        let new = NewRevision {
            number,
            upload_name,
            files: unpacked.files,
            bytes: unpacked.bytes,
            warnings: unpacked.warnings,
        };
        let revision = web.domain.publish_revision(&actor, id, new)?;
        arrived.keep();
        Ok(revision)
    })
    .await?
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    blocking::run(work).await.map_err(|error| {
        log::error!("work on files panicked: {error}");
        Fault::internal()
    })
}

fn managed(view: &OverlayView) -> Result<Option<u64>, Fault> {
    match &view.overlay.source {
        OverlaySource::Managed(current) => Ok(*current),
        OverlaySource::Path(_) => Err(Refusal::Conflict(format!(
            "overlay \"{}\" is a folder of the box: it has no revisions",
            view.overlay.name
        ))
        .into()),
    }
}

/// `GET /admin/overlays/{id}/revisions`.
pub async fn revisions(id: u64, given: Given) -> Answer {
    let call = given.admin()?;
    let found = call.run(move |web, actor| web.domain.list_revisions(actor, OverlayId(id))).await?;
    if !call.is_json() {
        return Ok(call.go(&format!("/admin/overlays/{id}")));
    }
    call.short_list(&found, objects::revision)
}

/// `POST /admin/overlays/{id}/revisions`: makes the revision `number` the current one.
pub async fn activate(id: u64, given: Given) -> Answer {
    let call = given.admin()?;
    let number =
        call.fields().number("number")?.ok_or_else(|| Fault::field("number", "is missing: which revision?"))?;
    let overlay = call.run(move |web, actor| web.domain.activate_revision(actor, OverlayId(id), number)).await?;
    Ok(call.changed(&objects::overlay(&overlay), &format!("/admin/overlays/{id}")))
}

/// `GET /admin/overlays/{id}/files?path=&revision=`: a folder of a revision, the current one unless said. The way leads
/// on into an addon (.vpk).
pub async fn browse(id: u64, given: Given) -> Answer {
    let call = given.admin()?;
    let id = OverlayId(id);
    let view = call.run(move |web, actor| web.domain.overlay(actor, id)).await?;
    let current = managed(&view)?;
    let path = call.query.text("path")?.unwrap_or_default().trim_matches('/').to_owned();
    let asked = call.query.number("revision")?;
    let number = asked.or(current).ok_or(Refusal::NotFound("revision"))?;
    let known = call.run(move |web, actor| web.domain.list_revisions(actor, id)).await?;
    if !known.iter().any(|revision| revision.number == number) {
        return Err(Refusal::NotFound("revision").into());
    }
    let (web, folder) = (std::sync::Arc::clone(&call.web), path.clone());
    let entries: Result<Vec<FileEntry>, FilesError> =
        blocking(move || web.machine.revision_folder(id, number, &folder)).await?;
    let entries = entries?;
    if call.is_json() {
        return call.short_list(
            &entries,
            |entry| json!({ "name": entry.name, "kind": entry.kind.word(), "bytes": entry.bytes }),
        );
    }
    let link = |path: &str| {
        let query: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("revision", &number.to_string())
            .append_pair("path", path)
            .finish();
        format!("/admin/overlays/{id}/files?{query}")
    };
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
    Ok(call.show(
        &format!("Files of {}", view.overlay.name),
        &html! {
            div.head { h1 { "Files of " a href=(format!("/admin/overlays/{id}")) { (view.overlay.name) } } }
            p { "Revision " (number) ": " code { "/" (path) } }
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
                                    FileKind::File => {
                                        td { @if is_addon(entry) { a href=(link(&below(&entry.name))) { (entry.name) } } @else { (entry.name) } }
                                        td.number data-label="Size" { (size(entry.bytes)) }
                                    }
                                    FileKind::Link => { td { (entry.name) } td data-label="Kind" { "link" } }
                                }
                            }
                        }
                    }
                }
            }
        },
    ))
}

/// Whether one can look into it.
fn is_addon(entry: &FileEntry) -> bool {
    entry.name.rsplit_once('.').is_some_and(|(_, ending)| ending.eq_ignore_ascii_case("vpk"))
}

/// The card of a managed overlay's page: its revisions, and the form for the next.
pub fn card(call: &Call, view: &OverlayView, revisions: &[Revision], fault: Option<&Fault>) -> Markup {
    let id = view.overlay.id;
    let OverlaySource::Managed(current) = view.overlay.source else { return html! {} };
    html! {
        section.card.scroll {
            h2 { "Files" }
            @if !revisions.is_empty() {
                table {
                    thead { tr { th { "Revision" } th { "Upload" } th { "By" } th { "When" } th { "Files" } th { "Size" } th { span.visually-hidden { "Actions" } } } }
                    tbody {
                        @for revision in revisions {
                            tr {
                                td.number data-label="Revision" { a href=(format!("/admin/overlays/{id}/files?revision={}", revision.number)) { (revision.number) } }
                                td data-label="Upload" { (revision.upload_name) @for warning in &revision.warnings { p.hint { (warning) } } }
                                td data-label="By" { (revision.created_by) }
                                td data-label="When" { (when(revision.created_at)) }
                                td.number data-label="Files" { (revision.files) }
                                td.number data-label="Size" { (size(revision.bytes)) }
                                td { @if current == Some(revision.number) { span.badge data-state="active" { "current" } } @else {
                                    form method="post" action=(format!("/admin/overlays/{id}/revisions")) {
                                        (csrf_field(call.csrf()))
                                        input type="hidden" name="number" value=(revision.number);
                                        button.quiet type="submit" { "Use this one" }
                                    }
                                } }
                            }
                        }
                    }
                }
            }
            form.narrow data-upload method="post" enctype="multipart/form-data" action=(format!("/admin/overlays/{id}/files")) {
                (csrf_field(call.csrf()))
                (Field { kind: "file", required: true,
                    hint: "A .zip, .tar.gz or .vpk. The folders of a .zip or .tar.gz begin at the game's (left4dead2/…); a .vpk is kept whole as an addon, left4dead2/addons/….vpk. It becomes a new revision; servers take it at their next start.",
                    ..Field::text("file", "Upload", "") }.render(fault))
                progress max="100" value="0" hidden {}
                button.main type="submit" { "Upload" }
            }
        }
    }
}
