//! Jobs: asking, coalescing, cancelling, the queue, logs, recovery, retention.

use left4me::domain::jobs::{JobFilter, Outcome};
use left4me::domain::servers::ServerChange;
use left4me::domain::{Page, Refusal};
use left4me::model::event::Event;
use left4me::model::id::{JobId, ServerId};
use left4me::model::job::{CUT_MARK, Job, JobState, Operation, Progress, Stream};
use left4me::model::server::{ActualState, DesiredState};
use left4me::model::user::Actor;

use crate::domain_kit::{Panel, nobody};

fn done(state: JobState) -> Outcome {
    Outcome { state, exit_code: Some(0), error: None }
}

fn lines(panel: &Panel, texts: &[&str]) -> Vec<(left4me::model::time::Timestamp, Stream, String)> {
    texts.iter().map(|text| (panel.now(), Stream::Stdout, (*text).to_owned())).collect()
}

fn desired(panel: &Panel, id: ServerId) -> DesiredState {
    panel.record(id).desired_state
}

#[test]
fn asking_for_what_the_newest_queued_job_is_returns_that_job() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    let ask = |operation| panel.domain.request(&bob, server.id, operation).unwrap();
    let start = ask(Operation::Start);
    assert_eq!(ask(Operation::Start).id, start.id);
    let stop = ask(Operation::Stop);
    let again = ask(Operation::Start);
    assert!(again.id != start.id && stop.id != start.id, "start, stop, start are three");
    assert_eq!(desired(&panel, server.id), DesiredState::Running, "and end started");
    for expected in [start.id, stop.id, again.id] {
        panel.run(expected, JobState::Succeeded);
    }
}

#[test]
fn a_running_job_does_not_swallow_a_new_request() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    let first = panel.domain.request(&bob, server.id, Operation::Restart).unwrap();
    panel.domain.claim_next(4).unwrap().unwrap();
    let second = panel.domain.request(&bob, server.id, Operation::Restart).unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(panel.domain.claim_next(4).unwrap(), None, "one after another");
}

#[test]
fn desired_state_is_set_on_asking_and_restored_on_cancelling() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    let start = panel.domain.request(&bob, server.id, Operation::Start).unwrap();
    assert_eq!(desired(&panel, server.id), DesiredState::Running);
    let cancelled = panel.domain.cancel_job(&bob, start.id).unwrap();
    assert_eq!((cancelled.state, cancelled.finished_at), (JobState::Cancelled, Some(panel.now())));
    assert_eq!(desired(&panel, server.id), DesiredState::Stopped);
    assert!(matches!(panel.domain.cancel_job(&bob, start.id), Err(Refusal::Conflict(_))));
}

#[test]
fn cancelling_in_the_middle_of_the_queue_undoes_only_that_job() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    let ask = |operation| panel.domain.request(&bob, server.id, operation).unwrap();
    let start = ask(Operation::Start);
    let stop = ask(Operation::Stop);
    panel.domain.cancel_job(&bob, start.id).unwrap();
    assert_eq!(desired(&panel, server.id), DesiredState::Stopped, "the stop still stands");
    panel.domain.cancel_job(&bob, stop.id).unwrap();
    assert_eq!(desired(&panel, server.id), DesiredState::Stopped, "as if neither had been asked for");
    let start = ask(Operation::Start);
    panel.domain.claim_next(4).unwrap().unwrap();
    let stop = ask(Operation::Stop);
    panel.domain.cancel_job(&bob, stop.id).unwrap();
    assert_eq!(desired(&panel, server.id), DesiredState::Running, "the running start still counts");
    assert!(matches!(panel.domain.cancel_job(&bob, start.id), Err(Refusal::Conflict(_))), "it runs");
}

#[test]
fn deleting_cancels_what_is_queued_and_refuses_everything_else() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    let start = panel.domain.request(&bob, server.id, Operation::Start).unwrap();
    let delete = panel.domain.request(&bob, server.id, Operation::Delete).unwrap();
    assert_eq!(panel.domain.job(&bob, start.id).unwrap().state, JobState::Cancelled);
    assert_eq!(panel.domain.server(&bob, server.id).unwrap().display_state, "deleting");
    for operation in [Operation::Start, Operation::Stop, Operation::Restart, Operation::Initialize] {
        let refusal = panel.domain.request(&bob, server.id, operation).unwrap_err();
        assert_eq!(refusal.to_string(), "being deleted");
    }
    let rename = ServerChange { name: Some("x".into()), ..ServerChange::default() };
    assert!(matches!(panel.domain.update_server(&bob, server.id, rename, &nobody()), Err(Refusal::BeingDeleted)));
    assert_eq!(panel.domain.request(&bob, server.id, Operation::Delete).unwrap().id, delete.id);
    panel.domain.claim_next(4).unwrap().unwrap();
    assert!(matches!(panel.domain.request(&bob, server.id, Operation::Delete), Err(Refusal::BeingDeleted)));
}

#[test]
fn a_cancelled_or_failed_delete_leaves_a_server_that_may_be_asked_again() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    panel.domain.request(&bob, server.id, Operation::Start).unwrap();
    panel.domain.claim_next(4).unwrap().unwrap();
    let delete = panel.domain.request(&bob, server.id, Operation::Delete).unwrap();
    panel.domain.cancel_job(&bob, delete.id).unwrap();
    let record = panel.record(server.id);
    assert_eq!((record.deleting, record.desired_state), (false, DesiredState::Running));
    let start = panel.domain.active_jobs().unwrap()[0].id;
    panel.domain.finish_job(start, done(JobState::Succeeded)).unwrap();
    let delete = panel.domain.request(&bob, server.id, Operation::Delete).unwrap();
    panel.run(delete.id, JobState::Failed);
    panel.domain.request(&bob, server.id, Operation::Start).unwrap();
}

#[test]
fn a_running_server_is_not_initialized() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    panel.domain.observe(server.id, ActualState::Running, None).unwrap();
    assert!(matches!(panel.domain.request(&bob, server.id, Operation::Initialize), Err(Refusal::Conflict(_))));
    panel.domain.observe(server.id, ActualState::Stopped, None).unwrap();
    panel.domain.request(&bob, server.id, Operation::Initialize).unwrap();
    assert!(matches!(panel.domain.request(&bob, server.id, Operation::Install), Err(Refusal::Invalid(_))));
}

#[test]
fn installs_are_for_admins_run_beside_servers_and_end_when_asked() {
    let panel = Panel::new();
    let admin = panel.admin();
    let (bob, server) = panel.owner("bob");
    assert!(matches!(panel.domain.request_install(&bob), Err(Refusal::Forbidden(_))));
    let install = panel.domain.request_install(&admin).unwrap();
    assert_eq!(panel.domain.request_install(&admin).unwrap().id, install.id);
    let start = panel.domain.request(&bob, server.id, Operation::Start).unwrap();
    assert_eq!(panel.domain.claim_next(4).unwrap().unwrap().id, install.id);
    assert_eq!(panel.domain.claim_next(4).unwrap().unwrap().id, start.id);
    let second = panel.domain.request_install(&admin).unwrap();
    assert_eq!(panel.domain.claim_next(4).unwrap(), None, "never two installs");
    assert!(matches!(panel.domain.cancel_job(&bob, install.id), Err(Refusal::Forbidden(_))));
    let mut events = panel.domain.hub().listen();
    assert!(panel.domain.cancel_job(&admin, install.id).unwrap().cancel_requested);
    assert!(std::iter::from_fn(|| events.try_recv().ok()).any(|event| event == Event::JobCancel(install.id)));
    panel.domain.finish_job(install.id, done(JobState::Cancelled)).unwrap();
    assert_eq!(panel.domain.claim_next(4).unwrap().unwrap().id, second.id);
}

#[test]
fn no_more_jobs_run_than_there_are_workers() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    let other = panel.server(&bob, "t", server.blueprint_id);
    panel.domain.request(&bob, server.id, Operation::Start).unwrap();
    panel.domain.request(&bob, other.id, Operation::Start).unwrap();
    assert!(panel.domain.claim_next(1).unwrap().is_some());
    assert!(panel.domain.claim_next(1).unwrap().is_none());
    assert!(panel.domain.claim_next(2).unwrap().is_some());
}

#[test]
fn racing_workers_never_get_the_same_job() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    let blueprint = server.blueprint_id;
    let servers: Vec<ServerId> =
        std::iter::once(server.id).chain((0..9).map(|n| panel.server(&bob, &n.to_string(), blueprint).id)).collect();
    for id in &servers {
        panel.domain.request(&bob, *id, Operation::Start).unwrap();
    }
    let mut claimed: Vec<JobId> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| panel.domain.claim_next(100).unwrap())).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).map(|job| job.id).collect()
    });
    claimed.sort_unstable();
    assert_eq!(claimed.len(), 10);
    claimed.dedup();
    assert_eq!(claimed.len(), 10);
}

#[test]
fn lines_are_numbered_by_one_from_one_cut_and_read_from_any_point() {
    let panel = Panel::with(|rules| rules.log_replay_limit = 5);
    let (bob, server) = panel.owner("bob");
    let job = panel.domain.request(&bob, server.id, Operation::Start).unwrap();
    assert_eq!(panel.domain.append_lines(job.id, vec![]).unwrap(), 0);
    let mut events = panel.domain.hub().listen();
    assert_eq!(panel.domain.append_lines(job.id, lines(&panel, &["a", "b", "c"])).unwrap(), 3);
    assert_eq!(events.try_recv().unwrap(), Event::JobLines { job: job.id, last_seq: 3 });
    assert_eq!(panel.domain.append_lines(job.id, lines(&panel, &["d", &"é".repeat(5000), "f", "g"])).unwrap(), 7);
    let all = panel.domain.lines_after(&bob, job.id, 0, 100).unwrap();
    assert_eq!(all.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5], "the replay limit");
    let cut = &all[4].1.text;
    assert!(cut.chars().count() == 4096 && cut.ends_with(CUT_MARK));
    let rest = panel.domain.lines_after(&bob, job.id, 5, 100).unwrap();
    assert_eq!(rest.iter().map(|(seq, line)| (*seq, line.text.as_str())).collect::<Vec<_>>(), [(6, "f"), (7, "g")]);
    assert!(panel.domain.lines_after(&bob, job.id, 7, 100).unwrap().is_empty());
    assert!(panel.domain.lines_after(&bob, job.id, u64::MAX, 100).unwrap().is_empty());
    assert_eq!(panel.domain.job(&bob, job.id).unwrap().last_seq, 7);
}

#[test]
fn lines_of_several_jobs_written_at_once_do_not_mix() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    let jobs: Vec<JobId> = (0..4)
        .map(|n| panel.server(&bob, &n.to_string(), server.blueprint_id).id)
        .map(|id| panel.domain.request(&bob, id, Operation::Start).unwrap().id)
        .collect();
    std::thread::scope(|scope| {
        for id in &jobs {
            let panel = &panel;
            scope.spawn(move || {
                for batch in 0..10u64 {
                    let texts: Vec<String> = (1..=7).map(|n| format!("{id} {}", batch * 7 + n)).collect();
                    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                    assert_eq!(panel.domain.append_lines(*id, lines(panel, &texts)).unwrap(), batch * 7 + 7);
                }
            });
        }
    });
    for id in jobs {
        let all = panel.domain.lines_after(&bob, id, 0, 1000).unwrap();
        assert_eq!(all.len(), 70);
        for (seq, line) in all {
            assert_eq!(line.text, format!("{id} {seq}"));
        }
    }
}

#[test]
fn a_job_is_seen_by_who_asked_the_owner_and_admins() {
    let panel = Panel::new();
    let admin = panel.admin();
    let (bob, server) = panel.owner("bob");
    let eve = panel.user("eve");
    let job = panel.domain.request(&admin, server.id, Operation::Start).unwrap();
    let install = panel.domain.request_install(&admin).unwrap();
    panel.domain.job(&bob, job.id).unwrap();
    assert!(matches!(panel.domain.job(&eve, job.id), Err(Refusal::Forbidden(_))));
    assert!(matches!(panel.domain.lines_after(&eve, job.id, 0, 1), Err(Refusal::Forbidden(_))));
    assert!(matches!(panel.domain.job(&eve, JobId(99)), Err(Refusal::NotFound("job"))));
    let ids = |actor: &Actor, filter: &JobFilter| -> Vec<JobId> {
        panel.domain.list_jobs(actor, filter, &Page::default()).unwrap().items.iter().map(|job| job.id).collect()
    };
    let any = JobFilter::default();
    assert_eq!(ids(&admin, &any), [install.id, job.id]);
    assert_eq!(ids(&bob, &any), [job.id]);
    assert_eq!(ids(&eve, &any), []);
    let of_server = JobFilter { server_id: Some(server.id), ..JobFilter::default() };
    assert_eq!((ids(&bob, &of_server), ids(&eve, &of_server)), (vec![job.id], vec![]));
    let queued = JobFilter { state: Some(JobState::Queued), ..JobFilter::default() };
    assert_eq!((ids(&admin, &queued).len(), ids(&bob, &queued).len(), ids(&eve, &queued).len()), (2, 1, 0));
    let failed = JobFilter { state: Some(JobState::Failed), ..JobFilter::default() };
    assert_eq!(ids(&admin, &failed), []);
}

#[test]
fn jobs_are_listed_newest_first_in_pages_whichever_way_they_are_found() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    let mut expected = Vec::new();
    for _ in 0..7 {
        let job = panel.domain.request(&bob, server.id, Operation::Start).unwrap();
        panel.run(job.id, JobState::Succeeded);
        expected.insert(0, job.id);
    }
    let filters = [
        JobFilter::default(),
        JobFilter { server_id: Some(server.id), ..JobFilter::default() },
        JobFilter { operation: Some(Operation::Start), ..JobFilter::default() },
    ];
    for actor in [&bob, &panel.admin()] {
        for filter in &filters {
            let mut page = Page::first(3);
            let mut seen = Vec::new();
            loop {
                let part = panel.domain.list_jobs(actor, filter, &page).unwrap();
                seen.extend(part.items.iter().map(|job| job.id));
                match part.next {
                    Some(next) => page.cursor = Some(next),
                    None => break,
                }
            }
            assert_eq!(seen, expected, "{filter:?}");
        }
    }
}

#[test]
fn steps_progress_and_the_end_are_kept() {
    let panel = Panel::new();
    let admin = panel.admin();
    let job = panel.domain.request_install(&admin).unwrap();
    assert!(matches!(panel.domain.begin_step(job.id, "x"), Err(Refusal::Conflict(_))), "it does not run yet");
    panel.domain.claim_next(1).unwrap().unwrap();
    panel.domain.begin_step(job.id, "download").unwrap();
    let progress = Progress { phase: "downloading".into(), done: 1, total: 2 };
    panel.domain.set_progress(job.id, progress.clone()).unwrap();
    let seen = panel.domain.job(&admin, job.id).unwrap();
    assert_eq!((seen.step.as_deref(), seen.progress), (Some("download"), Some(progress)));
    assert!(matches!(panel.domain.finish_job(job.id, done(JobState::Running)), Err(Refusal::Invalid(_))));
    panel.pass(3);
    let failed = Outcome { state: JobState::Failed, exit_code: Some(8), error: Some("no space".into()) };
    let ended = panel.domain.finish_job(job.id, failed).unwrap();
    assert_eq!((ended.exit_code, ended.error.as_deref()), (Some(8), Some("no space")));
    assert_eq!(ended.finished_at.unwrap().seconds_since(ended.started_at.unwrap()), 3);
    assert!(matches!(panel.domain.finish_job(job.id, done(JobState::Succeeded)), Err(Refusal::Conflict(_))));
}

#[test]
fn after_a_crash_running_jobs_are_interrupted_and_run_again_in_their_place() {
    let panel = Panel::new();
    let admin = panel.admin();
    let (bob, server) = panel.owner("bob");
    let start = panel.domain.request(&bob, server.id, Operation::Start).unwrap();
    let install = panel.domain.request_install(&admin).unwrap();
    panel.domain.claim_next(4).unwrap().unwrap();
    panel.domain.claim_next(4).unwrap().unwrap();
    let stop = panel.domain.request(&bob, server.id, Operation::Stop).unwrap();
    let interrupted = panel.domain.interrupt_jobs(&[]).unwrap();
    assert_eq!(interrupted.iter().map(|job| job.id).collect::<Vec<_>>(), [start.id, install.id]);
    assert!(interrupted.iter().all(|job| job.state == JobState::Interrupted && job.finished_at.is_some()));
    let again = panel.domain.claim_next(4).unwrap().unwrap();
    assert_eq!((again.retry_of, again.operation), (Some(start.id), Operation::Start), "before the stop");
    // And once more: the place is handed down.
    panel.domain.interrupt_jobs(&[]).unwrap();
    let third = panel.domain.claim_next(4).unwrap().unwrap();
    assert_eq!(third.retry_of, Some(again.id));
    panel.domain.finish_job(third.id, done(JobState::Succeeded)).unwrap();
    panel.run(stop.id, JobState::Succeeded);
    assert_eq!(panel.domain.claim_next(4).unwrap(), None, "the install is not run again");
    assert_eq!(desired(&panel, server.id), DesiredState::Stopped);
}

#[test]
fn an_adopted_install_goes_on() {
    let panel = Panel::new();
    let admin = panel.admin();
    let install = panel.domain.request_install(&admin).unwrap();
    panel.domain.claim_next(4).unwrap().unwrap();
    assert!(panel.domain.interrupt_jobs(&[install.id]).unwrap().is_empty());
    panel.domain.append_lines(install.id, lines(&panel, &["on"])).unwrap();
    panel.domain.finish_job(install.id, done(JobState::Succeeded)).unwrap();
}

#[test]
fn logs_are_kept_for_the_newest_fifty_jobs_and_for_thirty_days_whichever_is_more() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    let quiet = panel.server(&bob, "quiet", server.blueprint_id);
    let run = |id: ServerId| -> Job {
        let job = panel.domain.request(&bob, id, Operation::Start).unwrap();
        panel.domain.append_lines(job.id, lines(&panel, &["x", "y"])).unwrap();
        panel.run(job.id, JobState::Succeeded)
    };
    let day = 24 * 3600;
    let rare = run(quiet.id);
    let old: Vec<Job> = (0..20).map(|_| run(server.id)).collect();
    panel.pass(29 * day);
    let newer: Vec<Job> = (0..45).map(|_| run(server.id)).collect();
    assert_eq!(panel.domain.prune_logs().unwrap().jobs, 0, "younger than thirty days, however many");
    panel.pass(2 * day);
    let pruned = panel.domain.prune_logs().unwrap();
    assert_eq!((pruned.jobs, pruned.lines), (15, 30), "of 65 the newest 50 stay");
    let has_log = |job: &Job| !panel.domain.lines_after(&bob, job.id, 0, 10).unwrap().is_empty();
    assert!(old[..15].iter().all(|job| !has_log(job)) && old[15..].iter().all(has_log));
    assert!(newer.iter().all(has_log) && has_log(&rare), "a server's newest stay, however old");
    assert_eq!(panel.domain.job(&bob, old[0].id).unwrap().state, JobState::Succeeded, "jobs themselves stay");
    assert_eq!(panel.domain.prune_logs().unwrap().jobs, 0);
}

#[test]
fn cost_of_a_row_does_not_grow_with_the_history() {
    // Not a benchmark: a list that looked at ended jobs would be a hundred times slower here.
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    let time = || {
        let best = (0..20).map(|_| {
            let begun = std::time::Instant::now();
            panel.domain.list_servers(&bob, &Page::default()).unwrap();
            panel.domain.list_jobs(&bob, &JobFilter::default(), &Page::first(1)).unwrap();
            begun.elapsed()
        });
        best.min().unwrap()
    };
    panel.domain.request(&bob, server.id, Operation::Start).unwrap();
    let template = panel.run(panel.domain.active_jobs().unwrap()[0].id, JobState::Succeeded);
    let before = time();
    panel
        .domain
        .store()
        .write(|tx: &mut left4me::store::Tx| {
            use left4me::store::tables::{JOBS, JOBS_BY_SERVER, JOBS_BY_VIEWER};
            let ids = || (0..20_000).map(|number| JobId(template.id.0 + 1 + number));
            tx.put_all(&JOBS, ids().map(|id| (id, Job { id, ..template.clone() })))?;
            tx.put_all(&JOBS_BY_SERVER, ids().map(|id| ((server.id, id), ())))?;
            tx.put_all(&JOBS_BY_VIEWER, ids().map(|id| ((bob.user_id.unwrap(), id), ())))
        })
        .unwrap();
    let after = time();
    assert!(after < before * 10 + std::time::Duration::from_micros(500), "{before:?} {after:?}");
}
