//! Overlays, their revisions, and blueprints.

use left4me::domain::blueprints::{BlueprintChange, NewBlueprint};
use left4me::domain::overlays::{NewOverlay, NewRevision, OverlayChange};
use left4me::domain::{Page, Refusal};
use left4me::model::id::{BlueprintId, OverlayId};
use left4me::model::overlay::OverlaySource;
use left4me::model::user::Actor;

use crate::domain_kit::{Panel, nobody};

fn overlay(panel: &Panel, actor: &Actor, name: &str) -> OverlayId {
    panel.domain.create_overlay(actor, NewOverlay { name: name.into(), path: Some(name.into()) }).unwrap().id
}

fn field(result: Result<impl Sized, Refusal>) -> &'static str {
    match result {
        Err(Refusal::Field(error)) => error.field,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was accepted"),
    }
}

fn with_overlays(name: &str, overlay_ids: &[OverlayId]) -> NewBlueprint {
    NewBlueprint { name: name.into(), overlay_ids: overlay_ids.to_vec(), ..NewBlueprint::default() }
}

#[test]
fn overlays_are_for_admins_and_everybody_may_choose_them() {
    let panel = Panel::new();
    let admin = panel.admin();
    let bob = panel.user("bob");
    let id = overlay(&panel, &admin, "maps");
    let forbidden = |result: Result<(), Refusal>| assert!(matches!(result, Err(Refusal::Forbidden(_))), "{result:?}");
    forbidden(panel.domain.create_overlay(&bob, NewOverlay { name: "x".into(), path: None }).map(|_| ()));
    forbidden(panel.domain.list_overlays(&bob, &Page::default()).map(|_| ()));
    forbidden(panel.domain.overlay(&bob, id).map(|_| ()));
    forbidden(panel.domain.update_overlay(&bob, id, OverlayChange::default()).map(|_| ()));
    forbidden(panel.domain.delete_overlay(&bob, id));
    forbidden(panel.domain.begin_revision(&bob, id).map(|_| ()));
    assert_eq!(panel.domain.overlay_choices(&bob).unwrap().len(), 1);
}

#[test]
fn a_path_overlay_outside_the_root_is_refused_and_one_that_is_not_there_yet_is_shown_as_missing() {
    let panel = Panel::new();
    let admin = panel.admin();
    for bad in ["/etc", "../..", "/"] {
        let new = NewOverlay { name: "x".into(), path: Some(bad.into()) };
        assert_eq!(field(panel.domain.create_overlay(&admin, new)), "path", "{bad}");
    }
    let id = overlay(&panel, &admin, "later");
    assert!(panel.domain.overlay(&admin, id).unwrap().missing);
    std::fs::create_dir(panel.folder.path().join("overlays/later")).unwrap();
    assert!(!panel.domain.overlay(&admin, id).unwrap().missing);
    assert_eq!(
        field(panel.domain.update_overlay(&admin, id, OverlayChange { path: Some("..".into()), name: None })),
        "path"
    );
    let moved = OverlayChange { path: Some("./elsewhere/../there".into()), name: Some(" maps ".into()) };
    let overlay = panel.domain.update_overlay(&admin, id, moved).unwrap();
    assert_eq!(overlay.name, "maps");
    assert!(matches!(&overlay.source, OverlaySource::Path(path) if path.ends_with("overlays/there")), "{overlay:?}");
}

#[test]
fn overlay_names_are_unique_on_the_box() {
    let panel = Panel::new();
    let admin = panel.admin();
    let a = overlay(&panel, &admin, "a");
    overlay(&panel, &admin, "b");
    let again = panel.domain.create_overlay(&admin, NewOverlay { name: " a ".into(), path: None });
    assert!(matches!(again, Err(Refusal::NameTaken)));
    let rename = |name: &str| OverlayChange { name: Some(name.into()), path: None };
    assert!(matches!(panel.domain.update_overlay(&admin, a, rename("b")), Err(Refusal::NameTaken)));
    let before = panel.actions().len();
    panel.domain.update_overlay(&admin, a, rename("a")).unwrap();
    assert_eq!(panel.actions().len(), before, "a change to what is there changes nothing");
    panel.domain.update_overlay(&admin, a, rename("c")).unwrap();
    overlay(&panel, &admin, "a");
}

#[test]
fn an_overlay_in_use_is_not_deleted_and_the_blueprints_are_named() {
    let panel = Panel::new();
    let admin = panel.admin();
    let bob = panel.user("bob");
    let id = overlay(&panel, &admin, "maps");
    let blueprint = panel.domain.create_blueprint(&bob, with_overlays("Practice", &[id])).unwrap();
    assert_eq!(panel.domain.overlay(&admin, id).unwrap().used_by, [(blueprint.id, "Practice".to_owned())]);
    match panel.domain.delete_overlay(&admin, id) {
        Err(Refusal::InUse { what: "blueprints", names }) => assert_eq!(names, ["Practice"]),
        other => panic!("{other:?}"),
    }
    let without = BlueprintChange { overlay_ids: Some(vec![]), ..BlueprintChange::default() };
    panel.domain.update_blueprint(&bob, blueprint.id, without, &nobody()).unwrap();
    panel.domain.delete_overlay(&admin, id).unwrap();
    assert!(matches!(panel.domain.overlay(&admin, id), Err(Refusal::NotFound("overlay"))));
}

#[test]
fn a_managed_overlay_has_immutable_revisions_and_goes_back_to_an_earlier_one() {
    let panel = Panel::new();
    let admin = panel.admin();
    let id = panel.domain.create_overlay(&admin, NewOverlay { name: "m".into(), path: None }).unwrap().id;
    assert!(panel.domain.overlay(&admin, id).unwrap().missing);
    for expected in [1, 2] {
        let number = panel.domain.begin_revision(&admin, id).unwrap();
        assert_eq!(number, expected);
        let new =
            NewRevision { number, upload_name: "maps.zip".into(), files: 3, bytes: 9, warnings: vec!["w".into()] };
        panel.domain.publish_revision(&admin, id, new.clone()).unwrap();
        assert!(matches!(panel.domain.publish_revision(&admin, id, new), Err(Refusal::Conflict(_))), "twice");
    }
    let numbers: Vec<u64> = panel.domain.list_revisions(&admin, id).unwrap().iter().map(|r| r.number).collect();
    assert_eq!(numbers, [2, 1]);
    let overlay = panel.domain.activate_revision(&admin, id, 1).unwrap();
    assert_eq!(overlay.source, OverlaySource::Managed(Some(1)));
    assert!(matches!(panel.domain.activate_revision(&admin, id, 3), Err(Refusal::NotFound("revision"))));
    let path = OverlayChange { path: Some("x".into()), name: None };
    assert_eq!(field(panel.domain.update_overlay(&admin, id, path)), "path");
}

#[test]
fn a_folder_of_the_box_takes_no_uploads() {
    let panel = Panel::new();
    let admin = panel.admin();
    let id = overlay(&panel, &admin, "maps");
    assert!(matches!(panel.domain.begin_revision(&admin, id), Err(Refusal::Conflict(_))));
}

#[test]
fn the_order_of_overlays_is_kept_and_unknown_or_repeated_ones_are_refused() {
    let panel = Panel::new();
    let admin = panel.admin();
    let bob = panel.user("bob");
    let (a, b, c) = (overlay(&panel, &admin, "a"), overlay(&panel, &admin, "b"), overlay(&panel, &admin, "c"));
    let blueprint = panel.domain.create_blueprint(&bob, with_overlays("x", &[c, a, b])).unwrap();
    assert_eq!(panel.domain.blueprint(&bob, blueprint.id).unwrap().overlay_ids, [c, a, b]);
    assert_eq!(field(panel.domain.create_blueprint(&bob, with_overlays("y", &[a, OverlayId(99)]))), "overlay_ids");
    assert_eq!(field(panel.domain.create_blueprint(&bob, with_overlays("y", &[a, b, a]))), "overlay_ids");
}

#[test]
fn a_blueprint_is_private_and_admins_may_all() {
    let panel = Panel::new();
    let admin = panel.admin();
    let (bob, eve) = (panel.user("bob"), panel.user("eve"));
    let id = panel.blueprint(&bob, "b");
    let forbidden = |result: Result<(), Refusal>| assert!(matches!(result, Err(Refusal::Forbidden(_))), "{result:?}");
    forbidden(panel.domain.blueprint(&eve, id).map(|_| ()));
    forbidden(panel.domain.update_blueprint(&eve, id, BlueprintChange::default(), &nobody()).map(|_| ()));
    forbidden(panel.domain.delete_blueprint(&eve, id));
    forbidden(panel.domain.duplicate_blueprint(&eve, id, None).map(|_| ()));
    forbidden(panel.domain.blueprint_servers(&eve, id).map(|_| ()));
    assert!(panel.domain.list_blueprints(&eve, &Page::default()).unwrap().items.is_empty());
    assert!(matches!(panel.domain.blueprint(&eve, BlueprintId(99)), Err(Refusal::NotFound("blueprint"))));
    panel.domain.blueprint(&admin, id).unwrap();
    assert_eq!(panel.domain.list_blueprints(&admin, &Page::default()).unwrap().items.len(), 1);
}

#[test]
fn blueprint_names_are_unique_per_user() {
    let panel = Panel::new();
    let (bob, eve) = (panel.user("bob"), panel.user("eve"));
    let id = panel.blueprint(&bob, "b");
    panel.blueprint(&eve, "b");
    let again = NewBlueprint { name: " b".into(), ..NewBlueprint::default() };
    assert!(matches!(panel.domain.create_blueprint(&bob, again), Err(Refusal::NameTaken)));
    panel.blueprint(&bob, "c");
    let rename = BlueprintChange { name: Some("c".into()), ..BlueprintChange::default() };
    assert!(matches!(panel.domain.update_blueprint(&bob, id, rename, &nobody()), Err(Refusal::NameTaken)));
}

#[test]
fn blueprints_are_listed_by_name_in_pages() {
    let panel = Panel::new();
    let bob = panel.user("bob");
    let eve = panel.user("eve");
    for name in ["d", "a", "c", "b", "e"] {
        panel.blueprint(&bob, name);
        panel.blueprint(&eve, name);
    }
    let mut page = Page::first(2);
    let mut seen = Vec::new();
    loop {
        let part = panel.domain.list_blueprints(&bob, &page).unwrap();
        assert!(part.items.iter().all(|blueprint| Some(blueprint.user_id) == bob.user_id));
        seen.extend(part.items.into_iter().map(|blueprint| blueprint.name));
        match part.next {
            Some(next) => page.cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
}

#[test]
fn a_cursor_of_somebody_else_opens_nothing() {
    let panel = Panel::new();
    let (bob, eve) = (panel.user("bob"), panel.user("eve"));
    for name in ["a", "b", "c"] {
        panel.blueprint(&bob, name);
        panel.blueprint(&eve, name);
    }
    let cursor = panel.domain.list_blueprints(&bob, &Page::first(1)).unwrap().next;
    let of_eve = panel.domain.list_blueprints(&eve, &Page { cursor, limit: 10 }).unwrap();
    assert!(of_eve.items.iter().all(|blueprint| Some(blueprint.user_id) == eve.user_id));
}

#[test]
fn refused_arguments_and_config_lines_name_their_field() {
    let panel = Panel::new();
    let bob = panel.user("bob");
    let arguments = NewBlueprint { name: "x".into(), arguments: vec!["-port 1".into()], ..NewBlueprint::default() };
    assert_eq!(field(panel.domain.create_blueprint(&bob, arguments)), "arguments");
    let config = NewBlueprint { name: "x".into(), config: vec!["tv_port 1".into()], ..NewBlueprint::default() };
    assert_eq!(field(panel.domain.create_blueprint(&bob, config)), "config");
}

#[test]
fn insecure_is_for_admins_to_allow_and_does_not_lock_the_owner_out() {
    let panel = Panel::new();
    let admin = panel.admin();
    let bob = panel.user("bob");
    let id = panel.blueprint(&bob, "b");
    let insecure = BlueprintChange { arguments: Some(vec!["-insecure".into()]), ..BlueprintChange::default() };
    assert_eq!(field(panel.domain.update_blueprint(&bob, id, insecure.clone(), &nobody())), "arguments");
    panel.domain.update_blueprint(&admin, id, insecure, &nobody()).unwrap();
    let config = BlueprintChange { config: Some(vec!["sv_cheats 0".into()]), ..BlueprintChange::default() };
    panel.domain.update_blueprint(&bob, id, config, &nobody()).unwrap();
}

#[test]
fn a_blueprint_that_servers_follow_is_not_deleted_and_they_are_named() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    match panel.domain.delete_blueprint(&bob, server.blueprint_id) {
        Err(Refusal::InUse { what: "servers", names }) => assert_eq!(names, ["s"]),
        other => panic!("{other:?}"),
    }
    assert_eq!(panel.domain.blueprint_servers(&bob, server.blueprint_id).unwrap(), std::slice::from_ref(&server));
    panel.domain.finish_delete(server.id).unwrap();
    panel.domain.delete_blueprint(&bob, server.blueprint_id).unwrap();
}

#[test]
fn a_copy_gets_the_first_free_name_and_everything_else() {
    let panel = Panel::new();
    let admin = panel.admin();
    let bob = panel.user("bob");
    let overlay = overlay(&panel, &admin, "o");
    let new = NewBlueprint {
        name: "b".into(),
        arguments: vec!["+map c1m1_hotel".into()],
        config: vec!["sv_cheats 0".into()],
        overlay_ids: vec![overlay],
    };
    let first = panel.domain.create_blueprint(&bob, new).unwrap();
    let copy = panel.domain.duplicate_blueprint(&bob, first.id, None).unwrap();
    assert_eq!(copy.name, "b copy");
    assert_eq!(
        (copy.arguments, copy.config, copy.overlay_ids),
        (first.arguments, first.config, first.overlay_ids.clone())
    );
    assert_eq!(panel.domain.duplicate_blueprint(&bob, first.id, None).unwrap().name, "b copy 2");
    assert!(matches!(panel.domain.duplicate_blueprint(&bob, first.id, Some("b")), Err(Refusal::NameTaken)));
    let long = panel.blueprint(&bob, &"x".repeat(128));
    assert_eq!(panel.domain.duplicate_blueprint(&bob, long, None).unwrap().name.chars().count(), 128);
}

#[test]
fn a_change_to_what_is_there_changes_nothing() {
    let panel = Panel::new();
    let bob = panel.user("bob");
    let id = panel.blueprint(&bob, "b");
    let before = panel.domain.blueprint(&bob, id).unwrap();
    panel.pass(5);
    let same = BlueprintChange {
        name: Some("b".into()),
        arguments: Some(vec![]),
        config: Some(vec![]),
        overlay_ids: Some(vec![]),
    };
    assert_eq!(panel.domain.update_blueprint(&bob, id, same, &nobody()).unwrap(), before);
}
