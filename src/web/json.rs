//! Objects as programs read them: the snake_case names of contract §1, times in RFC 3339.
//!
//! Written by hand, not derived: what leaves the box is decided here, so that a new field of a record (a digest, a
//! secret) never leaves by itself.

use serde_json::{Value, json};

use crate::domain::overlays::OverlayView;
use crate::domain::servers::ServerView;
use crate::model::audit::AuditEntry;
use crate::model::blueprint::{Blueprint, config_warnings};
use crate::model::job::Job;
use crate::model::overlay::{Overlay, OverlaySource, Revision};
use crate::model::pace::Pace;
use crate::model::time::Timestamp;
use crate::model::user::{ApiToken, User};

fn time(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| at.to_string().into())
}

/// A server as its page shows it.
pub fn server(view: &ServerView) -> Value {
    let server = &view.server;
    json!({
        "id": server.id, "name": server.name, "port": server.port, "tv_port": server.tv_port,
        "user_id": server.user_id, "owner": view.owner,
        "blueprint_id": server.blueprint_id, "blueprint_name": view.blueprint_name,
        "desired_state": server.desired_state.word(), "actual_state": server.actual_state.word(),
        "display_state": view.display_state, "drift": view.drift, "last_error": server.last_error,
        "created_at": server.created_at.to_string(), "updated_at": server.updated_at.to_string(),
        "started_at": time(server.started_at),
        "active_jobs": view.active.iter().map(|job| job.id).collect::<Vec<_>>(),
        "last_job": view.last_job.as_ref().map(job),
    })
}

/// A job.
pub fn job(job: &Job) -> Value {
    json!({
        "id": job.id, "user_id": job.user_id, "username": job.username,
        "server_id": job.server_id, "server_name": job.server_name,
        "operation": job.operation.word(), "state": job.state.word(),
        "exit_code": job.exit_code, "error": job.error,
        "created_at": job.created_at.to_string(), "started_at": time(job.started_at), "finished_at": time(job.finished_at),
        "retry_of": job.retry_of, "step": job.step, "progress": job.progress,
        "cancel_requested": job.cancel_requested, "last_seq": job.last_seq,
    })
}

/// How far a job is, and how fast it moves where that is known; `None`: it tells no progress.
pub fn progress(job: &Job, pace: Option<Pace>) -> Option<Value> {
    let progress = job.progress.as_ref()?;
    Some(json!({
        "phase": progress.phase, "done": progress.done, "total": progress.total,
        "bytes_per_second": pace.map(|pace| pace.bytes_per_second), "seconds_left": pace.and_then(|pace| pace.seconds_left),
    }))
}

/// A blueprint, with what may go wrong although it was accepted.
pub fn blueprint(blueprint: &Blueprint) -> Value {
    json!({
        "id": blueprint.id, "user_id": blueprint.user_id, "name": blueprint.name,
        "arguments": blueprint.arguments, "config": blueprint.config, "overlay_ids": blueprint.overlay_ids,
        "warnings": config_warnings(&blueprint.config),
        "created_at": blueprint.created_at.to_string(), "updated_at": blueprint.updated_at.to_string(),
    })
}

/// An overlay.
pub fn overlay(overlay: &Overlay) -> Value {
    let (kind, path, revision) = match &overlay.source {
        OverlaySource::Path(path) => ("path", Some(path), None),
        OverlaySource::Managed(revision) => ("managed", None, *revision),
    };
    json!({
        "id": overlay.id, "name": overlay.name, "kind": kind, "path": path, "revision": revision,
        "created_at": overlay.created_at.to_string(), "updated_at": overlay.updated_at.to_string(),
    })
}

/// An overlay with who uses it.
pub fn overlay_view(view: &OverlayView) -> Value {
    let mut value = overlay(&view.overlay);
    value["missing"] = view.missing.into();
    value["used_by"] = view.used_by.iter().map(|(id, name)| json!({ "blueprint_id": id, "name": name })).collect();
    value
}

/// A revision of a managed overlay.
pub fn revision(revision: &Revision) -> Value {
    json!({
        "number": revision.number, "created_at": revision.created_at.to_string(), "created_by": revision.created_by,
        "upload_name": revision.upload_name, "files": revision.files, "bytes": revision.bytes,
        "warnings": revision.warnings,
    })
}

/// A user, without digest and secrets.
pub fn user(user: &User) -> Value {
    json!({
        "id": user.id, "username": user.username, "admin": user.admin, "disabled": user.disabled,
        "second_factor": user.second_factor.is_some(), "created_at": user.created_at.to_string(),
    })
}

/// A token, without its digest.
pub fn token(token: &ApiToken) -> Value {
    json!({
        "id": token.id, "label": token.label, "scope": token.scope,
        "created_at": token.created_at.to_string(), "expires_at": time(token.expires_at),
        "last_used_at": time(token.last_used_at),
    })
}

/// An audit entry.
pub fn audit(entry: &AuditEntry) -> Value {
    json!({
        "id": entry.id, "at": entry.at.to_string(), "actor_id": entry.actor_id, "actor": entry.actor,
        "address": entry.address, "action": entry.action, "object": entry.object,
    })
}
