//! The map of the port range: one cell a port, coloured by what the port is to the box.

use maud::{Markup, html};

use crate::domain::ports::{MAP_MAX, PortSlot};
use crate::model::port::{PortRange, PortUse};

/// The map with its legend. The colour is never the only sign: each cell says its state to whoever cannot see it.
pub fn render(range: PortRange, slots: &[PortSlot]) -> Markup {
    let count = |usage: PortUse| slots.iter().filter(|slot| slot.usage == usage).count();
    let shown = PortUse::ALL.into_iter().filter(|usage| *usage == PortUse::Free || count(*usage) > 0);
    html! {
        section.card aria-labelledby="map-title" {
            h2 id="map-title" { "Range " (range) }
            ul.legend {
                @for usage in shown { li { span.port data-use=(usage.word()) aria-hidden="true" {} (count(usage)) " " (usage.word()) } }
            }
            ul.ports {
                @for slot in slots { li { (cell(slot)) } }
            }
            @if range.ports().len() > MAP_MAX {
                p.muted { "The first " (MAP_MAX) " ports of the range are shown." }
            }
        }
    }
}

fn cell(slot: &PortSlot) -> Markup {
    let word = slot.usage.word();
    let title = slot
        .who
        .as_ref()
        .map_or_else(|| format!("{}: {word}", slot.port), |who| format!("{}: {word}, {who}", slot.port));
    html! {
        @if let Some(server) = slot.server {
            a.port data-use=(word) href=(format!("/servers/{server}")) title=(title) { (slot.port) span.visually-hidden { " " (word) } }
        } @else {
            span.port data-use=(word) title=(title) { (slot.port) span.visually-hidden { " " (word) } }
        }
    }
}
