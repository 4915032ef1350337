//! Servers: names, owners, quota, batches, changes, specs, what is observed.

use left4me::domain::blueprints::{BlueprintChange, NewBlueprint};
use left4me::domain::overlays::NewOverlay;
use left4me::domain::servers::{NewBatch, NewServer, ServerChange};
use left4me::domain::{Page, Refusal};
use left4me::model::id::{BlueprintId, LayerId, ServerId};
use left4me::model::job::Operation;
use left4me::model::port::PortWish;
use left4me::model::server::{ActualState, DesiredState};

use crate::domain_kit::{Panel, nobody, range};

fn named(name: &str, blueprint_id: BlueprintId) -> NewServer {
    NewServer { name: name.into(), port: PortWish::Auto, blueprint_id }
}

fn rename(name: &str) -> ServerChange {
    ServerChange { name: Some(name.into()), ..ServerChange::default() }
}

#[test]
fn a_new_server_is_stopped_and_unknown_which_is_no_drift() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    let view = panel.domain.server(&bob, server.id).unwrap();
    assert_eq!((server.desired_state, server.actual_state), (DesiredState::Stopped, ActualState::Unknown));
    assert_eq!((view.display_state, view.drift), ("unknown", false));
    assert_eq!((view.owner.as_str(), view.blueprint_name.as_str()), ("bob", "b"));
    assert!(view.last_job.is_none() && view.active.is_empty());
}

#[test]
fn server_names_are_unique_per_user_and_stripped() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    panel.owner("eve");
    let again = panel.domain.create_server(&bob, named("  s ", server.blueprint_id), &nobody()).unwrap_err();
    assert_eq!(again.to_string(), "name already in use");
    let other = panel.server(&bob, "t", server.blueprint_id);
    assert!(matches!(panel.domain.update_server(&bob, other.id, rename("s"), &nobody()), Err(Refusal::NameTaken)));
    panel.domain.update_server(&bob, server.id, rename("u"), &nobody()).unwrap();
    panel.domain.update_server(&bob, other.id, rename("s"), &nobody()).unwrap();
}

#[test]
fn a_server_is_its_owners_and_the_admins() {
    let panel = Panel::new();
    let admin = panel.admin();
    let (_, server) = panel.owner("bob");
    let eve = panel.user("eve");
    assert!(matches!(panel.domain.server(&eve, server.id), Err(Refusal::Forbidden(_))));
    assert!(matches!(panel.domain.request(&eve, server.id, Operation::Start), Err(Refusal::Forbidden(_))));
    assert!(matches!(panel.domain.update_server(&eve, server.id, rename("x"), &nobody()), Err(Refusal::Forbidden(_))));
    assert!(matches!(panel.domain.server(&eve, ServerId(99)), Err(Refusal::NotFound("server"))));
    assert!(panel.domain.list_servers(&eve, &Page::default()).unwrap().items.is_empty());
    assert_eq!(panel.domain.list_servers(&admin, &Page::default()).unwrap().items.len(), 1);
    panel.domain.request(&admin, server.id, Operation::Start).unwrap();
}

#[test]
fn an_unknown_or_foreign_blueprint_in_a_request_is_not_found() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    let eve = panel.user("eve");
    let foreign = panel.blueprint(&eve, "e");
    for id in [foreign, BlueprintId(99)] {
        let created = panel.domain.create_server(&bob, named("x", id), &nobody()).unwrap_err();
        assert_eq!(created.to_string(), "blueprint not found");
        let change = ServerChange { blueprint_id: Some(id), ..ServerChange::default() };
        let moved = panel.domain.update_server(&bob, server.id, change, &nobody()).unwrap_err();
        assert_eq!(moved.to_string(), "blueprint not found");
    }
}

#[test]
fn the_quota_counts_servers_and_admins_have_none() {
    let panel = Panel::with(|rules| rules.max_servers_per_user = 2);
    let (bob, server) = panel.owner("bob");
    panel.server(&bob, "two", server.blueprint_id);
    let third = panel.domain.create_server(&bob, named("three", server.blueprint_id), &nobody());
    assert!(matches!(third, Err(Refusal::Quota { max: 2 })));
    panel.domain.finish_delete(server.id).unwrap();
    panel.server(&bob, "three", server.blueprint_id);
    let admin = panel.admin();
    let blueprint = panel.blueprint(&admin, "a");
    for name in ["1", "2", "3"] {
        panel.server(&admin, name, blueprint);
    }
}

#[test]
fn a_batch_is_all_or_nothing() {
    let panel = Panel::with(|rules| rules.port_range = range(27015, 27019));
    let bob = panel.user("bob");
    let blueprint_id = panel.blueprint(&bob, "b");
    let batch = |count| NewBatch { count, name_prefix: "Match".into(), blueprint_id, reservation_id: None };
    assert!(matches!(panel.domain.create_batch(&bob, batch(6), &nobody()), Err(Refusal::PortsExhausted(_))));
    assert!(panel.domain.all_servers().unwrap().is_empty());
    assert!(panel.ports().is_empty());
    assert!(matches!(panel.domain.create_batch(&bob, batch(11), &nobody()), Err(Refusal::Quota { .. })));
    assert!(
        matches!(panel.domain.create_batch(&bob, batch(0), &nobody()), Err(Refusal::Field(e)) if e.field == "count")
    );
    let ids = panel.domain.create_batch(&bob, batch(3), &nobody()).unwrap();
    let names: Vec<String> = ids.iter().map(|id| panel.record(*id).name).collect();
    assert_eq!(names, ["Match 1", "Match 2", "Match 3"]);
    assert_eq!(panel.ports(), [27015, 27016, 27017]);
    assert!(matches!(panel.domain.create_batch(&bob, batch(1), &nobody()), Err(Refusal::NameTaken)));
    assert_eq!(panel.domain.all_servers().unwrap().len(), 3);
}

#[test]
fn ids_are_never_used_again() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    panel.domain.finish_delete(server.id).unwrap();
    let next = panel.server(&bob, "s", server.blueprint_id);
    assert!(next.id > server.id);
}

#[test]
fn a_patch_to_what_it_is_changes_nothing_and_keeps_the_claim() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    panel.pass(10);
    for port in [PortWish::Auto, PortWish::Exactly(server.port)] {
        let change = ServerChange { name: Some("s".into()), port: Some(port), blueprint_id: Some(server.blueprint_id) };
        assert_eq!(panel.domain.update_server(&bob, server.id, change, &nobody()).unwrap().server, server);
    }
    assert_eq!(panel.ports(), [server.port]);
}

#[test]
fn a_spec_holds_the_latest_blueprint_the_active_build_and_the_ports() {
    let panel = Panel::new();
    let admin = panel.admin();
    let new = NewOverlay { name: "maps".into(), path: Some("maps".into()) };
    let maps = panel.domain.create_overlay(&admin, new).unwrap();
    let empty = panel.domain.create_overlay(&admin, NewOverlay { name: "m".into(), path: None }).unwrap();
    let bob = panel.user("bob");
    let new = NewBlueprint {
        name: "b".into(),
        arguments: vec!["+map 'c1m1 hotel'".into()],
        config: vec!["tv_enable 1".into(), "sv_cheats 0".into()],
        overlay_ids: vec![maps.id],
    };
    let blueprint = panel.domain.create_blueprint(&bob, new).unwrap();
    let server = panel.server(&bob, "My \"best\"; one", blueprint.id);
    assert!(matches!(panel.domain.spec(server.id), Err(Refusal::Conflict(text)) if text.contains("no game files")));
    panel.install(&admin);
    panel.install(&admin);
    let spec = panel.domain.spec(server.id).unwrap();
    assert_eq!(spec.game, [LayerId(2), LayerId(1)], "newest first");
    assert_eq!((spec.port, spec.tv_port), (27015, Some(27016)));
    assert_eq!(spec.arguments, ["+map", "c1m1 hotel"]);
    assert_eq!(spec.config, ["hostname \"My best one\"", "tv_enable 1", "sv_cheats 0"]);
    assert!(spec.overlays[0].path.as_ref().unwrap().ends_with("/overlays/maps"));
    let change = BlueprintChange { overlay_ids: Some(vec![empty.id]), ..BlueprintChange::default() };
    panel.domain.update_blueprint(&bob, blueprint.id, change, &nobody()).unwrap();
    assert!(matches!(panel.domain.spec(server.id), Err(Refusal::Conflict(text)) if text.contains("no files yet")));
}

#[test]
fn a_build_stands_on_the_layers_over_which_it_was_filled_and_a_job_publishes_once() {
    let panel = Panel::new();
    let admin = panel.admin();
    panel.install(&admin);
    panel.install(&admin);
    let job = panel.domain.request_install(&admin).unwrap();
    let layer = panel.domain.next_layer().unwrap();
    // While SteamCMD works over layers 2 and 1, an admin goes back to the build that is layer 1 alone.
    let first = panel.domain.list_builds(&admin).unwrap()[1].build.id;
    panel.domain.activate_build(&admin, first).unwrap();
    let base = [LayerId(2), LayerId(1)];
    let build = panel.domain.publish_build(job.id, layer, &base, 1).unwrap();
    assert_eq!(build.layers, [3, 2, 1].map(LayerId));
    assert_eq!(panel.domain.publish_build(job.id, layer, &base, 1).unwrap(), build, "again, after a crash");
    assert_eq!(panel.domain.list_builds(&admin).unwrap().len(), 3);
    assert_eq!(panel.domain.build_of_job(job.id).unwrap(), Some(build));
}

#[test]
fn going_back_to_an_earlier_build_is_for_admins_and_takes_effect_in_specs() {
    let panel = Panel::new();
    let admin = panel.admin();
    let (bob, server) = panel.owner("bob");
    panel.install(&admin);
    panel.install(&admin);
    let builds = panel.domain.list_builds(&admin).unwrap();
    assert_eq!(builds.iter().map(|view| view.active).collect::<Vec<_>>(), [true, false]);
    assert!(matches!(panel.domain.activate_build(&bob, builds[1].build.id), Err(Refusal::Forbidden(_))));
    panel.domain.activate_build(&admin, builds[1].build.id).unwrap();
    assert_eq!(panel.domain.spec(server.id).unwrap().game, [LayerId(1)]);
    panel.install(&admin);
    panel.install(&admin);
    panel.domain.activate_build(&admin, builds[1].build.id).unwrap();
    let used: Vec<LayerId> = panel.domain.retire_builds(1).unwrap().into_iter().collect();
    let left: Vec<_> = panel.domain.list_builds(&admin).unwrap().iter().map(|view| view.build.id.0).collect();
    assert_eq!(left, [4, 1], "the newest and the active one stay");
    assert_eq!(used, [1, 3, 4].map(LayerId), "the newest stands on a layer of one that is gone");
    assert_eq!(panel.domain.next_layer().unwrap(), LayerId(5), "layers are not numbered again");
}

#[test]
fn observing_what_is_known_writes_nothing() {
    let panel = Panel::new();
    let (_, server) = panel.owner("bob");
    panel.domain.observe(server.id, ActualState::Running, None).unwrap();
    let record = panel.record(server.id);
    assert_eq!((record.actual_state, record.started_at), (ActualState::Running, Some(panel.now())));
    let mut events = panel.domain.hub().listen();
    panel.domain.observe(server.id, ActualState::Running, None).unwrap();
    panel.domain.observe(ServerId(99), ActualState::Running, None).unwrap();
    assert!(events.try_recv().is_err());
    panel.domain.observe(server.id, ActualState::Failed, Some("five crashes".into())).unwrap();
    let record = panel.record(server.id);
    assert_eq!((record.last_error.as_deref(), record.started_at), (Some("five crashes"), None));
    assert!(events.try_recv().is_ok());
}

#[test]
fn servers_are_listed_by_name_in_pages_with_what_their_rows_show() {
    let panel = Panel::new();
    let (bob, first) = panel.owner("bob");
    for name in ["c", "a", "b"] {
        panel.server(&bob, name, first.blueprint_id);
    }
    let job = panel.domain.request(&bob, first.id, Operation::Start).unwrap();
    let part = panel.domain.list_servers(&bob, &Page::first(3)).unwrap();
    assert_eq!(part.items.iter().map(|view| view.server.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    let rest = panel.domain.list_servers(&bob, &Page { cursor: part.next, limit: 3 }).unwrap();
    assert_eq!(rest.next, None);
    let row = &rest.items[0];
    assert_eq!((row.display_state, row.last_job.as_ref().map(|job| job.id)), ("starting", Some(job.id)));
    assert_eq!(row.active, [job]);
}

#[test]
fn a_server_that_is_gone_keeps_its_jobs_with_its_name() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    let job = panel.domain.request(&bob, server.id, Operation::Delete).unwrap();
    panel.domain.claim_next(1).unwrap().unwrap();
    panel.domain.finish_delete(server.id).unwrap();
    panel.domain.finish_delete(server.id).unwrap();
    let outcome = left4me::domain::jobs::Outcome {
        state: left4me::model::job::JobState::Succeeded,
        exit_code: Some(0),
        error: None,
    };
    panel.domain.finish_job(job.id, outcome).unwrap();
    assert_eq!(panel.domain.job(&bob, job.id).unwrap().server_name.as_deref(), Some("s"));
    assert!(panel.domain.server_record(server.id).unwrap().is_none());
    assert!(panel.ports().is_empty());
    panel.server(&bob, "s", server.blueprint_id);
}
