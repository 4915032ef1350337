//! The form of a blueprint. Its overlays are rows in order; buttons move them, by script in the page or, without, by
//! sending the form to the server, which gives it back rearranged.

use maud::{Markup, html};

use crate::model::blueprint::{Blueprint, config_warnings};
use crate::model::id::BlueprintId;
use crate::model::overlay::Overlay;
use crate::web::error::Fault;
use crate::web::extract::Call;
use crate::web::fields::Fields;
use crate::web::layout::{Field, csrf_field, form_alert, text_area};

/// Fields that the form shows.
const SHOWN: [&str; 4] = ["name", "arguments", "config", "overlay_ids"];

/// What is typed into the form.
#[derive(Default)]
pub struct Typed {
    name: String,
    arguments: String,
    config: String,
    /// One a row; empty: a row that chooses nothing yet.
    overlays: Vec<String>,
}

impl Typed {
    /// From a form that was sent.
    pub fn of_fields(fields: &Fields) -> Self {
        let text = |name| fields.typed(name).unwrap_or_default().to_owned();
        let overlays = match fields {
            Fields::Form(pairs) => {
                let rows = pairs.iter().filter(|(name, _)| name == "overlay_ids").map(|(_, value)| value.clone());
                // The first, empty one is the hidden field that says "there may be none".
                rows.enumerate().filter(|(at, value)| *at > 0 || !value.is_empty()).map(|(_, value)| value).collect()
            }
            Fields::Json(_) => Vec::new(),
        };
        Self { name: text("name"), arguments: text("arguments"), config: text("config"), overlays }
    }

    /// From a record.
    pub fn of_blueprint(blueprint: &Blueprint) -> Self {
        Self {
            name: blueprint.name.clone(),
            arguments: blueprint.arguments.join("\n"),
            config: blueprint.config.join("\n"),
            overlays: blueprint.overlay_ids.iter().map(ToString::to_string).collect(),
        }
    }

    /// Does what a button says: `add`, `up:2`, `down:0`, `remove:1`. Anything else changes nothing.
    pub fn arrange(&mut self, press: &str) {
        if press == "add" {
            self.overlays.push(String::new());
            return;
        }
        let Some((verb, row)) = press.split_once(':') else { return };
        let Ok(row) = row.parse::<usize>() else { return };
        if row >= self.overlays.len() {
            return;
        }
        match verb {
            "up" if row > 0 => self.overlays.swap(row, row - 1),
            "down" if row + 1 < self.overlays.len() => self.overlays.swap(row, row + 1),
            "remove" => {
                self.overlays.remove(row);
            }
            _ => {}
        }
    }
}

/// The form, for a new blueprint or an existing one.
pub async fn render(
    call: &Call,
    id: Option<BlueprintId>,
    typed: &Typed,
    fault: Option<&Fault>,
) -> Result<Markup, Fault> {
    let choices = call.run(|web, actor| web.domain.overlay_choices(actor)).await?;
    let path = id.map_or_else(|| "/blueprints".to_owned(), |id| format!("/blueprints/{id}"));
    let warnings = config_warnings(&typed.config.lines().map(str::to_owned).collect::<Vec<_>>());
    Ok(html! {
        section.card {
            h1 { @if id.is_some() { "Blueprint" } @else { "New blueprint" } }
            (form_alert(fault, &SHOWN))
            form method="post" action=(path) {
                // The first submit button is what Enter presses.
                button.visually-hidden type="submit" tabindex="-1" aria-hidden="true" { "Save" }
                (csrf_field(call.csrf()))
                (Field { required: true, ..Field::text("name", "Name", &typed.name) }.render(fault))
                (overlay_rows(&choices, &typed.overlays, fault))
                (text_area("arguments", "Arguments", &typed.arguments,
                    "One a line, e.g. +map c1m1_hotel. Ports are left4me's: they are refused here.", fault))
                (text_area("config", "Config", &typed.config,
                    "Lines of server.cfg. The name of the server is put before them.", fault))
                @if !warnings.is_empty() { div.alert { @for warning in &warnings { p { "Config: " (warning) } } } }
                button.main type="submit" { @if id.is_some() { "Save" } @else { "Make the blueprint" } }
            }
        }
    })
}

fn overlay_rows(choices: &[Overlay], chosen: &[String], fault: Option<&Fault>) -> Markup {
    let error = fault.and_then(|fault| fault.beside("overlay_ids"));
    html! {
        fieldset data-arrange aria-describedby="overlays-hint" {
            legend { "Overlays" }
            // Without a single row, the form still says that there are none.
            input type="hidden" name="overlay_ids" value="";
            ol.rows data-rows {
                @for (row, id) in chosen.iter().enumerate() { (overlay_row(choices, row, id)) }
            }
            template data-row { (overlay_row(choices, 0, "")) }
            @if let Some(error) = error { p.error { (error) } }
            @if choices.is_empty() {
                p.hint #overlays-hint { "There are no overlays on this box yet; admins make them." }
            } @else {
                p.hint #overlays-hint { "Merged over the game, highest first: where two hold the same file, the first listed wins." }
                button type="submit" name="arrange" value="add" { "Add an overlay" }
            }
        }
    }
}

fn overlay_row(choices: &[Overlay], row: usize, chosen: &str) -> Markup {
    let button = |verb: &str, text: &str, label: &str| {
        html! {
            button.quiet type="submit" name="arrange" value=(format!("{verb}:{row}")) data-verb=(verb) aria-label=(label) title=(label) { (text) }
        }
    };
    html! {
        li {
            // For the mouse, shown by script; the buttons do the same for everybody.
            span.grip data-grip aria-hidden="true" title="Drag to move" { "⠿" }
            select name="overlay_ids" aria-label="Overlay" {
                option value="" { "– choose –" }
                @for overlay in choices {
                    @let id = overlay.id.to_string();
                    option value=(id) selected[id == chosen] { (overlay.name) }
                }
            }
            (button("up", "↑", "Move up"))
            (button("down", "↓", "Move down"))
            (button("remove", "×", "Remove"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str, press: &str) -> Vec<String> {
        let mut typed = Typed { overlays: text.split(' ').map(str::to_owned).collect(), ..Typed::default() };
        typed.arrange(press);
        typed.overlays
    }

    #[test]
    fn buttons_move_add_and_remove_rows_and_nonsense_changes_nothing() {
        assert_eq!(rows("1 2 3", "up:1"), ["2", "1", "3"]);
        assert_eq!(rows("1 2 3", "down:1"), ["1", "3", "2"]);
        assert_eq!(rows("1 2 3", "remove:0"), ["2", "3"]);
        assert_eq!(rows("1", "add"), ["1", ""]);
        for nonsense in ["up:0", "down:2", "remove:9", "up:-1", "x:1", "up"] {
            assert_eq!(rows("1 2 3", nonsense), ["1", "2", "3"], "{nonsense}");
        }
    }
}
