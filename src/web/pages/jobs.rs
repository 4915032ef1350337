//! Jobs: the list, and one job with its live log.

use maud::{Markup, html};
use warp::http::StatusCode;

use crate::domain::jobs::JobFilter;
use crate::model::id::{JobId, ServerId};
use crate::model::job::{Job, JobLine, JobState, Operation};
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given};
use crate::web::layout::{action, badge, next_link, size, when, when_maybe};
use crate::web::{json, reply};

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
    Ok(JobFilter { server_id: call.query.number("server_id")?.map(ServerId), state, operation })
}

/// `GET /jobs`.
pub async fn list(given: Given) -> Answer {
    let call = given.signed_in()?;
    let (filter, page) = (filter(&call)?, call.page()?);
    let jobs = call.run(move |web, actor| web.domain.list_jobs(actor, &filter, &page)).await?;
    if call.is_json() {
        return Ok(call.list(&jobs, json::job));
    }
    let state = call.query.typed("state").unwrap_or_default();
    let own = match call.query.typed("server_id") {
        Some(id) => format!("/jobs?server_id={id}&state={state}"),
        None => format!("/jobs?state={state}"),
    };
    Ok(call.show(
        "Jobs",
        &html! {
            div.head {
                h1 { "Jobs" }
                form.row method="get" action="/jobs" {
                    label for="state" { "State" }
                    select #state name="state" {
                        option value="" { "any" }
                        @for option in STATES { option value=(option.word()) selected[option.word() == state] { (option.word()) } }
                    }
                    button type="submit" { "Show" }
                }
            }
            div.card.scroll { (table(&jobs.items)) }
            (next_link(&own, jobs.next.as_deref()))
        },
    ))
}

/// Jobs as rows.
pub fn table(jobs: &[Job]) -> Markup {
    html! {
        table {
            thead { tr { th { "Job" } th { "State" } th { "Server" } th { "By" } th { "Asked for" } th { "Took" } } }
            tbody {
                @for job in jobs {
                    tr {
                        td { a href=(format!("/jobs/{}", job.id)) { (job.operation.word()) " " (job.id) } }
                        td { (badge(job.state.word())) }
                        td { (server(job)) }
                        td { (job.username) }
                        td { (when(job.created_at)) }
                        td.number { (took(job)) }
                    }
                }
                @if jobs.is_empty() { tr { td colspan="6" { "No jobs." } } }
            }
        }
    }
}

fn server(job: &Job) -> Markup {
    let name = job.server_name.as_deref().unwrap_or("–");
    html! { @if let Some(id) = job.server_id { a href=(format!("/servers/{id}")) { (name) } } @else { "–" } }
}

fn took(job: &Job) -> String {
    match (job.started_at, job.finished_at) {
        (Some(start), Some(end)) => format!("{} s", end.seconds_since(start)),
        (Some(_), None) => "…".to_owned(),
        (None, _) => "–".to_owned(),
    }
}

/// Lines of a log on a page without script.
const LINES: usize = 500;

/// `GET /jobs/{id}`.
pub async fn show(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let id = JobId(id);
    let job = call.run(move |web, actor| web.domain.job(actor, id)).await?;
    if call.is_json() {
        return Ok(reply::json_with(StatusCode::OK, &json::job(&job)));
    }
    // The newest lines: the page shows where it is, the stream goes on from there.
    let after = job.last_seq.saturating_sub(LINES as u64);
    let lines = call.run(move |web, actor| web.domain.lines_after(actor, id, after, LINES)).await?;
    let last = lines.last().map_or(after, |(seq, _)| *seq);
    Ok(call.show(
        &format!("Job {id}"),
        &html! {
            div.head { h1 { (job.operation.word()) @if let Some(name) = &job.server_name { " " (name) } } }
            (state_markup(&call, &job))
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
        div.console data-job-log=[live.then(|| format!("/jobs/{id}/stream?last_seq={last}"))] {
            pre.log role="log" aria-label="Log" aria-live="off" tabindex="0" data-lines {
                @for (_, line) in lines {
                    span.line data-stream=(line.stream.word()) { (line.text) "\n" }
                }
            }
            @if lines.is_empty() {
                p.muted data-empty { @if live { "Nothing was printed yet." } @else { "Nothing was printed." } }
            }
        }
    }
}

/// `GET /jobs/{id}/state`: the facts alone, after they changed.
pub async fn state(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let job = call.run(move |web, actor| web.domain.job(actor, JobId(id))).await?;
    Ok(reply::fragment(state_markup(&call, &job)))
}

fn state_markup(call: &Call, job: &Job) -> Markup {
    let id = job.id;
    html! {
        section.card data-live=(format!("job-{id}")) hx-get=(format!("/jobs/{id}/state")) hx-trigger="live" hx-swap="outerHTML" {
            div.head {
                p.state { (badge(job.state.word())) @if job.cancel_requested && job.state.is_active() { " " span.muted { "ending" } } }
                @if job.state == JobState::Queued || (job.state == JobState::Running && job.operation == Operation::Install) {
                    (action(&format!("/jobs/{id}/cancel"), "Cancel", "danger", call.csrf()))
                }
            }
            dl.facts {
                div { dt { "Job" } dd.number { (id) } }
                @if job.server_id.is_some() { div { dt { "Server" } dd { (server(job)) } } }
                div { dt { "Asked for by" } dd { (job.username) } }
                div { dt { "Asked for" } dd { (when(job.created_at)) } }
                div { dt { "Began" } dd { (when_maybe(job.started_at)) } }
                div { dt { "Ended" } dd { (when_maybe(job.finished_at)) } }
                @if let Some(step) = &job.step { div { dt { "Step" } dd { (step) } } }
                @if let Some(code) = job.exit_code { div { dt { "Exit code" } dd.number { (code) } } }
                @if let Some(first) = job.retry_of { div { dt { "Runs again" } dd { a href=(format!("/jobs/{first}")) { "job " (first) } } } }
            }
            @if let Some(progress) = job.progress.as_ref().filter(|_| job.state.is_active()) {
                div.progress data-progress {
                    label for="progress" { (progress.phase) }
                    @if progress.total > 0 {
                        progress #progress max=(progress.total) value=(progress.done) {}
                        span.number { (size(progress.done)) " of " (size(progress.total)) }
                    } @else {
                        progress #progress {}
                    }
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
    Ok(call.changed(&json::job(&job), &format!("/jobs/{id}")))
}
