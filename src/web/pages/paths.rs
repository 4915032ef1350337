//! Who wins a path: which layers of a blueprint or a server hold a file, which of them the game sees, and what differs.

use std::sync::Arc;
use std::time::Duration;

use maud::{Markup, html};
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};
use warp::http::StatusCode;

use crate::domain::Refusal;
use crate::model::blueprint::Blueprint;
use crate::model::id::{BlueprintId, OverlayId, ServerId};
use crate::model::layers::{HeldKind, HeldPath, Holder, LayerSearch, StackLayer};
use crate::model::overlay::{Overlay, OverlaySource};
use crate::model::spec::SpecOverlay;
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given};
use crate::web::layout::{Field, alert, badge, size};
use crate::web::{Web, reply};

/// Longest that two texts are compared; what is found by then is shown.
const DIFFERENCE_TIME: Duration = Duration::from_millis(500);
/// Lines around a change that are shown with it.
const AROUND: usize = 3;

/// Whose layers are looked at.
struct Subject {
    /// What the page speaks of.
    name: String,
    /// Where its own page is.
    home: String,
    /// Highest first.
    stack: Vec<StackLayer>,
    /// The layers in words, in the same order.
    words: Vec<String>,
}

impl Subject {
    fn new(name: String, home: String, stack: Vec<StackLayer>, overlays: &[Overlay]) -> Self {
        let named = |id: OverlayId| {
            overlays.iter().find(|overlay| overlay.id == id).map_or_else(|| format!("overlay {id}"), |o| o.name.clone())
        };
        let words = stack.iter().map(|layer| match layer {
            StackLayer::Generated(_) => "the blueprint's config lines".to_owned(),
            StackLayer::Written(_) => "what the game wrote".to_owned(),
            StackLayer::Overlay(overlay) => named(overlay.id),
            StackLayer::Game(layer) => format!("game files, layer {layer}"),
        });
        Self { words: words.collect(), name, home, stack }
    }
}

/// The layers that a blueprint puts over each other, and the game's below them.
fn layers(web: &Web, blueprint: &Blueprint, overlays: &[Overlay]) -> Result<Vec<StackLayer>, Refusal> {
    let chosen = blueprint.overlay_ids.iter().filter_map(|id| overlays.iter().find(|overlay| overlay.id == *id));
    let mut stack: Vec<StackLayer> = chosen
        .map(|overlay| {
            let (path, revision) = match &overlay.source {
                OverlaySource::Path(path) => (Some(path.clone()), None),
                OverlaySource::Managed(revision) => (None, *revision),
            };
            StackLayer::Overlay(SpecOverlay { id: overlay.id, path, revision })
        })
        .collect();
    stack.extend(web.domain.active_build()?.into_iter().flat_map(|build| build.layers).map(StackLayer::Game));
    Ok(stack)
}

/// `GET /blueprints/{id}/paths?search=`.
pub async fn of_blueprint(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let subject = call
        .run(move |web, actor| {
            let blueprint = web.domain.blueprint(actor, BlueprintId(id))?;
            let overlays = web.domain.overlay_choices(actor)?;
            let stack = layers(web, &blueprint, &overlays)?;
            Ok(Subject::new(blueprint.name, format!("/blueprints/{id}"), stack, &overlays))
        })
        .await?;
    show(&call, subject).await
}

/// `GET /servers/{id}/paths?search=`.
pub async fn of_server(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let id = ServerId(id);
    let subject = call
        .run(move |web, actor| {
            let view = web.domain.server(actor, id)?;
            let blueprint = web.domain.blueprint(actor, view.server.blueprint_id)?;
            let overlays = web.domain.overlay_choices(actor)?;
            let mut stack = vec![StackLayer::Generated(id), StackLayer::Written(id)];
            stack.extend(layers(web, &blueprint, &overlays)?);
            Ok(Subject::new(view.server.name, format!("/servers/{id}"), stack, &overlays))
        })
        .await?;
    show(&call, subject).await
}

/// The two texts that are compared, in words and as they differ.
struct Compared {
    path: String,
    upper: usize,
    lower: usize,
    outcome: Result<Vec<Vec<(ChangeTag, String)>>, String>,
}

async fn show(call: &Call, subject: Subject) -> Answer {
    // Wrong ones are refused also where nothing is compared.
    let (upper, lower) = (call.query.number("upper")?, call.query.number("lower")?);
    let wanted = call.query.text("search")?.unwrap_or_default().trim().to_owned();
    let path = call.query.text("path")?.filter(|path| !path.is_empty());
    let subject = Arc::new(subject);
    let found = search(call, &subject, &wanted).await?;
    let compared = match path {
        Some(path) => Some(compare(call, &subject, path, (upper, lower)).await?),
        None => None,
    };
    if call.is_json() {
        return match compared {
            Some(compared) => Ok(compared_json(&subject, compared)),
            None => call.short_list(&found.paths, |held| held_json(&subject, held)),
        };
    }
    let title = format!("Who wins a path of {}", subject.name);
    Ok(call.show(&title, &markup(&subject, &wanted, &found, compared.as_ref())))
}

async fn search(call: &Call, subject: &Arc<Subject>, wanted: &str) -> Result<LayerSearch, Fault> {
    if wanted.is_empty() {
        return Ok(LayerSearch::default());
    }
    let (subject, wanted) = (Arc::clone(subject), wanted.to_owned());
    call.run(move |web, _| Ok(web.machine.search_layers(&subject.stack, &wanted))).await
}

async fn compare(
    call: &Call,
    subject: &Arc<Subject>,
    path: String,
    (upper, lower): (Option<u64>, Option<u64>),
) -> Result<Compared, Fault> {
    let layer = |name: &'static str, number: Option<u64>| -> Result<usize, Fault> {
        let number = number.ok_or_else(|| Fault::field(name, "is missing: which layer?"))?;
        usize::try_from(number)
            .ok()
            .filter(|number| *number < subject.stack.len())
            .ok_or_else(|| Fault::field(name, format!("must be a layer, 0 to {}", subject.stack.len().max(1) - 1)))
    };
    let (upper, lower) = (layer("upper", upper)?, layer("lower", lower)?);
    let (looked, name) = (Arc::clone(subject), path.clone());
    let texts = call
        .run(move |web, _| {
            let text = |layer: usize| web.machine.layer_text(&looked.stack[layer], &name);
            Ok(text(lower).and_then(|old| Ok((old, text(upper)?))))
        })
        .await?;
    let outcome = match texts {
        Ok((old, new)) => Ok(difference(&old, &new)),
        Err(error) if call.is_json() => return Err(error.into()),
        Err(error) => Err(error.to_string()),
    };
    Ok(Compared { path, upper, lower, outcome })
}

/// The changed lines from `old` to `new` with some around them, in unbroken pieces.
fn difference(old: &str, new: &str) -> Vec<Vec<(ChangeTag, String)>> {
    let diff = TextDiff::configure().timeout(DIFFERENCE_TIME).diff_lines(old, new);
    let piece = |group: &Vec<similar::DiffOp>| {
        let changes = group.iter().flat_map(|op| diff.iter_changes(op));
        changes.map(|change| (change.tag(), change.value().trim_end_matches(['\r', '\n']).to_owned())).collect()
    };
    diff.grouped_ops(AROUND).iter().map(piece).collect()
}

fn sign(tag: ChangeTag) -> &'static str {
    match tag {
        ChangeTag::Equal => " ",
        ChangeTag::Delete => "−",
        ChangeTag::Insert => "+",
    }
}

fn held_json(subject: &Subject, held: &HeldPath) -> Value {
    let holder = |holder: &Holder| {
        let layer = &subject.stack[holder.layer];
        json!({
            "layer": holder.layer, "kind": layer.word(), "overlay_id": layer.overlay(), "name": subject.words[holder.layer],
            "holds": holder.kind.word(), "bytes": holder.bytes, "wins": holder.wins,
        })
    };
    json!({
        "path": held.path, "addon": held.addon.map(|end| &held.path[..end]),
        "layers": held.holders.iter().map(holder).collect::<Vec<_>>(),
    })
}

fn compared_json(subject: &Subject, compared: Compared) -> warp::reply::Response {
    let pieces = compared.outcome.unwrap_or_default();
    let line = |(tag, text): &(ChangeTag, String)| {
        let change = match tag {
            ChangeTag::Equal => "same",
            ChangeTag::Delete => "lower",
            ChangeTag::Insert => "upper",
        };
        json!({ "only_in": change, "text": text })
    };
    let pieces: Vec<Vec<Value>> = pieces.iter().map(|piece| piece.iter().map(line).collect()).collect();
    reply::json_with(
        StatusCode::OK,
        &json!({
            "path": compared.path, "upper": subject.words[compared.upper], "lower": subject.words[compared.lower],
            "pieces": pieces,
        }),
    )
}

fn markup(subject: &Subject, wanted: &str, found: &LayerSearch, compared: Option<&Compared>) -> Markup {
    html! {
        div.head { h1 { "Who wins a path of " a href=(subject.home) { (subject.name) } } }
        div.card {
            p { "The same file can lie in several layers: the game sees the one of the highest. This is how they lie at the next start. The search takes a part of a file's name or path, and looks inside addons (.vpk) too." }
            ol.layers { @for words in &subject.words { li { (words) } } }
            form.row.filters method="get" action=(format!("{}/paths", subject.home)) {
                (Field { required: true, kind: "search", ..Field::text("search", "File", wanted) }.render(None))
                button.main type="submit" { "Search" }
            }
        }
        @if let Some(compared) = compared { (compared_markup(subject, compared)) }
        @if !wanted.is_empty() { (found_markup(subject, wanted, found)) }
    }
}

fn found_markup(subject: &Subject, wanted: &str, found: &LayerSearch) -> Markup {
    html! {
        div.card.scroll {
            table {
                thead { tr { th { "Path" } th { "Layers that hold it, the highest first" } th { "Compare" } } }
                tbody {
                    @for held in &found.paths {
                        tr {
                            td.path { code { (held.path) } @if is_in_several(found, held) {
                                p.hint { "Another addon holds this too: which addon comes first is said by the game's addonlist.txt." }
                            } }
                            td data-label="Layers that hold it, the highest first" { ul.holders { @for holder in &held.holders { (holder_markup(subject, held, holder)) } } }
                            td data-label="Compare" { (compare_links(subject, wanted, held)) }
                        }
                    }
                    @if found.paths.is_empty() { tr { td colspan="3" { "No layer holds a file whose path contains \"" (wanted) "\"." } } }
                }
            }
            @if found.more { p.hint { "There is more: search for a longer part of the path." } }
        }
    }
}

/// Whether the same entry is found in another addon.
fn is_in_several(found: &LayerSearch, held: &HeldPath) -> bool {
    let inner = |held: &HeldPath| held.addon.map(|end| held.path[end..].to_owned());
    held.addon.is_some()
        && found
            .paths
            .iter()
            .any(|other| other.path != held.path && other.addon.is_some() && inner(other) == inner(held))
}

fn holder_markup(subject: &Subject, held: &HeldPath, holder: &Holder) -> Markup {
    let above = held.holders.iter().any(|other| other.layer < holder.layer);
    html! {
        li {
            (subject.words[holder.layer]) " "
            @match holder.kind {
                HeldKind::File => span.muted.number { (size(holder.bytes)) },
                HeldKind::Link => span.muted { "a link" },
                HeldKind::Removed => span.muted { "removed here" },
            }
            @if holder.wins { " " (badge("wins")) }
            // Nothing that is shown lies over it, and still it does not win: a folder or an addon of its name is above.
            @if !holder.wins && !above && holder.kind != HeldKind::Removed { " " span.muted { "hidden by something else of that name above" } }
        }
    }
}

/// Links to the differences between the first file and each below it.
fn compare_links(subject: &Subject, wanted: &str, held: &HeldPath) -> Markup {
    let mut files = held.holders.iter().filter(|holder| holder.kind == HeldKind::File);
    let Some(first) = files.next() else { return html! {} };
    html! {
        @for other in files {
            @let query: String = form_urlencoded::Serializer::new(String::new())
                .append_pair("search", wanted)
                .append_pair("path", &held.path)
                .append_pair("upper", &first.layer.to_string())
                .append_pair("lower", &other.layer.to_string())
                .finish();
            a href=(format!("{}/paths?{query}", subject.home)) { "with " (subject.words[other.layer]) } " "
        }
    }
}

fn compared_markup(subject: &Subject, compared: &Compared) -> Markup {
    html! {
        section.card {
            h2 { "Difference of " code { (compared.path) } }
            p { span.removed { "− " (subject.words[compared.lower]) } br; span.added { "+ " (subject.words[compared.upper]) } }
            @match &compared.outcome {
                Err(reason) => (alert(reason)),
                Ok(pieces) if pieces.is_empty() => p { "The two are the same." },
                Ok(pieces) => @for piece in pieces {
                    pre.difference tabindex="0" {
                        @for (tag, text) in piece {
                            span.added[*tag == ChangeTag::Insert].removed[*tag == ChangeTag::Delete] { (sign(*tag)) " " (text) } "\n"
                        }
                    }
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_what_changed_and_a_little_around_it() {
        let old = "1\n2\n3\n4\n5\n6\nold\n8\r\n";
        let new = "1\n2\n3\n4\n5\n6\nnew\n8\r\n";
        let pieces = difference(old, new);
        let shown: Vec<String> = pieces[0].iter().map(|(tag, text)| format!("{}{text}", sign(*tag))).collect();
        assert_eq!((pieces.len(), shown), (1, [" 4", " 5", " 6", "−old", "+new", " 8"].map(String::from).to_vec()));
        assert!(difference(new, new).is_empty());
    }
}
