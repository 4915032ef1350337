//! What the tests of the domain share: a store on a real file, a clock that is set by hand, and people.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use left4me::domain::audit::AuditFilter;
use left4me::domain::blueprints::NewBlueprint;
use left4me::domain::jobs::Outcome;
use left4me::domain::servers::NewServer;
use left4me::domain::{Domain, Page, Rules};
use left4me::live::Hub;
use left4me::model::id::{BlueprintId, JobId, LayerId, ServerId};
use left4me::model::job::{Job, JobState};
use left4me::model::port::{Listener, ListenerOwner, Listeners, PortRange, PortWish, Protocol};
use left4me::model::server::Server;
use left4me::model::time::Timestamp;
use left4me::model::user::Actor;
use left4me::store::Store;

/// A password that every rule accepts.
pub const PASSWORD: &str = "violet tramway 93";

/// A panel without a machine.
pub struct Panel {
    pub domain: Domain,
    pub folder: tempfile::TempDir,
    clock: Arc<AtomicI64>,
}

impl Panel {
    /// With the default rules.
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// With other rules.
    pub fn with(change: impl FnOnce(&mut Rules)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicI64::new(1_800_000_000_000));
        let mut rules = rules(folder.path());
        std::fs::create_dir(&rules.overlay_root).unwrap();
        change(&mut rules);
        let store = Store::open(&folder.path().join("left4me.redb"), Hub::new()).unwrap();
        let hands = clock.clone();
        let domain = Domain::with_clock(store, rules, move || Timestamp(hands.load(Ordering::SeqCst)));
        Self { domain, folder, clock }
    }

    pub fn now(&self) -> Timestamp {
        Timestamp(self.clock.load(Ordering::SeqCst))
    }

    pub fn pass(&self, seconds: i64) {
        self.clock.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    /// The admin `admin`.
    pub fn admin(&self) -> Actor {
        let (user, _) = self.domain.reset_admin("admin").unwrap();
        Actor { user_id: Some(user.id), name: user.username, admin: true, address: "192.0.2.1".into() }
    }

    /// A new user.
    pub fn user(&self, name: &str) -> Actor {
        let (_, user) = self.domain.sign_up("192.0.2.2", name, PASSWORD).unwrap();
        Actor { user_id: Some(user.id), name: user.username, admin: user.admin, address: "192.0.2.2".into() }
    }

    pub fn blueprint(&self, actor: &Actor, name: &str) -> BlueprintId {
        self.domain.create_blueprint(actor, NewBlueprint { name: name.into(), ..NewBlueprint::default() }).unwrap().id
    }

    /// A blueprint that turns SourceTV on.
    pub fn tv_blueprint(&self, actor: &Actor, name: &str) -> BlueprintId {
        let config = vec!["tv_enable 1".into()];
        let new = NewBlueprint { name: name.into(), config, ..NewBlueprint::default() };
        self.domain.create_blueprint(actor, new).unwrap().id
    }

    pub fn server(&self, actor: &Actor, name: &str, blueprint_id: BlueprintId) -> Server {
        let new = NewServer { name: name.into(), port: PortWish::Auto, blueprint_id };
        self.domain.create_server(actor, new, &nobody()).unwrap()
    }

    /// A user with a blueprint and a server.
    pub fn owner(&self, name: &str) -> (Actor, Server) {
        let actor = self.user(name);
        let blueprint = self.blueprint(&actor, "b");
        let server = self.server(&actor, "s", blueprint);
        (actor, server)
    }

    /// Game files, so that specs can be made.
    pub fn install(&self, actor: &Actor) {
        let job = self.domain.request_install(actor).unwrap();
        let layer: LayerId = self.domain.next_layer().unwrap();
        let base = self.domain.active_build().unwrap().map(|build| build.layers).unwrap_or_default();
        self.domain.publish_build(job.id, layer, &base, 1).unwrap();
        self.domain.cancel_job(actor, job.id).unwrap();
    }

    /// Claims the next job, which must be `id`, and ends it.
    pub fn run(&self, id: JobId, state: JobState) -> Job {
        let claimed = self.domain.claim_next(4).unwrap().expect("a job may begin");
        assert_eq!(claimed.id, id);
        self.domain.finish_job(id, Outcome { state, exit_code: Some(0), error: None }).unwrap()
    }

    pub fn ports(&self) -> Vec<u16> {
        self.domain.list_claims(&Actor::system()).unwrap().into_iter().map(|view| view.port).collect()
    }

    /// Actions of the audit log, oldest first.
    pub fn actions(&self) -> Vec<String> {
        let all = self.domain.list_audit(&Actor::system(), &AuditFilter::default(), &Page::first(500)).unwrap();
        all.items.into_iter().rev().map(|entry| entry.action).collect()
    }

    pub fn record(&self, id: ServerId) -> Server {
        self.domain.server_record(id).unwrap().expect("the server exists")
    }
}

/// The default rules, in a folder.
pub fn rules(folder: &Path) -> Rules {
    Rules {
        port_range: PortRange::default(),
        max_servers_per_user: 10,
        overlay_root: folder.join("overlays"),
        data_dir: folder.to_owned(),
        signup_open: true,
        log_line_max_chars: 4096,
        log_replay_limit: 2000,
    }
}

/// Nobody listens on the box.
pub fn nobody() -> Listeners {
    Listeners::default()
}

/// A stranger listens on a port.
pub fn stranger(port: u16, protocol: Protocol) -> Listeners {
    Listeners(vec![Listener {
        address: ([0, 0, 0, 0], port).into(),
        protocol,
        owner: ListenerOwner::Process { pid: 812, program: "ioq3ded".into() },
    }])
}

/// A range of ports.
pub fn range(first: u16, last: u16) -> PortRange {
    PortRange { first, last }
}
