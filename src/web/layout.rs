//! The frame of every page, and the small pieces that several pages share.
//!
//! Text from outside goes through maud's escaping; nothing here is passed through raw. There is no inline script or
//! style: the policy in `service` forbids both.

use maud::{DOCTYPE, Markup, html};

use super::Web;
use super::error::Fault;
use super::extract::Viewer;
use super::note::Note;
use crate::model::job::Job;
pub use crate::model::pace::size;
use crate::model::time::Timestamp;

/// HTMX without inline style and without eval; refused forms (4xx) are shown like any other answer. A piece that comes
/// anew works at once: a key that is pressed meanwhile finds its button.
const HTMX: &str = r#"{"includeIndicatorStyles":false,"allowEval":false,"historyCacheSize":0,"defaultSettleDelay":0,"selfRequestsOnly":true,"responseHandling":[{"code":"204","swap":false},{"code":"...","swap":true}]}"#;

/// Links of everybody: path, text.
const LINKS: [(&str, &str); 5] = [
    ("/dashboard", "Dashboard"),
    ("/servers", "Servers"),
    ("/blueprints", "Blueprints"),
    ("/jobs", "Jobs"),
    ("/ports", "Ports"),
];

/// Links of admins.
const ADMIN_LINKS: [(&str, &str); 6] = [
    ("/admin/overlays", "Overlays"),
    ("/admin/install", "Game files"),
    ("/admin/users", "Users"),
    ("/admin/audit", "Audit"),
    ("/admin/doctor", "Doctor"),
    ("/admin/settings", "Settings"),
];

/// A page to be.
pub struct Frame<'a> {
    web: &'a Web,
    title: &'a str,
    viewer: Option<&'a Viewer>,
    path: &'a str,
    note: Option<Note>,
}

impl<'a> Frame<'a> {
    /// A page with a title, for a reader who may be nobody.
    pub fn new(web: &'a Web, title: &'a str, viewer: Option<&'a Viewer>) -> Self {
        Self { web, title, viewer, path: "", note: None }
    }

    /// Where it is: its link is marked.
    pub fn at(self, path: &'a str) -> Self {
        Self { path, ..self }
    }

    /// With a note of what was just done.
    pub fn saying(self, note: Option<Note>) -> Self {
        Self { note, ..self }
    }

    /// The whole document.
    pub fn render(&self, body: &Markup) -> Markup {
        let asset = |file: &str| self.web.assets.path(file).to_owned();
        let csrf = self.viewer.map_or("", |viewer| viewer.csrf.as_str());
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="csrf-token" content=(csrf);
                    meta name="htmx-config" content=(HTMX);
                    title { (self.title) " · left4me" }
                    link rel="icon" href=(asset("icons/left4me.svg")) type="image/svg+xml";
                    link rel="stylesheet" href=(asset("css/all.css"));
                    script src=(asset("vendor/htmx.min.js")) defer {}
                    @for script in ["csrf", "page", "live", "sse", "upload"] {
                        script src=(asset(&format!("js/{script}.js"))) defer {}
                    }
                }
                body data-events=[self.viewer.map(|_| "/events")] data-user=[self.viewer.map(|viewer| viewer.username.as_str())] {
                    a.skip href="#main" { "Skip to content" }
                    (self.header(csrf))
                    main #main tabindex="-1" {
                        div #flash role="status" aria-live="polite" {
                            @if let Some(note) = self.note { div.alert.good { p { (note.text()) } } }
                        }
                        (body)
                    }
                }
            }
        }
    }

    fn header(&self, csrf: &str) -> Markup {
        html! {
            header.top {
                a.brand href="/dashboard" { "left4me" }
                @if let Some(viewer) = self.viewer {
                    nav aria-label="Main" {
                        ul {
                            @for (path, text) in LINKS { (self.link(path, text)) }
                            @if viewer.admin {
                                @for (path, text) in ADMIN_LINKS { (self.link(path, text)) }
                            }
                        }
                    }
                    div.who {
                        a href="/account" { (viewer.username) }
                        form method="post" action="/logout" {
                            (csrf_field(csrf))
                            button.quiet type="submit" { "Log out" }
                        }
                    }
                }
            }
        }
    }

    fn link(&self, path: &str, text: &str) -> Markup {
        let here = self.path == path || self.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        html! { li { a href=(path) aria-current=[here.then_some("page")] { (text) } } }
    }
}

/// The hidden field of every form.
pub fn csrf_field(csrf: &str) -> Markup {
    html! { input type="hidden" name="csrf_token" value=(csrf); }
}

/// A notice that something did not work.
pub fn alert(text: &str) -> Markup {
    html! { div.alert.bad role="alert" { p { (text) } } }
}

/// The notice above a form whose fault belongs to no field, or to a field that the form does not show.
pub fn form_alert(fault: Option<&Fault>, shown: &[&str]) -> Markup {
    match fault {
        Some(fault) if fault.field.is_none_or(|field| !shown.contains(&field)) => alert(&fault.text()),
        Some(_) | None => html! {},
    }
}

/// The body of a page that only says what went wrong.
pub fn fault_body(fault: &Fault) -> Markup {
    html! {
        section.card.narrow {
            h1 { (fault.status.as_u16()) " " (fault.status.canonical_reason().unwrap_or("Error")) }
            p { (fault.text()) }
            p { a href="/dashboard" { "To the dashboard" } }
        }
    }
}

/// A labelled text field with its complaint beside it.
pub struct Field<'a> {
    /// Form name.
    pub name: &'a str,
    /// Label.
    pub label: &'a str,
    /// What is in it.
    pub value: &'a str,
    /// `text`, `password`, `number`, …
    pub kind: &'a str,
    /// A hint below.
    pub hint: &'a str,
    /// Whether the browser insists.
    pub required: bool,
    /// `autocomplete` token; empty: none.
    pub autocomplete: &'a str,
}

impl<'a> Field<'a> {
    /// A text field.
    pub fn text(name: &'a str, label: &'a str, value: &'a str) -> Self {
        Self { name, label, value, kind: "text", hint: "", required: false, autocomplete: "off" }
    }

    /// Renders it, with what `fault` says about it.
    pub fn render(&self, fault: Option<&Fault>) -> Markup {
        let error = fault.and_then(|fault| fault.beside(self.name));
        let error = error.as_deref();
        let id = format!("field-{}", self.name);
        html! {
            div.field {
                label for=(id) { (self.label) }
                // What a browser puts into a file field is its user's choice alone.
                @let typed = self.kind != "file";
                input id=(id) type=(self.kind) name=(self.name) value=[typed.then_some(self.value)] required[self.required]
                    autocomplete=[typed.then_some(self.autocomplete)] aria-invalid=[error.map(|_| "true")]
                    aria-describedby=[described(&id, self.hint, error)];
                (hint_and_error(&id, self.hint, error))
            }
        }
    }
}

/// A labelled field of several lines.
pub fn text_area(name: &str, label: &str, value: &str, hint: &str, fault: Option<&Fault>) -> Markup {
    let error = fault.and_then(|fault| fault.beside(name));
    let error = error.as_deref();
    let id = format!("field-{name}");
    html! {
        div.field {
            label for=(id) { (label) }
            textarea id=(id) name=(name) rows="8" spellcheck="false" autocomplete="off" aria-invalid=[error.map(|_| "true")]
                aria-describedby=[described(&id, hint, error)] { "\n" (value) }
            (hint_and_error(&id, hint, error))
        }
    }
}

/// A labelled choice: value, text. Nothing is chosen when `value` is none of them.
pub fn select(name: &str, label: &str, options: &[(String, String)], value: &str, fault: Option<&Fault>) -> Markup {
    let error = fault.and_then(|fault| fault.beside(name));
    let error = error.as_deref();
    let id = format!("field-{name}");
    html! {
        div.field {
            label for=(id) { (label) }
            select id=(id) name=(name) aria-invalid=[error.map(|_| "true")] aria-describedby=[described(&id, "", error)] {
                @for (key, text) in options {
                    option value=(key) selected[key == value] { (text) }
                }
            }
            (hint_and_error(&id, "", error))
        }
    }
}

fn described(id: &str, hint: &str, error: Option<&str>) -> Option<String> {
    match (hint.is_empty(), error) {
        (true, None) => None,
        (false, None) => Some(format!("{id}-hint")),
        (true, Some(_)) => Some(format!("{id}-error")),
        (false, Some(_)) => Some(format!("{id}-error {id}-hint")),
    }
}

fn hint_and_error(id: &str, hint: &str, error: Option<&str>) -> Markup {
    html! {
        @if let Some(error) = error { p.error id=(format!("{id}-error")) { (error) } }
        @if !hint.is_empty() { p.hint id=(format!("{id}-hint")) { (hint) } }
    }
}

/// A form that is one button.
pub fn action(path: &str, text: &str, class: &str, csrf: &str) -> Markup {
    html! {
        form.inline method="post" action=(path) {
            (csrf_field(csrf))
            button class=(class) type="submit" { (text) }
        }
    }
}

/// The same within [`live_actions`], answered in place when HTMX is there.
pub fn live_action(path: &str, text: &str, class: &str, csrf: &str) -> Markup {
    html! {
        form.inline method="post" action=(path) data-hx-post=(path) {
            (csrf_field(csrf))
            button class=(class) type="submit" { (text) }
        }
    }
}

/// What forms of [`live_action`] stand in. How their answers are put into the page is said here, once for all of them: a
/// live piece around them replaces itself, and its way would be inherited and take the place of answers away.
pub fn live_actions(forms: &Markup) -> Markup {
    html! {
        div.actions data-hx-target="#flash" data-hx-swap="innerHTML" data-hx-disabled-elt="find button" { (forms) }
    }
}

/// A state as a badge; its colour follows its word.
pub fn badge(word: &str) -> Markup {
    html! { span.badge data-state=(word) { (word) } }
}

/// A time: exact in the markup and on hover, local by script.
pub fn when(at: Timestamp) -> Markup {
    let exact = at.to_string();
    let short: String = exact.chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect();
    html! { time datetime=(exact) title=(exact) { (short) " UTC" } }
}

/// A time that may not have come yet.
pub fn when_maybe(at: Option<Timestamp>) -> Markup {
    at.map_or_else(|| html! { span.muted { "–" } }, when)
}

/// The note that HTMX puts into the page after a request for a job.
pub fn enqueued_note(job: &Job) -> Markup {
    html! {
        div.alert.good {
            p { (job.operation.word()) " is " (job.state.word()) ": " a href=(format!("/jobs/{}", job.id)) { "job " (job.id) } }
        }
    }
}

/// The link to the next part of a list.
pub fn next_link(path: &str, next: Option<&str>) -> Markup {
    html! {
        @if let Some(next) = next {
            @let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("cursor", next).finish();
            @let joint = if path.contains('?') { '&' } else { '?' };
            p { a href=(format!("{path}{joint}{query}")) rel="next" { "More" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size(12), "12 bytes");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(5 << 30), "5.0 GiB");
    }

    #[test]
    fn hostile_text_is_escaped() {
        assert_eq!(
            alert("<script>alert(1)</script>").into_string(),
            r#"<div class="alert bad" role="alert"><p>&lt;script&gt;alert(1)&lt;/script&gt;</p></div>"#
        );
    }
}
