//! The box itself, for admins: game files, audit log, settings.

use maud::html;
use serde_json::{Value, json};
use warp::http::StatusCode;

use crate::domain::Page;
use crate::domain::audit::AuditFilter;
use crate::domain::builds::BuildView;
use crate::domain::jobs::JobFilter;
use crate::domain::settings::{Settings, SettingsChange};
use crate::model::FieldError;
use crate::model::id::BuildId;
use crate::model::job::Operation;
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given};
use crate::web::layout::{Field, action, csrf_field, form_alert, next_link, select, size, when};
use crate::web::{json as objects, reply};

fn build_json(view: &BuildView) -> Value {
    let build = &view.build;
    json!({
        "id": build.id, "label": build.label, "active": view.active, "bytes": build.bytes, "layers": build.layers,
        "created_at": build.created_at.to_string(), "job_id": build.job_id,
    })
}

/// `GET /admin/install`.
pub async fn install_page(given: Given) -> Answer {
    let call = given.admin()?;
    let filter = JobFilter { operation: Some(Operation::Install), ..JobFilter::default() };
    let (builds, jobs, free) = call
        .run(move |web, actor| {
            let jobs = web.domain.list_jobs(actor, &filter, &Page::first(10))?;
            Ok((web.domain.list_builds(actor)?, jobs, web.machine.free_bytes()))
        })
        .await?;
    if call.is_json() {
        return call.short_list(&builds, build_json);
    }
    let csrf = call.csrf();
    Ok(call.show(
        "Game files",
        &html! {
            div.head { h1 { "Game files" } (action("/admin/install", "Install or update", "main", csrf)) }
            div.card.scroll {
                @if builds.is_empty() {
                    p { "The game is not installed yet. Installing downloads about 9 GB by SteamCMD; servers that run keep their files until their next start." }
                    @if let Some(free) = free { p.hint { (size(free)) " are free on the disk of the data." } }
                } @else {
                    @if let Some(free) = free { p.hint { (size(free)) " are free on the disk of the data. The newest three builds are kept to go back to." } }
                    table {
                        thead { tr { th { "Build" } th { "When" } th { "Size" } th { "Job" } th { span.visually-hidden { "Actions" } } } }
                        tbody {
                            @for view in &builds {
                                tr {
                                    td { (view.build.label) @if view.active { " " span.badge data-state="running" { "active" } } }
                                    td data-label="When" { (when(view.build.created_at)) }
                                    td.number data-label="Size" { (size(view.build.bytes)) }
                                    td data-label="Job" { @if let Some(job) = view.build.job_id { a href=(format!("/jobs/{job}")) { (job) } } }
                                    td { @if !view.active { (action(&format!("/admin/builds/{}/activate", view.build.id), "Use this one", "", csrf)) } }
                                }
                            }
                        }
                    }
                }
            }
            section.card.scroll { h2 { "Installs" } (super::jobs::table(&jobs.items, &html! { "No installs yet: the button above begins the first." })) }
        },
    ))
}

/// `POST /admin/install`.
pub async fn install(given: Given) -> Answer {
    let call = given.admin()?;
    let job = call.run(|web, actor| web.domain.request_install(actor)).await?;
    Ok(call.enqueued(&job))
}

/// `GET /admin/builds`.
pub async fn builds(given: Given) -> Answer {
    let call = given.admin()?;
    if !call.is_json() {
        return Ok(call.go("/admin/install"));
    }
    let builds = call.run(|web, actor| web.domain.list_builds(actor)).await?;
    call.short_list(&builds, build_json)
}

/// `POST /admin/builds/{id}/activate`.
pub async fn activate(id: u64, given: Given) -> Answer {
    let call = given.admin()?;
    let build = call.run(move |web, actor| web.domain.activate_build(actor, BuildId(id))).await?;
    Ok(call.changed(&build_json(&BuildView { build, active: true }), "/admin/install"))
}

/// `GET /admin/audit`.
pub async fn audit(given: Given) -> Answer {
    let call = given.admin()?;
    let word = |name: &str| call.query.typed(name).map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned);
    let filter = AuditFilter { actor: word("actor"), action: word("action"), object: word("object") };
    let page = call.page()?;
    let shown = filter.clone();
    let entries = call.run(move |web, actor| web.domain.list_audit(actor, &filter, &page)).await?;
    if call.is_json() {
        return Ok(call.list(&entries, objects::audit));
    }
    let typed = |word: &Option<String>| word.clone().unwrap_or_default();
    let query: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("actor", &typed(&shown.actor))
        .append_pair("action", &typed(&shown.action))
        .append_pair("object", &typed(&shown.object))
        .finish();
    Ok(call.show(
        "Audit",
        &html! {
            h1 { "Audit" }
            form.row.filters method="get" action="/admin/audit" {
                (Field::text("actor", "Who", &typed(&shown.actor)).render(None))
                (Field::text("action", "Action", &typed(&shown.action)).render(None))
                (Field::text("object", "Object", &typed(&shown.object)).render(None))
                button type="submit" { "Show" }
            }
            div.card.scroll {
                table {
                    thead { tr { th { "When" } th { "Who" } th { "From" } th { "Action" } th { "Object" } } }
                    tbody {
                        @for entry in &entries.items {
                            tr {
                                td { (when(entry.at)) } td data-label="Who" { (entry.actor) } td data-label="From" { (entry.address) }
                                td data-label="Action" { code { (entry.action) } } td.wrap data-label="Object" { (entry.object) }
                            }
                        }
                        @if entries.items.is_empty() { tr { td colspan="5" { "Nothing." } } }
                    }
                }
            }
            (next_link(&format!("/admin/audit?{query}"), entries.next.as_deref()))
        },
    ))
}

/// `GET /admin/settings`.
pub async fn settings(given: Given) -> Answer {
    let call = given.admin()?;
    let settings = call.run(|web, _| web.domain.settings()).await?;
    if call.is_json() {
        return Ok(reply::json_with(StatusCode::OK, &settings_json(settings)));
    }
    let max = settings.max_servers_per_user.to_string();
    Ok(call.show("Settings", &settings_form(&call, signup_word(settings.signup_open), &max, None)))
}

/// The word of the configuration key `signup`.
fn signup_word(open: bool) -> &'static str {
    if open { "open" } else { "closed" }
}

fn settings_json(settings: Settings) -> Value {
    json!({ "signup": signup_word(settings.signup_open), "max_servers_per_user": settings.max_servers_per_user })
}

fn settings_form(call: &Call, open: &str, max: &str, fault: Option<&Fault>) -> maud::Markup {
    let options = [("open".to_owned(), "open to everybody".to_owned()), ("closed".to_owned(), "closed".to_owned())];
    html! {
        section.card.narrow {
            h1 { "Settings" }
            (form_alert(fault, &["signup", "max_servers_per_user"]))
            form method="post" action="/admin/settings" {
                (csrf_field(call.csrf()))
                (select("signup", "Sign-up", &options, open, fault))
                (Field { kind: "number", required: true, hint: "Admins have no limit.", ..Field::text("max_servers_per_user", "Servers per user", max) }.render(fault))
                button.main type="submit" { "Save" }
            }
        }
    }
}

/// `POST /admin/settings`.
pub async fn update_settings(given: Given) -> Answer {
    let call = given.admin()?;
    let fields = call.fields();
    let outcome = async {
        let max = fields.number("max_servers_per_user")?;
        let change = SettingsChange {
            signup_open: match fields.text("signup")?.as_deref() {
                None => None,
                Some("open") => Some(true),
                Some("closed") => Some(false),
                Some(_) => return Err(Fault::field("signup", "must be open or closed")),
            },
            max_servers_per_user: max
                .map(u32::try_from)
                .transpose()
                .map_err(|_| FieldError::new("max_servers_per_user", "is too large"))?,
        };
        call.run(move |web, actor| web.domain.update_settings(actor, change)).await
    };
    match outcome.await {
        Ok(settings) => Ok(call.changed(&settings_json(settings), "/admin/settings")),
        Err(fault) => {
            if call.is_json() {
                return Err(fault);
            }
            let typed = |name| fields.typed(name).unwrap_or_default();
            let form = settings_form(&call, typed("signup"), typed("max_servers_per_user"), Some(&fault));
            reply::refuse(&call, fault, |fault| call.show_refused("Settings", &form, fault))
        }
    }
}
