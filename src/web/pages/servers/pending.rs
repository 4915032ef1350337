//! What a server was started with, and what its next start changes: a badge, and the exact difference. For the server's
//! page and its blueprint's.

use std::sync::Arc;

use maud::{Markup, html};

use crate::blocking;
use crate::domain::Refusal;
use crate::model::difference::{Difference, differences};
use crate::model::id::{OverlayId, ServerId};
use crate::model::overlay::Overlay;
use crate::model::spec::{InstanceSpec, SpecOverlay};
use crate::web::error::Fault;
use crate::web::extract::Call;
use crate::web::layout::when;

/// What a server was started with, and what its next start changes.
#[derive(Default)]
pub struct Spec {
    /// As it was written down; nothing before the first time.
    written: Option<InstanceSpec>,
    /// The differences in words; empty: the next start changes nothing, or nothing was written yet.
    pub changes: Vec<String>,
    /// Overlays by name.
    names: Vec<Overlay>,
}

/// Both, of one server.
pub async fn of(call: &Call, id: ServerId) -> Result<Spec, Fault> {
    let web = Arc::clone(&call.web);
    let written = blocking::run(move || web.machine.written_spec(id)).await;
    let Ok(Some(written)) = written else { return Ok(Spec::default()) };
    call.run(move |web, actor| {
        let names = web.domain.overlay_choices(actor)?;
        let changes = match web.domain.spec(id) {
            Ok(next) => {
                let found = differences(&written, &next);
                found.iter().map(|difference| words(difference, &|id| name(&names, id))).collect()
            }
            // It cannot start as it is: the reason is what it differs in.
            Err(Refusal::Conflict(reason)) => vec![format!("the next start would fail: {reason}")],
            Err(other) => return Err(other),
        };
        Ok(Spec { written: Some(written), changes, names })
    })
    .await
}

fn name(names: &[Overlay], id: OverlayId) -> String {
    names.iter().find(|overlay| overlay.id == id).map_or(format!("overlay {id}"), |overlay| overlay.name.clone())
}

fn words(difference: &Difference, name: &dyn Fn(OverlayId) -> String) -> String {
    match difference {
        Difference::Removed(what, line) => format!("− {what}: {line}"),
        Difference::Added(what, line) => format!("+ {what}: {line}"),
        Difference::Reordered(what) => format!("{what}: another order"),
        Difference::OverlayRemoved(id) => format!("− overlay: {}", name(*id)),
        Difference::OverlayAdded(id) => format!("+ overlay: {}", name(*id)),
        Difference::OverlayChanged(id, old, new) => format!("overlay {}: {old} → {new}", name(*id)),
        Difference::GameFiles => "other game files".into(),
    }
}

impl Spec {
    /// What it was started with, folded away: files, arguments, config.
    pub fn render(&self) -> Markup {
        let Some(written) = &self.written else {
            return html! { p.spec.muted { "Its first start writes down here what it runs with." } };
        };
        let source = |overlay: &SpecOverlay| match (&overlay.path, overlay.revision) {
            (Some(path), _) => html! { " " code { (path) } },
            (None, Some(revision)) => html! { ", revision " (revision) },
            (None, None) => html! { ", nothing uploaded" },
        };
        let lines = |lines: &[String]| {
            html! { @if lines.is_empty() { p.muted { "none" } } @else { pre { (lines.join("\n")) } } }
        };
        html! {
            details.spec {
                summary { "What it runs with" }
                p.muted { "Written down " (when(written.written_at)) " for port " (written.port) "." }
                dl {
                    dt { "Overlays, the highest first" }
                    dd { @if written.overlays.is_empty() { p.muted { "none" } } @else {
                        ol { @for overlay in &written.overlays { li { (name(&self.names, overlay.id)) (source(overlay)) } } }
                    } }
                    dt { "Game files" }
                    dd { p { @for (at, layer) in written.game.iter().enumerate() { @if at > 0 { ", over " } "layer " (layer) } } }
                    dt { "Arguments" }
                    dd { (lines(&written.arguments)) }
                    dt { "Config" }
                    dd { (lines(&written.config)) }
                }
            }
        }
    }
}

/// The badge, and behind it the difference.
pub fn badge(changes: &[String]) -> Markup {
    html! {
        @if !changes.is_empty() {
            details.pending {
                summary { span.badge data-state="drift" { "next start changes it" } }
                ul { @for change in changes { li { code { (change) } } } }
            }
        }
    }
}
