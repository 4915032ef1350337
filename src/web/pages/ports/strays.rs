//! Games that no server owns: shown to admins, and ended on their word.

use maud::{Markup, html};
use warp::http::StatusCode;

use crate::model::machine::StrayError;
use crate::model::port::StrayGame;
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given};
use crate::web::layout::csrf_field;

/// What no server owns, each with the button that ends it; nothing where there is none.
pub fn render(strays: &[StrayGame], call: &Call) -> Markup {
    html! {
        @if !strays.is_empty() {
            h2 { "Games that no server owns" }
            p { "Left over from another panel, an older daemon or a crash. They hold ports and memory until somebody ends them." }
            div.scroll {
                table {
                    thead { tr { th { "Process" } th { "Port" } th { "Age" } th { "User" } th { "Command" } th { span.visually-hidden { "Actions" } } } }
                    tbody {
                        @for game in strays {
                            tr {
                                td.number { (game.pid) }
                                td.number { @match game.port { Some(port) => (port), None => "–" } }
                                td.number { (age(game.age_seconds)) }
                                td.number { "uid " (game.uid) }
                                td { code { (game.command) } }
                                td { (button(game, call)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn button(game: &StrayGame, call: &Call) -> Markup {
    html! {
        form.inline method="post" action=(format!("/ports/strays/{}/end", game.pid)) {
            (csrf_field(call.csrf()))
            // The number alone could be another process by now.
            input type="hidden" name="start_time" value=(game.start_time);
            button.danger type="submit" aria-label=(format!("End process {}", game.pid)) { "End" }
        }
    }
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86400, seconds / 3600 % 24),
    }
}

/// `POST /ports/strays/{pid}/end`: ends one, and answers when it has ended.
pub async fn end(pid: u64, given: Given) -> Answer {
    let call = given.admin()?;
    let start_time = call.fields().required_number("start_time")?;
    let gone = || Fault::from(StrayError::Gone(u32::try_from(pid).unwrap_or(u32::MAX)));
    let number = u32::try_from(pid).map_err(|_| gone())?;
    let ended = call
        .run(move |web, actor| {
            let strays = web.machine.strays();
            let Some(game) = strays.into_iter().find(|game| (game.pid, game.start_time) == (number, start_time)) else {
                return Ok(Err(StrayError::Gone(number)));
            };
            // Recorded first: nothing is ended that the audit log does not know of.
            let port = game.port.map_or_else(|| "no port".to_owned(), |port| format!("port {port}"));
            let object = format!("process {number} of uid {}, {port}: {}", game.uid, game.command);
            web.domain.record(actor, "ports.end_stray", &object)?;
            Ok(web.machine.end_stray(number, start_time))
        })
        .await?;
    ended?;
    Ok(call.gone("/ports/check"))
}

impl From<StrayError> for Fault {
    fn from(error: StrayError) -> Self {
        let status = match error {
            StrayError::Gone(_) => StatusCode::NOT_FOUND,
            StrayError::NotPermitted { .. } | StrayError::Failed { .. } => StatusCode::CONFLICT,
        };
        Self::new(status, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_said_in_the_units_that_fit() {
        for (seconds, text) in [(59, "59 s"), (60, "1 min"), (3_660, "1 h 1 min"), (90_000, "1 d 1 h")] {
            assert_eq!(age(seconds), text);
        }
    }
}
