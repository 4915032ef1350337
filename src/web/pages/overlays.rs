//! Overlays, for admins: the list, one overlay, and which blueprints use it.

use maud::{Markup, html};
use warp::http::StatusCode;

use crate::domain::Items;
use crate::domain::overlays::{NewOverlay, OverlayChange, OverlayView};
use crate::model::id::OverlayId;
use crate::model::overlay::{Overlay, OverlaySource, Revision};
use crate::web::ask::{self, Question};
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given};
use crate::web::fields::Fields;
use crate::web::layout::{Field, csrf_field, form_alert, next_link, when};
use crate::web::note::Note;
use crate::web::{json, reply};

/// Fields that the forms show.
const SHOWN: [&str; 3] = ["name", "path", "file"];

/// `GET /admin/overlays`.
pub async fn list(given: Given) -> Answer {
    let call = given.admin()?;
    let page = call.page()?;
    let overlays = call.run(move |web, actor| web.domain.list_overlays(actor, &page)).await?;
    if call.is_json() {
        return Ok(call.list(&overlays, json::overlay_view));
    }
    Ok(call.show("Overlays", &list_markup(&call, &overlays, "", "", None)))
}

fn list_markup(call: &Call, overlays: &Items<OverlayView>, name: &str, path: &str, fault: Option<&Fault>) -> Markup {
    let root = call.web.domain.rules().overlay_root.display().to_string();
    html! {
        div.head { h1 { "Overlays" } }
        div.card.scroll {
            table {
                thead { tr { th { "Name" } th { "Files" } th { "Used by" } th { "Changed" } } }
                tbody {
                    @for view in &overlays.items {
                        tr {
                            td { a href=(format!("/admin/overlays/{}", view.overlay.id)) { (view.overlay.name) } }
                            td data-label="Files" { (source(&view.overlay, view.missing)) }
                            td.number data-label="Used by" { (view.used_by.len()) }
                            td data-label="Changed" { (when(view.overlay.updated_at)) }
                        }
                    }
                    @if overlays.items.is_empty() {
                        tr { td colspan="4" { "No overlays yet. An overlay is a folder of mods, maps or configs that blueprints put over the game." } }
                    }
                }
            }
        }
        (next_link("/admin/overlays", overlays.next.as_deref()))
        section.card.narrow {
            h2 { "New overlay" }
            (form_alert(fault, &SHOWN))
            form method="post" action="/admin/overlays" {
                (csrf_field(call.csrf()))
                (Field { required: true, ..Field::text("name", "Name", name) }.render(fault))
                (Field { hint: &format!("A folder under {root}. Leave it empty for one that is filled by uploads."), ..Field::text("path", "Path", path) }.render(fault))
                button.main type="submit" { "Make the overlay" }
            }
        }
    }
}

fn source(overlay: &Overlay, missing: bool) -> Markup {
    html! {
        @match &overlay.source {
            OverlaySource::Path(path) => { code { (path) } @if missing { " " span.badge data-state="failed" { "missing" } } }
            OverlaySource::Managed(Some(number)) => { "revision " (number) }
            OverlaySource::Managed(None) => { span.muted { "nothing uploaded yet" } }
        }
    }
}

/// An empty path field of a form means a managed overlay.
fn path(fields: &Fields) -> Result<Option<String>, Fault> {
    Ok(fields.text("path")?.filter(|path| fields.is_json() || !path.trim().is_empty()))
}

/// `POST /admin/overlays`.
pub async fn create(given: Given) -> Answer {
    let call = given.admin()?;
    let fields = call.fields();
    let outcome = async {
        let new = NewOverlay { name: fields.required_text("name")?, path: path(&fields)? };
        call.run(move |web, actor| web.domain.create_overlay(actor, new)).await
    };
    match outcome.await {
        Ok(overlay) => Ok(call.created(overlay.id.0, &format!("/admin/overlays/{}", overlay.id))),
        Err(fault) => {
            if call.is_json() || !fault.is_about_the_form() {
                return Err(fault);
            }
            let page = call.page()?;
            let overlays = call.run(move |web, actor| web.domain.list_overlays(actor, &page)).await?;
            let typed = |name| fields.typed(name).unwrap_or_default();
            let markup = list_markup(&call, &overlays, typed("name"), typed("path"), Some(&fault));
            reply::refuse(&call, fault, |fault| call.show_refused("Overlays", &markup, fault))
        }
    }
}

/// `GET /admin/overlays/{id}`.
pub async fn show(id: u64, given: Given) -> Answer {
    let call = given.admin()?;
    let (view, revisions) = load(&call, id).await?;
    if call.is_json() {
        return Ok(reply::json_with(StatusCode::OK, &json::overlay_view(&view)));
    }
    Ok(call.show(&view.overlay.name, &show_markup(&call, &view, &revisions, None, None)))
}

async fn load(call: &Call, id: u64) -> Result<(OverlayView, Vec<Revision>), Fault> {
    let id = OverlayId(id);
    call.run(move |web, actor| {
        let view = web.domain.overlay(actor, id)?;
        let revisions = match view.overlay.source {
            OverlaySource::Path(_) => Vec::new(),
            OverlaySource::Managed(_) => web.domain.list_revisions(actor, id)?,
        };
        Ok((view, revisions))
    })
    .await
}

/// The page of an overlay with what went wrong with its files.
pub(super) async fn with_fault(call: &Call, id: u64, fault: &Fault) -> Result<Markup, Fault> {
    let (view, revisions) = load(call, id).await?;
    Ok(show_markup(call, &view, &revisions, None, Some(fault)))
}

fn show_markup(
    call: &Call,
    view: &OverlayView,
    revisions: &[Revision],
    typed: Option<&Fields>,
    fault: Option<&Fault>,
) -> Markup {
    let overlay = &view.overlay;
    let own_path = match &overlay.source {
        OverlaySource::Path(path) => Some(path.as_str()),
        OverlaySource::Managed(_) => None,
    };
    let field = |name: &str, own: &str| typed.and_then(|fields| fields.typed(name)).unwrap_or(own).to_owned();
    html! {
        div.head { h1 { (overlay.name) } }
        div.card.narrow {
            p { (source(overlay, view.missing)) }
            (form_alert(fault, &SHOWN))
            form method="post" action=(format!("/admin/overlays/{}", overlay.id)) {
                (csrf_field(call.csrf()))
                (Field { required: true, ..Field::text("name", "Name", &field("name", &overlay.name)) }.render(fault))
                @if let Some(path) = own_path { (Field { required: true, ..Field::text("path", "Path", &field("path", path)) }.render(fault)) }
                button.main type="submit" { "Save" }
            }
        }
        (super::files::card(call, view, revisions, fault))
        section.card {
            h2 { "Blueprints that use it" }
            @if view.used_by.is_empty() { p { "None." } } @else {
                ul { @for (id, name) in &view.used_by { li { a href=(format!("/blueprints/{id}")) { (name) } } } }
            }
        }
        div.actions { (ask::link(&format!("/admin/overlays/{}/delete", overlay.id), "Delete", &overlay.name)) }
    }
}

/// `PATCH /admin/overlays/{id}` and its form twin.
pub async fn update(id: u64, given: Given) -> Answer {
    let call = given.admin()?;
    let fields = call.fields();
    let outcome = async {
        let change = OverlayChange { name: fields.text("name")?, path: path(&fields)? };
        call.run(move |web, actor| web.domain.update_overlay(actor, OverlayId(id), change)).await
    };
    match outcome.await {
        Ok(overlay) => Ok(call.changed(&json::overlay(&overlay), &format!("/admin/overlays/{id}"))),
        Err(fault) => {
            if call.is_json() || !fault.is_about_the_form() {
                return Err(fault);
            }
            let (view, revisions) = load(&call, id).await?;
            let markup = show_markup(&call, &view, &revisions, Some(&fields), Some(&fault));
            reply::refuse(&call, fault, |fault| call.show_refused("Overlay", &markup, fault))
        }
    }
}

async fn question(call: &Call, id: u64) -> Result<Question, Fault> {
    let view = call.run(move |web, actor| web.domain.overlay(actor, OverlayId(id))).await?;
    Ok(Question {
        thing: "overlay",
        name: view.overlay.name,
        verb: "Delete",
        loss: match view.overlay.source {
            OverlaySource::Path(_) => "Blueprints cannot choose it any more. Its folder stays on the box.",
            OverlaySource::Managed(_) => "All its revisions and their files go. This cannot be undone.",
        },
        path: format!("/admin/overlays/{id}/delete"),
        back: format!("/admin/overlays/{id}"),
        hidden: None,
    })
}

/// `GET /admin/overlays/{id}/delete`: asks by name first.
pub async fn delete_page(id: u64, given: Given) -> Answer {
    let call = given.admin()?;
    Ok(question(&call, id).await?.show(&call))
}

/// `DELETE /admin/overlays/{id}` and its form twin.
pub async fn delete(id: u64, given: Given) -> Answer {
    let call = given.admin()?;
    let deed = async {
        call.run(move |web, actor| web.domain.delete_overlay(actor, OverlayId(id))).await?;
        Ok(call.noting(Note::Deleted, call.gone("/admin/overlays")))
    };
    ask::then(&call, question(&call, id), deed).await
}
