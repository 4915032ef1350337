//! Stores as they are after years: filled through the domain and the store while no daemon runs, in large transactions.

use std::path::Path;

use left4me::domain::blueprints::NewBlueprint;
use left4me::domain::servers::NewBatch;
use left4me::domain::{Domain, Rules};
use left4me::live::Hub;
use left4me::model::id::{BlueprintId, JobId, ServerId, UserId};
use left4me::model::job::{Job, JobLine, JobState, Operation, Stream};
use left4me::model::port::{Listeners, PortRange};
use left4me::model::time::Timestamp;
use left4me::model::user::Actor;
use left4me::store::Store;
use left4me::store::tables::{JOB_LINES, JOBS, JOBS_BY_SERVER, JOBS_BY_VIEWER, LOGGED_JOBS};

use crate::support::panel::Panel;

/// A password that every rule accepts.
const PASSWORD: &str = "violet tramway 93";
/// Servers that one transaction makes.
const BATCH: usize = 100;
/// Lines that one transaction writes.
const LINES_AT_ONCE: u64 = 100_000;
/// Jobs are spread over so many seconds before now: less than the time for which their logs are kept.
const SPREAD: i64 = 25 * 24 * 3600;

/// The store of a panel whose daemon does not run.
pub struct Filled {
    domain: Domain,
    admin: Actor,
}

/// Ends the daemon, lets `fill` work on its store, and starts it again.
pub fn filled<T>(panel: &mut Panel, ports: (u16, u16), fill: impl FnOnce(&Filled) -> T) -> T {
    panel.terminate();
    let outcome = fill(&Filled::open(&panel.data(""), ports));
    panel.start_again();
    outcome
}

impl Filled {
    fn open(data: &Path, ports: (u16, u16)) -> Self {
        let store = Store::open(&data.join("left4me.redb"), Hub::new()).expect("a store");
        let rules = Rules {
            port_range: PortRange { first: ports.0, last: ports.1 },
            max_servers_per_user: 10,
            overlay_root: data.join("overlays"),
            data_dir: data.to_owned(),
            signup_open: true,
            log_line_max_chars: 4096,
            log_replay_limit: 2000,
        };
        let admin = Actor { user_id: Some(UserId(1)), name: "admin".into(), admin: true, address: "local".into() };
        Self { domain: Domain::new(store, rules), admin }
    }

    /// A blueprint and so many servers of the admin's that follow it.
    pub fn servers(&self, count: usize) -> Vec<ServerId> {
        let new =
            NewBlueprint { name: "Versus".into(), arguments: vec!["+map c1m1_hotel".into()], ..Default::default() };
        let blueprint = self.domain.create_blueprint(&self.admin, new).expect("a blueprint").id;
        let mut servers = Vec::new();
        while servers.len() < count {
            servers.extend(self.batch(blueprint, servers.len() / BATCH, (count - servers.len()).min(BATCH)));
        }
        servers
    }

    fn batch(&self, blueprint_id: BlueprintId, number: usize, count: usize) -> Vec<ServerId> {
        let name_prefix = format!("Friday coop {number}");
        let new = NewBatch { count: count as u32, name_prefix, blueprint_id, reservation_id: None };
        self.domain.create_batch(&self.admin, new, &Listeners::default()).expect("servers")
    }

    /// Jobs that have ended, spread over the servers, each with so many lines of log.
    pub fn history(&self, servers: &[ServerId], jobs: u64, lines: u64) {
        let now = Timestamp::now();
        let owner = self.admin.user_id.expect("a user");
        let at_once = (LINES_AT_ONCE / lines).max(1);
        for first in (1..=jobs).step_by(at_once as usize) {
            let numbers = || first..=jobs.min(first + at_once - 1);
            let server = |number: u64| servers[number as usize % servers.len()];
            let at = |number: u64| now.plus_seconds((number as i64 - jobs as i64) * SPREAD / jobs as i64 - 60);
            let job = |number: u64| Job {
                server_id: Some(server(number)),
                owner_id: Some(owner),
                server_name: Some("Friday coop".into()),
                state: JobState::Succeeded,
                exit_code: Some(0),
                started_at: Some(at(number)),
                finished_at: Some(at(number).plus_seconds(2)),
                step: Some("launch".into()),
                last_seq: lines,
                ..Job::queued(JobId(number), Operation::Start, Some(owner), "admin".into(), at(number))
            };
            let line = |number: u64, seq: u64| {
                let text = format!("line {seq} of job {number}, which says what it does and then does it");
                ((JobId(number), seq), JobLine { at: at(number), stream: Stream::Stdout, text })
            };
            let written = self.domain.store().write(|tx| {
                tx.put_all(&JOBS, numbers().map(|number| (JobId(number), job(number))))?;
                tx.put_all(&JOBS_BY_SERVER, numbers().map(|number| ((server(number), JobId(number)), ())))?;
                tx.put_all(&JOBS_BY_VIEWER, numbers().map(|number| ((owner, JobId(number)), ())))?;
                tx.put_all(&LOGGED_JOBS, numbers().map(|number| (JobId(number), ())))?;
                tx.put_all(&JOB_LINES, numbers().flat_map(|number| (1..=lines).map(move |seq| line(number, seq))))?;
                tx.never_again("job", jobs)
            });
            let written: Result<(), left4me::store::StoreError> = written;
            written.expect("a history");
        }
    }

    /// More admins, each logged in: their cookies.
    pub fn admins(&self, count: usize) -> Vec<String> {
        let one = |number: usize| {
            let (name, address) = (format!("reader{number}"), format!("192.0.2.{number}"));
            let (token, _) = self.domain.sign_up(&address, &name, PASSWORD).expect("an account");
            self.domain.promote_admin(&Actor::system(), &name).expect("an admin");
            format!("left4me={}", token.0)
        };
        (1..=count).map(one).collect()
    }
}
