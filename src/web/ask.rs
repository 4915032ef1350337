//! Asking by name before something is destroyed: one question for all of them, a page of its own.
//!
//! A page sends the typed name as `confirm`; a form without that field is a program's, which asked its own people.

use maud::{Markup, html};
use warp::reply::Response;

use super::error::{Answer, Fault};
use super::extract::Call;
use super::layout::{Field, csrf_field, form_alert};
use super::reply;

/// The field that the name is typed into.
const FIELD: &str = "confirm";

/// What is asked.
pub struct Question {
    /// What it is: `server`, `token`.
    pub thing: &'static str,
    /// Its name, to be typed.
    pub name: String,
    /// What is done to it, as its button says: `Delete`.
    pub verb: &'static str,
    /// What is lost by that.
    pub loss: &'static str,
    /// Where the form goes.
    pub path: String,
    /// Where it is left alone.
    pub back: String,
    /// What else the form sends.
    pub hidden: Option<(&'static str, String)>,
}

impl Question {
    fn title(&self) -> String {
        format!("{} a {}", self.verb, self.thing)
    }

    /// The page that asks.
    pub fn show(&self, call: &Call) -> Response {
        call.show(&self.title(), &self.markup(call, None))
    }

    fn refuse(&self, call: &Call, fault: Fault) -> Answer {
        reply::refuse(call, fault, |fault| call.show_refused(&self.title(), &self.markup(call, Some(fault)), fault))
    }

    fn markup(&self, call: &Call, fault: Option<&Fault>) -> Markup {
        let hint = format!("Type \"{}\" to say that you mean it.", self.name);
        html! {
            section.card.narrow {
                h1 { (self.verb) " " (self.name) }
                p { (self.loss) }
                (form_alert(fault, &[FIELD]))
                form method="post" action=(self.path) {
                    (csrf_field(call.csrf()))
                    @if let Some((name, value)) = &self.hidden { input type="hidden" name=(name) value=(value); }
                    (Field { required: true, hint: &hint, ..Field::text(FIELD, "Name", "") }.render(fault))
                    div.actions {
                        button.danger type="submit" { (self.verb) }
                        a.button href=(self.back) { "Keep it" }
                    }
                }
            }
        }
    }
}

/// Does `deed`, once the name was typed where a page asked for it. What stands in the way is told in the question again.
pub async fn then(
    call: &Call,
    question: impl Future<Output = Result<Question, Fault>>,
    deed: impl Future<Output = Answer>,
) -> Answer {
    let fields = call.fields();
    let Some(typed) = fields.typed(FIELD) else { return deed.await };
    let question = question.await?;
    // A page shows several spaces as one.
    if !typed.split_whitespace().eq(question.name.split_whitespace()) {
        return question.refuse(call, Fault::field(FIELD, format!("this is not the {}'s name", question.thing)));
    }
    match deed.await {
        Err(fault) => question.refuse(call, fault),
        answer => answer,
    }
}

/// The link to the page that asks.
pub fn link(path: &str, verb: &str, name: &str) -> Markup {
    html! { a.button.danger href=(path) aria-label=(format!("{verb} {name}")) { (verb) } }
}
