//! Servers: making them, seeing them, and asking things of them. What changes about them is in `server_change`, what the
//! machine reports in `observed`.

use std::collections::HashMap;

use super::allocation::Allocator;
use super::audit::{note, object};
use super::blueprints::{fit_tv_port, usable};
use super::queue::{self, Asked};
use super::users::user_of;
use super::{Domain, Items, Page, Refusal, Result, acting_user, claims};
use crate::model::FieldError;
use crate::model::blueprint::Blueprint;
use crate::model::event::Event;
use crate::model::id::{BlueprintId, ReservationId, ServerId, UserId};
use crate::model::job::{Job, Operation};
use crate::model::name::parse_name;
use crate::model::port::{Listeners, PortWish};
use crate::model::server::{ActualState, DesiredState, Server};
use crate::model::time::Timestamp;
use crate::model::user::{Actor, User};
use crate::store::tables::{BLUEPRINTS, JOBS, JOBS_BY_SERVER, SERVER_NAMES, SERVERS, SERVERS_BY_BLUEPRINT, USERS};
use crate::store::{Read, Snapshot, Span, Tx};

/// Most servers of one batch.
const BATCH_MAX: u32 = 100;

/// A new server.
#[derive(Debug, Clone)]
pub struct NewServer {
    /// Unique per user.
    pub name: String,
    /// Which port.
    pub port: PortWish,
    /// What it follows.
    pub blueprint_id: BlueprintId,
}

/// Several new servers at once, all or none.
#[derive(Debug, Clone)]
pub struct NewBatch {
    /// How many.
    pub count: u32,
    /// Names are `<prefix> 1` to `<prefix> N`.
    pub name_prefix: String,
    /// What they follow.
    pub blueprint_id: BlueprintId,
    /// The reservation whose ports are used; what is not used is released.
    pub reservation_id: Option<ReservationId>,
}

/// What changes about a server; `None`: nothing.
#[derive(Debug, Clone, Default)]
pub struct ServerChange {
    /// New name.
    pub name: Option<String>,
    /// New port; automatic keeps the one it has.
    pub port: Option<PortWish>,
    /// New blueprint.
    pub blueprint_id: Option<BlueprintId>,
}

/// A server as pages show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerView {
    /// The server.
    pub server: Server,
    /// Name of its owner.
    pub owner: String,
    /// Name of its blueprint.
    pub blueprint_name: String,
    /// The one word that pages show.
    pub display_state: &'static str,
    /// Whether what is and what should be differ.
    pub drift: bool,
    /// Its queued and running jobs, in their order.
    pub active: Vec<Job>,
    /// Its newest job.
    pub last_job: Option<Job>,
}

impl Domain {
    /// Adds a server of the actor's, with its port.
    pub fn create_server(&self, actor: &Actor, new: NewServer, listeners: &Listeners) -> Result<Server> {
        let owner = acting_user(actor)?;
        let name = parse_name(&new.name)?;
        let now = self.now();
        self.allocating(actor, listeners, |tx, ports| {
            let owner = user_of(tx, owner)?;
            let blueprint = usable(tx, actor, new.blueprint_id)?;
            self.check_quota(tx, &owner, 1)?;
            let server = insert(tx, ports, now, &owner, &name, new.port, &blueprint)?;
            note(tx, now, actor, "server.create", &object("server", server.id, &server.name))?;
            Ok(server)
        })
    }

    /// Adds several servers of the actor's with automatic ports, all or none. A reservation is used up: its ports first,
    /// then the range; what is left of it is released.
    pub fn create_batch(&self, actor: &Actor, new: NewBatch, listeners: &Listeners) -> Result<Vec<ServerId>> {
        let owner = acting_user(actor)?;
        if new.count == 0 || new.count > BATCH_MAX {
            return Err(FieldError::new("count", format!("must be from 1 to {BATCH_MAX}")).into());
        }
        let named = |error: FieldError| FieldError::new("name_prefix", error.message);
        let prefix = parse_name(&new.name_prefix).map_err(named)?;
        let names = (1..=new.count)
            .map(|number| parse_name(&format!("{prefix} {number}")).map_err(named))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let now = self.now();
        self.allocating(actor, listeners, |tx, ports| {
            let owner = user_of(tx, owner)?;
            let blueprint = usable(tx, actor, new.blueprint_id)?;
            self.check_quota(tx, &owner, new.count)?;
            if let Some(id) = new.reservation_id {
                let reservation = claims::reservation_of(tx, id)?;
                if !actor.admin && reservation.user_id != actor.user_id {
                    return Err(Refusal::NotFound("reservation"));
                }
                if claims::is_expired(&reservation, now) {
                    return Err(Refusal::Conflict(format!(
                        "the reservation \"{}\" has expired: reserve again, or leave it out",
                        reservation.label
                    )));
                }
                ports.draw_from(claims::ports_of_reservation(tx, id)?);
            }
            let mut ids = Vec::new();
            for name in &names {
                let server = insert(tx, ports, now, &owner, name, PortWish::Auto, &blueprint)?;
                note(tx, now, actor, "server.create", &object("server", server.id, &server.name))?;
                ids.push(server.id);
            }
            if let Some(id) = new.reservation_id {
                claims::release_reservation(tx, id)?;
            }
            Ok(ids)
        })
    }

    /// The actor's servers, by name; for admins everybody's, by owner and name.
    pub fn list_servers(&self, actor: &Actor, page: &Page) -> Result<Items<ServerView>> {
        let read = self.read()?;
        let Some(span) = own_names(actor) else { return Ok(Items { items: Vec::new(), next: None }) };
        let mut active: HashMap<ServerId, Vec<Job>> = HashMap::new();
        for (_, job) in queue::active(&read)? {
            if let Some(server) = job.server_id {
                active.entry(server).or_default().push(job);
            }
        }
        let (mut found, mut names) = (Vec::new(), Names::of(&read));
        for (key, id) in read.list(&SERVER_NAMES, &page.narrow(span)?.limit(page.size() + 1))? {
            found.push((key, view(&mut names, server_of(&read, id)?, active.remove(&id).unwrap_or_default())?));
        }
        Ok(page.cut(found))
    }

    /// Names of the actor's servers, in the order of [`Self::list_servers`], at most so many.
    pub fn server_names(&self, actor: &Actor, most: usize) -> Result<Vec<(ServerId, String)>> {
        let Some(span) = own_names(actor) else { return Ok(Vec::new()) };
        let names = self.read()?.list(&SERVER_NAMES, &span.limit(most))?;
        Ok(names.into_iter().map(|((_, name), id)| (id, name)).collect())
    }

    /// Whether the actor may see a server; else why not.
    pub fn may_see_server(&self, actor: &Actor, id: ServerId) -> Result<()> {
        visible(&self.read()?, actor, id).map(drop)
    }

    /// One server.
    pub fn server(&self, actor: &Actor, id: ServerId) -> Result<ServerView> {
        let read = self.read()?;
        let server = visible(&read, actor, id)?;
        view_now(&read, server)
    }

    /// Asks for an operation on a server and answers with its job: a new one, or the newest queued one where that is the
    /// same (contract §2). Deleting cancels what is queued.
    pub fn request(&self, actor: &Actor, id: ServerId, operation: Operation) -> Result<Job> {
        let now = self.now();
        self.write(|tx| {
            let mut server = visible(tx, actor, id)?;
            match operation {
                Operation::Install => return Err(Refusal::Invalid("install is for the box, not for a server".into())),
                Operation::Initialize | Operation::Start | Operation::Stop | Operation::Restart if server.deleting => {
                    return Err(Refusal::BeingDeleted);
                }
                Operation::Initialize
                    if matches!(server.actual_state, ActualState::Running | ActualState::Starting) =>
                {
                    return Err(Refusal::Conflict(
                        "the server is running: stop it before it is initialized, or restart it".into(),
                    ));
                }
                Operation::Initialize | Operation::Start | Operation::Stop | Operation::Restart => {}
                Operation::Delete => {
                    if let Some(job) = queue::newest_queued(tx, Some(id), Operation::Delete)? {
                        return Ok(job);
                    }
                    if server.deleting {
                        return Err(Refusal::BeingDeleted);
                    }
                    queue::cancel_queued_of(tx, now, &mut server)?;
                }
            }
            let asked = Asked { actor, operation, server: Some(&mut server) };
            let (job, is_new) = queue::ask(tx, now, asked)?;
            if is_new {
                let action = format!("server.{}", operation.word());
                note(tx, now, actor, &action, &object("server", id, &server.name))?;
            }
            Ok(job)
        })
    }

    /// Refuses when `owner` would have more servers than one user may.
    fn check_quota(&self, tx: &Tx, owner: &User, more: u32) -> Result<()> {
        if owner.admin {
            return Ok(());
        }
        let max = self.settings_in(tx)?.max_servers_per_user;
        let have = tx.count(&SERVER_NAMES, &Span::under(&owner.id))?;
        if have + more as usize > max as usize { Err(Refusal::Quota { max }) } else { Ok(()) }
    }
}

/// Where the names of the servers stand that the actor may see; `None`: there are none.
fn own_names(actor: &Actor) -> Option<Span> {
    match (actor.admin, actor.user_id) {
        (true, _) => Some(Span::all()),
        (false, Some(user)) => Some(Span::under(&user)),
        (false, None) => None,
    }
}

/// A server by id.
pub(super) fn server_of(read: &impl Read, id: ServerId) -> Result<Server> {
    read.get(&SERVERS, &id)?.ok_or(Refusal::NotFound("server"))
}

/// A server that the actor may see and operate.
pub(super) fn visible(read: &impl Read, actor: &Actor, id: ServerId) -> Result<Server> {
    let server = server_of(read, id)?;
    if actor.may_touch(server.user_id) {
        Ok(server)
    } else {
        Err(Refusal::Forbidden("this server belongs to another user".into()))
    }
}

/// A server as pages show it, with its active jobs.
pub(super) fn view_now(read: &Snapshot, server: Server) -> Result<ServerView> {
    let active = queue::active(read)?.into_iter().map(|(_, job)| job);
    let active = active.filter(|job| job.server_id == Some(server.id)).collect();
    view(&mut Names::of(read), server, active)
}

/// Names that many servers share, each looked up once.
struct Names<'a> {
    read: &'a Snapshot,
    owners: HashMap<UserId, String>,
    blueprints: HashMap<BlueprintId, String>,
}

impl<'a> Names<'a> {
    fn of(read: &'a Snapshot) -> Self {
        Self { read, owners: HashMap::new(), blueprints: HashMap::new() }
    }

    fn owner(&mut self, id: UserId) -> Result<String> {
        if let Some(name) = self.owners.get(&id) {
            return Ok(name.clone());
        }
        let name = self.read.get(&USERS, &id)?.map(|user| user.username).unwrap_or_default();
        self.owners.insert(id, name.clone());
        Ok(name)
    }

    fn blueprint(&mut self, id: BlueprintId) -> Result<String> {
        if let Some(name) = self.blueprints.get(&id) {
            return Ok(name.clone());
        }
        let name = self.read.get(&BLUEPRINTS, &id)?.map(|blueprint| blueprint.name).unwrap_or_default();
        self.blueprints.insert(id, name.clone());
        Ok(name)
    }
}

fn view(names: &mut Names<'_>, server: Server, active: Vec<Job>) -> Result<ServerView> {
    let owner = names.owner(server.user_id)?;
    let blueprint_name = names.blueprint(server.blueprint_id)?;
    let read = names.read;
    let newest = read.keys(&JOBS_BY_SERVER, &Span::under(&server.id).backwards().limit(1))?.pop();
    let last_job = match newest {
        Some((_, job)) => read.get(&JOBS, &job)?,
        None => None,
    };
    Ok(ServerView {
        display_state: server.display_state(&active),
        drift: server.drift(&active),
        server,
        owner,
        blueprint_name,
        active,
        last_job,
    })
}

/// Refuses a name that another server of the owner has.
pub(super) fn claim_name(tx: &Tx, server: &Server, name: &str) -> Result<()> {
    if tx.has(&SERVER_NAMES, &(server.user_id, name.to_owned()))? { Err(Refusal::NameTaken) } else { Ok(()) }
}

fn insert(
    tx: &mut Tx,
    ports: &mut Allocator<'_>,
    now: Timestamp,
    owner: &User,
    name: &str,
    wish: PortWish,
    blueprint: &Blueprint,
) -> Result<Server> {
    let key = (owner.id, name.to_owned());
    if tx.has(&SERVER_NAMES, &key)? {
        return Err(Refusal::NameTaken);
    }
    let id = ServerId(tx.next_number("server")?);
    let port = ports.game(tx, id, wish)?;
    let server = Server {
        id,
        user_id: owner.id,
        name: name.to_owned(),
        port,
        tv_port: None,
        blueprint_id: blueprint.id,
        desired_state: DesiredState::Stopped,
        actual_state: ActualState::Unknown,
        last_error: None,
        deleting: false,
        created_at: now,
        updated_at: now,
        started_at: None,
    };
    tx.put(&SERVERS, &id, &server)?;
    tx.put(&SERVER_NAMES, &key, &id)?;
    tx.put(&SERVERS_BY_BLUEPRINT, &(blueprint.id, id), &())?;
    tx.note(Event::Server(id));
    fit_tv_port(tx, ports, now, server, blueprint)
}
