//! Blueprints: what servers follow. Private to their user; admins may all.

use super::allocation::Allocator;
use super::audit::{note, object};
use super::claims;
use super::users::user_of;
use super::{Domain, Items, Page, Refusal, Result, acting_user};
use crate::model::FieldError;
use crate::model::blueprint::{Blueprint, OVERLAYS_MAX, check_config, split_arguments, wants_tv};
use crate::model::event::Event;
use crate::model::id::{BlueprintId, OverlayId, UserId};
use crate::model::name::{NAME_MAX, parse_name};
use crate::model::port::Listeners;
use crate::model::server::Server;
use crate::model::time::Timestamp;
use crate::model::user::Actor;
use crate::store::tables::{
    BLUEPRINT_NAMES, BLUEPRINTS, BLUEPRINTS_BY_OVERLAY, OVERLAYS, SERVERS, SERVERS_BY_BLUEPRINT,
};
use crate::store::{Read, Span, Tx};

/// A new blueprint.
#[derive(Debug, Clone, Default)]
pub struct NewBlueprint {
    /// Unique per user.
    pub name: String,
    /// Argument lines.
    pub arguments: Vec<String>,
    /// Lines of `server.cfg`.
    pub config: Vec<String>,
    /// Overlays, highest first.
    pub overlay_ids: Vec<OverlayId>,
}

/// What changes about a blueprint; `None`: nothing.
#[derive(Debug, Clone, Default)]
pub struct BlueprintChange {
    /// New name.
    pub name: Option<String>,
    /// New argument lines.
    pub arguments: Option<Vec<String>>,
    /// New config lines.
    pub config: Option<Vec<String>>,
    /// New overlays, highest first.
    pub overlay_ids: Option<Vec<OverlayId>>,
}

impl Domain {
    /// Adds a blueprint of the actor's.
    pub fn create_blueprint(&self, actor: &Actor, new: NewBlueprint) -> Result<Blueprint> {
        let owner = acting_user(actor)?;
        let name = parse_name(&new.name)?;
        split_arguments(&new.arguments, actor.admin)?;
        check_config(&new.config)?;
        let now = self.now();
        self.write(|tx| insert(tx, now, actor, owner, name, new))
    }

    /// The actor's blueprints, by name; for admins everybody's, by owner and name.
    pub fn list_blueprints(&self, actor: &Actor, page: &Page) -> Result<Items<Blueprint>> {
        let read = self.read()?;
        let span = match (actor.admin, actor.user_id) {
            (true, _) => Span::all(),
            (false, Some(user)) => Span::under(&user),
            (false, None) => return Ok(Items { items: Vec::new(), next: None }),
        };
        let mut found = Vec::new();
        for (key, id) in read.list(&BLUEPRINT_NAMES, &page.narrow(span)?.limit(page.size() + 1))? {
            found.push((key, blueprint_of(&read, id)?));
        }
        Ok(page.cut(found))
    }

    /// One blueprint.
    pub fn blueprint(&self, actor: &Actor, id: BlueprintId) -> Result<Blueprint> {
        visible(&self.read()?, actor, id)
    }

    /// Changes a blueprint; servers that follow it take it at their next action. Where it turns SourceTV on, each of them
    /// gets a port for it in the same transaction, or nothing changes.
    pub fn update_blueprint(
        &self,
        actor: &Actor,
        id: BlueprintId,
        change: BlueprintChange,
        listeners: &Listeners,
    ) -> Result<Blueprint> {
        let name = change.name.as_deref().map(parse_name).transpose()?;
        let now = self.now();
        self.allocating(actor, listeners, |tx, ports| {
            let old = visible(tx, actor, id)?;
            let mut new = Blueprint {
                name: name.unwrap_or_else(|| old.name.clone()),
                arguments: change.arguments.unwrap_or_else(|| old.arguments.clone()),
                config: change.config.unwrap_or_else(|| old.config.clone()),
                overlay_ids: change.overlay_ids.unwrap_or_else(|| old.overlay_ids.clone()),
                ..old.clone()
            };
            if new == old {
                return Ok(old);
            }
            // An admin may have allowed -insecure here: its owner may go on editing the rest.
            split_arguments(&new.arguments, actor.admin || split_arguments(&old.arguments, false).is_err())?;
            check_config(&new.config)?;
            if new.overlay_ids != old.overlay_ids {
                check_overlays(tx, &new.overlay_ids)?;
            }
            if new.name != old.name {
                claim_name(tx, new.user_id, &new.name)?;
                tx.remove(&BLUEPRINT_NAMES, &(old.user_id, old.name.clone()))?;
                tx.put(&BLUEPRINT_NAMES, &(new.user_id, new.name.clone()), &id)?;
            }
            for overlay in &old.overlay_ids {
                tx.remove(&BLUEPRINTS_BY_OVERLAY, &(*overlay, id))?;
            }
            for overlay in &new.overlay_ids {
                tx.put(&BLUEPRINTS_BY_OVERLAY, &(*overlay, id), &())?;
            }
            for server in servers_of(tx, id)? {
                fit_tv_port(tx, ports, now, server, &new)?;
            }
            new.updated_at = now;
            tx.put(&BLUEPRINTS, &id, &new)?;
            note(tx, now, actor, "blueprint.update", &object("blueprint", id, &new.name))?;
            Ok(new)
        })
    }

    /// Deletes a blueprint that no server follows.
    pub fn delete_blueprint(&self, actor: &Actor, id: BlueprintId) -> Result<()> {
        let now = self.now();
        self.write(|tx| {
            let blueprint = visible(tx, actor, id)?;
            let names: Vec<String> = servers_of(tx, id)?.into_iter().map(|server| server.name).collect();
            if !names.is_empty() {
                return Err(Refusal::InUse { what: "servers", names });
            }
            remove_blueprint(tx, id)?;
            note(tx, now, actor, "blueprint.delete", &object("blueprint", id, &blueprint.name))
        })
    }

    /// Copies a blueprint for the actor, under `name` or the first free `<name> copy`.
    pub fn duplicate_blueprint(&self, actor: &Actor, id: BlueprintId, name: Option<&str>) -> Result<Blueprint> {
        let owner = acting_user(actor)?;
        let name = name.map(parse_name).transpose()?;
        let now = self.now();
        self.write(|tx| {
            let from = visible(tx, actor, id)?;
            let name = match name {
                Some(name) => name,
                None => free_copy_name(tx, owner, &from.name)?,
            };
            let new = NewBlueprint {
                name: name.clone(),
                arguments: from.arguments,
                config: from.config,
                overlay_ids: from.overlay_ids,
            };
            insert(tx, now, actor, owner, name, new)
        })
    }

    /// Servers that follow a blueprint, oldest first.
    pub fn blueprint_servers(&self, actor: &Actor, id: BlueprintId) -> Result<Vec<Server>> {
        let read = self.read()?;
        visible(&read, actor, id)?;
        servers_of(&read, id)
    }
}

/// A blueprint by id.
pub(super) fn blueprint_of(read: &impl Read, id: BlueprintId) -> Result<Blueprint> {
    read.get(&BLUEPRINTS, &id)?.ok_or(Refusal::NotFound("blueprint"))
}

/// A blueprint that the actor names as its own object: foreign is 403.
fn visible(read: &impl Read, actor: &Actor, id: BlueprintId) -> Result<Blueprint> {
    let blueprint = blueprint_of(read, id)?;
    if actor.may_touch(blueprint.user_id) {
        Ok(blueprint)
    } else {
        Err(Refusal::Forbidden("this blueprint belongs to another user".into()))
    }
}

/// A blueprint that the actor names in the body of a request: foreign is as good as unknown (contract §9).
pub(super) fn usable(read: &impl Read, actor: &Actor, id: BlueprintId) -> Result<Blueprint> {
    let blueprint = blueprint_of(read, id)?;
    if actor.may_touch(blueprint.user_id) { Ok(blueprint) } else { Err(Refusal::NotFound("blueprint")) }
}

/// Removes a blueprint and what points to it.
pub(super) fn remove_blueprint(tx: &mut Tx, id: BlueprintId) -> Result<()> {
    let Some(blueprint) = tx.get(&BLUEPRINTS, &id)? else { return Ok(()) };
    for overlay in &blueprint.overlay_ids {
        tx.remove(&BLUEPRINTS_BY_OVERLAY, &(*overlay, id))?;
    }
    tx.remove(&BLUEPRINT_NAMES, &(blueprint.user_id, blueprint.name))?;
    Ok(tx.remove(&BLUEPRINTS, &id)?)
}

/// Gives a server the SourceTV port that its blueprint asks for, or takes it away. Writes the server when that changes it.
pub(super) fn fit_tv_port(
    tx: &mut Tx,
    ports: &mut Allocator<'_>,
    now: Timestamp,
    mut server: Server,
    blueprint: &Blueprint,
) -> Result<Server> {
    match (wants_tv(&blueprint.arguments, &blueprint.config), server.tv_port) {
        (true, None) => server.tv_port = Some(ports.tv(tx, server.id)?),
        (false, Some(port)) => {
            claims::leave(tx, &server, port)?;
            server.tv_port = None;
        }
        (true, Some(_)) | (false, None) => return Ok(server),
    }
    server.updated_at = now;
    tx.put(&SERVERS, &server.id, &server)?;
    tx.note(Event::Server(server.id));
    Ok(server)
}

fn insert(
    tx: &mut Tx,
    now: Timestamp,
    actor: &Actor,
    owner: UserId,
    name: String,
    new: NewBlueprint,
) -> Result<Blueprint> {
    user_of(tx, owner)?;
    check_overlays(tx, &new.overlay_ids)?;
    claim_name(tx, owner, &name)?;
    let id = BlueprintId(tx.next_number("blueprint")?);
    let blueprint = Blueprint {
        id,
        user_id: owner,
        name,
        arguments: new.arguments,
        config: new.config,
        overlay_ids: new.overlay_ids,
        created_at: now,
        updated_at: now,
    };
    tx.put(&BLUEPRINTS, &id, &blueprint)?;
    tx.put(&BLUEPRINT_NAMES, &(owner, blueprint.name.clone()), &id)?;
    for overlay in &blueprint.overlay_ids {
        tx.put(&BLUEPRINTS_BY_OVERLAY, &(*overlay, id), &())?;
    }
    note(tx, now, actor, "blueprint.create", &object("blueprint", id, &blueprint.name))?;
    Ok(blueprint)
}

fn check_overlays(read: &impl Read, ids: &[OverlayId]) -> Result<()> {
    let wrong = |message: String| Err(FieldError::new("overlay_ids", message).into());
    if ids.len() > OVERLAYS_MAX {
        return wrong(format!("has {} overlays; at most {OVERLAYS_MAX} are allowed", ids.len()));
    }
    for (index, id) in ids.iter().enumerate() {
        if ids[..index].contains(id) {
            return wrong(format!("overlay {id} is listed twice"));
        }
        if !read.has(&OVERLAYS, id)? {
            return wrong(format!("overlay {id} does not exist"));
        }
    }
    Ok(())
}

fn claim_name(read: &impl Read, owner: UserId, name: &str) -> Result<()> {
    if read.has(&BLUEPRINT_NAMES, &(owner, name.to_owned()))? { Err(Refusal::NameTaken) } else { Ok(()) }
}

fn free_copy_name(read: &impl Read, owner: UserId, name: &str) -> Result<String> {
    let mut number = 1u32;
    loop {
        let tail = if number == 1 { " copy".to_owned() } else { format!(" copy {number}") };
        let head: String = name.chars().take(NAME_MAX - tail.chars().count()).collect();
        let candidate = head + &tail;
        if !read.has(&BLUEPRINT_NAMES, &(owner, candidate.clone()))? {
            return Ok(candidate);
        }
        number += 1;
    }
}

fn servers_of(read: &impl Read, id: BlueprintId) -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    for (_, server) in read.keys(&SERVERS_BY_BLUEPRINT, &Span::under(&id))? {
        servers.extend(read.get(&SERVERS, &server)?);
    }
    Ok(servers)
}
