//! Whether the box can run games: the checks of `left4me doctor`, for admins.

use maud::html;
use serde_json::json;

use crate::model::machine::Outcome;
use crate::web::error::Answer;
use crate::web::extract::Given;
use crate::web::layout::badge;

/// `GET /admin/doctor`.
pub async fn show(given: Given) -> Answer {
    let call = given.admin()?;
    let checks = call.run(|web, _| Ok(web.machine.doctor())).await?;
    if call.is_json() {
        return call
            .short_list(&checks, |check| json!({ "name": check.name, "outcome": check.outcome, "text": check.text }));
    }
    let count = |outcome: Outcome| checks.iter().filter(|check| check.outcome == outcome).count();
    let (failures, warnings) = (count(Outcome::Failure), count(Outcome::Warning));
    Ok(call.show(
        "Doctor",
        &html! {
            div.head { h1 { "Doctor" } a.button href="/admin/doctor" { "Look again" } }
            p {
                @if failures > 0 { "Games cannot run here until the failures below are mended; each says how." }
                @else if warnings > 0 { "Games can run here. The warnings below say what is missing." }
                @else { "Games can run here, and nothing is missing." }
            }
            div.card.scroll {
                table {
                    thead { tr { th { "Check" } th { "Outcome" } th { "What was found" } } }
                    tbody {
                        @for check in &checks {
                            tr {
                                td { (check.name) }
                                td data-label="Outcome" { (badge(match check.outcome {
                                    Outcome::Ok => "ok",
                                    Outcome::Warning => "warning",
                                    Outcome::Failure => "failed",
                                })) }
                                td.found data-label="What was found" { (check.text) }
                            }
                        }
                    }
                }
            }
        },
    ))
}
