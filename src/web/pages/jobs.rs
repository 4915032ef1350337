//! Jobs: the list, and one job with its live log.

use maud::{Markup, html};
use warp::http::StatusCode;

use crate::domain::Page;
use crate::domain::jobs::JobFilter;
use crate::model::ansi;
use crate::model::id::{JobId, ServerId};
use crate::model::job::{Job, JobLine, JobState, Operation};
use crate::model::pace::{self, Pace};
use crate::model::time::Timestamp;
use crate::model::user::Actor;
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given};
use crate::web::layout::{action, badge, next_link, select, when, when_maybe};
use crate::web::{Web, json, reply};

/// States that a filter may name.
const STATES: [JobState; 6] = [
    JobState::Queued,
    JobState::Running,
    JobState::Succeeded,
    JobState::Failed,
    JobState::Cancelled,
    JobState::Interrupted,
];

fn filter(call: &Call) -> Result<JobFilter, Fault> {
    let state = match call.query.typed("state").filter(|word| !word.is_empty()) {
        None => None,
        Some(word) => Some(
            STATES
                .into_iter()
                .find(|state| state.word() == word)
                .ok_or_else(|| Fault::field("state", "is no state of a job"))?,
        ),
    };
    let operation = match call.query.typed("operation").filter(|word| !word.is_empty()) {
        None => None,
        Some(word) => Some(
            Operation::ALL
                .into_iter()
                .find(|operation| operation.word() == word)
                .ok_or_else(|| Fault::field("operation", "is no operation"))?,
        ),
    };
    let server_id = match call.query.typed("server_id") {
        Some("") => None,
        Some(_) | None => call.query.number("server_id")?.map(ServerId),
    };
    Ok(JobFilter { server_id, state, operation })
}

/// `GET /jobs`.
pub async fn list(given: Given) -> Answer {
    let call = given.signed_in()?;
    let (filter, page) = (filter(&call)?, call.page()?);
    let jobs = call.run(move |web, actor| web.domain.list_jobs(actor, &filter, &page)).await?;
    if call.is_json() {
        return Ok(call.list(&jobs, json::job));
    }
    let typed = |name| call.query.typed(name).unwrap_or_default();
    let (state, operation, server) = (typed("state"), typed("operation"), typed("server_id"));
    let own = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(
            [("state", state), ("operation", operation), ("server_id", server)]
                .iter()
                .filter(|(_, value)| !value.is_empty()),
        )
        .finish();
    let servers = call.run(|web, actor| web.domain.server_names(actor, Page::MAX)).await?;
    let word = |word: &'static str| (word.to_owned(), word.to_owned());
    let states = any(STATES.iter().map(|one| word(one.word())));
    let operations = any(Operation::ALL.iter().map(|one| word(one.word())));
    let of_servers = any(servers.into_iter().map(|(id, name)| (id.to_string(), name)));
    Ok(call.show(
        "Jobs",
        &html! {
            h1 { "Jobs" }
            form.row.filters method="get" action="/jobs" {
                (select("state", "State", &states, state, None))
                (select("operation", "Operation", &operations, operation, None))
                (select("server_id", "Server", &of_servers, server, None))
                button type="submit" { "Show" }
            }
            div.card.scroll { (table(&jobs.items, &nothing(own.is_empty()))) }
            (next_link(&format!("/jobs{}{own}", if own.is_empty() { "" } else { "?" }), jobs.next.as_deref()))
        },
    ))
}

/// Stands where no job is to be shown.
fn nothing(is_all: bool) -> Markup {
    html! {
        @if is_all { "No jobs yet. Each start of a server is one: " a href="/servers" { "to the servers" } "." }
        @else { "No job is like that. " a href="/jobs" { "Show all" } "." }
    }
}

/// Jobs as rows, or what stands there when there are none.
pub fn table(jobs: &[Job], nothing: &Markup) -> Markup {
    html! {
        table {
            thead { tr { th { "Job" } th { "State" } th { "Server" } th { "By" } th { "Asked for" } th { "Took" } } }
            tbody {
                @for job in jobs {
                    tr {
                        td { a href=(format!("/jobs/{}", job.id)) { (job.operation.word()) " " (job.id) } }
                        td data-label="State" { (badge(job.state.word())) }
                        td data-label="Server" { (server(job)) }
                        td data-label="By" { (job.username) }
                        td data-label="Asked for" { (when(job.created_at)) }
                        td.number data-label="Took" { (took(job)) }
                    }
                }
                @if jobs.is_empty() { tr { td colspan="6" { (nothing) } } }
            }
        }
    }
}

fn server(job: &Job) -> Markup {
    let name = job.server_name.as_deref().unwrap_or("–");
    html! { @if let Some(id) = job.server_id { a href=(format!("/servers/{id}")) { (name) } } @else { "–" } }
}

/// The choices of a filter, none of them first.
fn any(choices: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    std::iter::once((String::new(), "any".to_owned())).chain(choices).collect()
}

/// How long it took, or takes until now.
fn took(job: &Job) -> String {
    match (job.started_at, job.finished_at) {
        (Some(start), Some(end)) => pace::duration(end.seconds_since(start).max(0) as u64),
        (Some(start), None) => format!("{} …", pace::duration(Timestamp::now().seconds_since(start).max(0) as u64)),
        (None, _) => "–".to_owned(),
    }
}

/// Where the same is asked for again, once a job has ended; `None`: there is nothing left to do it to.
fn again(job: &Job) -> Option<String> {
    if job.state.is_active() {
        return None;
    }
    match (job.operation, job.server_id) {
        (Operation::Install, _) => Some("/admin/install".into()),
        (Operation::Initialize | Operation::Start | Operation::Stop | Operation::Restart, Some(server)) => {
            Some(format!("/servers/{server}/{}", job.operation.word()))
        }
        // A delete that failed can be asked for on the server's page, which warns first.
        (Operation::Delete, _) | (_, None) => None,
    }
}

/// Lines of a log on a page without script.
const LINES: usize = 500;

/// `GET /jobs/{id}`.
pub async fn show(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let id = JobId(id);
    if call.is_json() {
        let job = call.run(move |web, actor| web.domain.job(actor, id)).await?;
        let mut value = json::job(&job);
        value["progress"] = json::progress(&job, call.web.domain.hub().pace(id)).into();
        return Ok(reply::json_with(StatusCode::OK, &value));
    }
    let (job, again, after, lines) = call
        .run(move |web, actor| {
            let job = web.domain.job(actor, id)?;
            // The newest lines: the page shows where it is, the stream goes on from there.
            let after = job.last_seq.saturating_sub(LINES as u64);
            let lines = web.domain.lines_after(actor, id, after, LINES)?;
            let again = run_again(web, actor, &job);
            Ok((job, again, after, lines))
        })
        .await?;
    let last = lines.last().map_or(after, |(seq, _)| *seq);
    Ok(call.show(
        &format!("Job {id}"),
        &html! {
            div.head { h1 { (job.operation.word()) @if let Some(name) = &job.server_name { " " (name) } } }
            (state_markup(&call, &job, again.as_deref()))
            section.card {
                h2 { "Log" }
                @if after > 0 { p.hint { (after) " earlier lines are left out here; " a href=(format!("/jobs/{id}/stream")) { "the whole log" } "." } }
                (log(id, &lines, last, job.state.is_active()))
            }
        },
    ))
}

fn log(id: JobId, lines: &[(u64, JobLine)], last: u64, live: bool) -> Markup {
    html! {
        div.console data-job-log=[live.then(|| format!("/jobs/{id}/stream?last_seq={last}&colours=1"))] {
            pre.log role="log" aria-label="Log" aria-live="off" tabindex="0" data-lines {
                @for (_, line) in lines {
                    span.line data-stream=(line.stream.word()) { (coloured(&line.text)) "\n" }
                }
            }
            @if lines.is_empty() {
                p.muted data-empty { @if live { "Nothing was printed yet." } @else { "Nothing was printed." } }
            }
        }
    }
}

/// A line with its colours as classes.
pub fn coloured(line: &str) -> Markup {
    html! {
        @for (style, text) in ansi::pieces(line) {
            @let classes = style.classes();
            @if classes.is_empty() { (text) } @else { span class=(classes) { (text) } }
        }
    }
}

/// `GET /jobs/{id}/state`: the facts alone, after they changed.
pub async fn state(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let (job, again) = call
        .run(move |web, actor| {
            let job = web.domain.job(actor, JobId(id))?;
            let again = run_again(web, actor, &job);
            Ok((job, again))
        })
        .await?;
    Ok(reply::fragment(state_markup(&call, &job, again.as_deref())))
}

/// Where this actor may ask for the same again.
fn run_again(web: &Web, actor: &Actor, job: &Job) -> Option<String> {
    let path = again(job)?;
    let may = match job.server_id {
        None => actor.admin,
        Some(server) => web.domain.may_see_server(actor, server).is_ok(),
    };
    may.then_some(path)
}

fn state_markup(call: &Call, job: &Job, again: Option<&str>) -> Markup {
    let id = job.id;
    let now: Option<Pace> = call.web.domain.hub().pace(id);
    html! {
        div.card data-live=(format!("job-{id}")) data-hx-get=(format!("/jobs/{id}/state")) data-hx-trigger="live" data-hx-swap="outerHTML" {
            div.head {
                p.state { (badge(job.state.word())) @if job.cancel_requested && job.state.is_active() { " " span.muted { "ending" } } }
                @if job.state == JobState::Queued || (job.state == JobState::Running && job.operation == Operation::Install) {
                    (action(&format!("/jobs/{id}/cancel"), "Cancel", "danger", call.csrf()))
                }
                @if let Some(path) = again { (action(path, "Run again", "", call.csrf())) }
            }
            dl.facts {
                div { dt { "Job" } dd.number { (id) } }
                @if job.server_id.is_some() { div { dt { "Server" } dd { (server(job)) } } }
                div { dt { "Asked for by" } dd { (job.username) } }
                div { dt { "Asked for" } dd { (when(job.created_at)) } }
                div { dt { "Began" } dd { (when_maybe(job.started_at)) } }
                div { dt { "Ended" } dd { (when_maybe(job.finished_at)) } }
                div { dt { "Took" } dd.number { (took(job)) } }
                @if let Some(step) = &job.step { div { dt { "Step" } dd { (step) } } }
                @if let Some(code) = job.exit_code { div { dt { "Exit code" } dd.number { (code) } } }
                @if let Some(first) = job.retry_of { div { dt { "Runs again" } dd { a href=(format!("/jobs/{first}")) { "job " (first) } } } }
            }
            @if let Some(progress) = job.progress.as_ref().filter(|_| job.state.is_active()) {
                div.progress data-progress {
                    label for="progress" { (progress.phase) }
                    @if progress.total > 0 {
                        progress #progress max=(progress.total) value=(progress.done) {}
                    } @else {
                        progress #progress {}
                    }
                    span.number data-progress-text { (pace::describe(progress, now)) }
                }
            }
            @if let Some(error) = &job.error { div.alert.bad { p { (error) } } }
        }
    }
}

/// `POST /jobs/{id}/cancel`.
pub async fn cancel(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let job = call.run(move |web, actor| web.domain.cancel_job(actor, JobId(id))).await?;
    // Its page says that it is ending.
    Ok(if call.is_json() {
        reply::json_with(StatusCode::OK, &json::job(&job))
    } else {
        call.go(&format!("/jobs/{id}"))
    })
}
