//! When what nothing uses goes, game layers and files of deleted overlays: never under something that is about to use it.

use std::sync::Arc;
use std::time::Duration;

use left4me::domain::jobs::Outcome;
use left4me::domain::overlays::NewOverlay;
use left4me::host::archive::Left;
use left4me::host::paths::Paths;
use left4me::host::{instance, layers};
use left4me::jobs::layers::take_over;
use left4me::model::event::Event;
use left4me::model::id::{JobId, LayerId, OverlayId, ServerId};
use left4me::model::job::{JobState, Operation};
use left4me::model::server::{ActualState, DesiredState};
use left4me::model::spec::{InstanceSpec, SPEC_VERSION, SpecOverlay};
use left4me::model::time::Timestamp;
use left4me::store::{StoreError, Tx};
use left4me::supervise::leftovers;
use tokio::sync::RwLock;

use crate::domain_kit::Panel;

/// An overlay that nobody knows any more.
const GONE: OverlayId = OverlayId(99);

fn place(panel: &Panel) -> Paths {
    let paths = Paths::new(panel.folder.path(), panel.folder.path().join("overlays"));
    paths.create().unwrap();
    std::fs::create_dir_all(paths.revision(GONE, 1)).unwrap();
    paths
}

fn spec(server: ServerId) -> InstanceSpec {
    InstanceSpec {
        version: SPEC_VERSION,
        server_id: server,
        port: 27015,
        tv_port: None,
        game: vec![],
        overlays: vec![SpecOverlay { id: GONE, path: None, revision: Some(1) }],
        arguments: vec![],
        config: vec![],
        written_at: Timestamp(0),
    }
}

#[test]
fn a_stop_that_waits_behind_a_start_does_not_take_the_files_that_the_start_mounts() {
    let panel = Panel::new();
    let paths = place(&panel);
    let (owner, server) = panel.owner("zoe");
    panel.domain.observe(server.id, ActualState::Stopped, None).unwrap();
    let start = panel.domain.request(&owner, server.id, Operation::Start).unwrap();
    assert_eq!(panel.domain.claim_next(4).unwrap().unwrap().id, start.id);
    instance::write_spec(&paths, &spec(server.id)).unwrap();
    let stop = panel.domain.request(&owner, server.id, Operation::Stop).unwrap();
    let record = panel.record(server.id);
    assert_eq!((record.desired_state, record.actual_state), (DesiredState::Stopped, ActualState::Stopped));
    let left = leftovers::collect(&panel.domain, &paths, false).unwrap();
    assert_eq!(left.needed, 1);
    assert!(paths.revision(GONE, 1).is_dir());

    let done = Outcome { state: JobState::Succeeded, exit_code: Some(0), error: None };
    panel.domain.finish_job(start.id, done).unwrap();
    panel.run(stop.id, JobState::Succeeded);
    assert_eq!(leftovers::collect(&panel.domain, &paths, false).unwrap().needed, 0);
    assert!(!paths.managed(GONE).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_while_a_spec_is_being_written() {
    let panel = Panel::new();
    let paths = place(&panel);
    let specs = Arc::new(RwLock::new(()));
    let writing = specs.read().await;
    let (domain, events) = (panel.domain.clone(), panel.domain.hub().listen());
    let following = tokio::spawn(leftovers::follow(domain, paths.clone(), specs.clone(), Left::default(), events));
    panel.domain.hub().publish(Event::OverlayGone(GONE));
    // Who waits for the gate lets nobody else in.
    while specs.try_read().is_ok() {
        assert!(paths.revision(GONE, 1).is_dir(), "they went although somebody was about to name them");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(paths.revision(GONE, 1).is_dir());
    drop(writing);
    while paths.managed(GONE).exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    following.abort();
}

#[test]
fn for_a_day_after_a_restore_nothing_goes_that_the_store_does_not_know() {
    let panel = Panel::new();
    let paths = place(&panel);
    left4me::host::restored::note(panel.folder.path()).unwrap();
    for starting in [true, false] {
        assert_eq!(leftovers::collect(&panel.domain, &paths, starting).unwrap().needed, 1);
    }
    assert!(paths.revision(GONE, 1).is_dir());
    std::fs::remove_file(panel.folder.path().join("left4me.redb.restored")).unwrap();
    leftovers::collect(&panel.domain, &paths, false).unwrap();
    assert!(!paths.managed(GONE).exists());
}

#[test]
fn numbers_of_revisions_that_lie_on_the_disk_are_not_given_out_again() {
    let panel = Panel::new();
    let paths = place(&panel);
    let admin = panel.admin();
    let overlay = panel.domain.create_overlay(&admin, NewOverlay { name: "maps".into(), path: None }).unwrap().id;
    std::fs::create_dir_all(paths.revision(overlay, 4)).unwrap();
    panel.domain.never_reuse(&paths.highest()).unwrap();
    assert_eq!(panel.domain.begin_revision(&admin, overlay).unwrap(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_collects_while_a_merged_layer_has_its_place_and_no_build() {
    let panel = Panel::new();
    let paths = place(&panel);
    let domain = panel.domain.clone();
    let build = domain.publish_build(JobId(1), LayerId(1), &[LayerId(2), LayerId(3)], 0).unwrap();
    let layer = LayerId(9);
    layers::begin(&paths, layer).unwrap();

    // Somebody writes to the store just then: the new layer waits for its build.
    let (held, let_go) = std::sync::mpsc::channel::<()>();
    let (begun, holds) = std::sync::mpsc::channel();
    let busy = domain.clone();
    let writer = std::thread::spawn(move || {
        let wait = |_: &mut Tx| {
            begun.send(()).unwrap();
            // Ends when the other side is dropped.
            let _ = let_go.recv();
            Ok::<(), StoreError>(())
        };
        busy.store().write(wait).unwrap();
    });
    holds.recv().unwrap();
    let specs = Arc::new(RwLock::new(()));
    let (gate, kept, place, of) = (specs.clone(), domain.clone(), paths.clone(), build.clone());
    let taking = tokio::spawn(async move { take_over(&gate, &kept, &place, &of, layer).await });
    while !paths.layer(layer).is_dir() {
        assert!(!taking.is_finished());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(specs.try_write().is_err(), "a layer that nothing names could be collected");
    drop(held);
    taking.await.unwrap().unwrap();
    writer.join().unwrap();
    assert!(specs.try_write().is_ok());
    assert_eq!(domain.active_build().unwrap().unwrap().layers, [layer]);
}
