//! Games that no server owns: shown to admins, and ended on their word.

use maud::{Markup, html};
use warp::http::StatusCode;

use crate::model::machine::StrayError;
use crate::model::port::StrayGame;
use crate::web::ask::{self, Question};
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given};
use crate::web::note::Note;

/// What no server owns, each with the link that leads to its end; nothing where there is none.
pub fn render(strays: &[StrayGame]) -> Markup {
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
                                td.number data-label="Port" { @match game.port { Some(port) => (port), None => "–" } }
                                td.number data-label="Age" { (age(game.age_seconds)) }
                                td.number data-label="User" { "uid " (game.uid) }
                                td data-label="Command" { code { (game.command) } }
                                td { (ask::link(&format!("/ports/strays/{}/end", game.pid), "End", &format!("process {}", game.pid))) }
                            }
                        }
                    }
                }
            }
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

fn number(pid: u64) -> Result<u32, StrayError> {
    u32::try_from(pid).map_err(|_| StrayError::Gone(u32::MAX))
}

async fn question(call: &Call, pid: u64) -> Result<Question, Fault> {
    let number = number(pid)?;
    let strays = call.run(|web, _| Ok(web.machine.strays())).await?;
    let game = strays.into_iter().find(|game| game.pid == number).ok_or(StrayError::Gone(number))?;
    Ok(Question {
        thing: "process",
        name: number.to_string(),
        verb: "End",
        loss: "The game and all below it end at once; who plays there is thrown out.",
        path: format!("/ports/strays/{pid}/end"),
        back: "/ports/check".into(),
        // The number alone could be another process by the time that the form is sent.
        hidden: Some(("start_time", game.start_time.to_string())),
    })
}

/// `GET /ports/strays/{pid}/end`: asks by its number first.
pub async fn end_page(pid: u64, given: Given) -> Answer {
    let call = given.admin()?;
    Ok(question(&call, pid).await?.show(&call))
}

/// `POST /ports/strays/{pid}/end`: ends one, and answers when it has ended.
pub async fn end(pid: u64, given: Given) -> Answer {
    let call = given.admin()?;
    let start_time = call.fields().required_number("start_time")?;
    let number = number(pid)?;
    let deed = async {
        call.run(move |web, actor| {
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
        .await??;
        Ok(call.noting(Note::Ended, call.gone("/ports/check")))
    };
    ask::then(&call, question(&call, pid), deed).await
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
