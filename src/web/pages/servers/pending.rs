//! What a server's next start changes: a badge, and the exact difference. For the server's page and its blueprint's.

use std::sync::Arc;

use maud::{Markup, html};

use crate::blocking;
use crate::domain::Refusal;
use crate::model::difference::{Difference, differences};
use crate::model::id::{OverlayId, ServerId};
use crate::web::error::Fault;
use crate::web::extract::Call;

/// The differences in words; empty: the next start changes nothing, or nothing was written yet.
pub async fn of(call: &Call, id: ServerId) -> Result<Vec<String>, Fault> {
    let web = Arc::clone(&call.web);
    let written = blocking::run(move || web.machine.written_spec(id)).await;
    let Ok(Some(written)) = written else { return Ok(Vec::new()) };
    call.run(move |web, actor| {
        let next = match web.domain.spec(id) {
            Ok(next) => next,
            // It cannot start as it is: the reason is what it differs in.
            Err(Refusal::Conflict(reason)) => return Ok(vec![format!("the next start would fail: {reason}")]),
            Err(other) => return Err(other),
        };
        let found = differences(&written, &next);
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let names = web.domain.overlay_choices(actor)?;
        let name = |id: OverlayId| {
            names
                .iter()
                .find(|overlay| overlay.id == id)
                .map_or(format!("overlay {id}"), |overlay| overlay.name.clone())
        };
        Ok(found.iter().map(|difference| words(difference, &name)).collect())
    })
    .await
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
