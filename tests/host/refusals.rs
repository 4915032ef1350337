//! What is refused, with words that say why and what to do; and that nothing half-done stays behind.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use left4me::host::instance::{self, InstanceError};
use left4me::host::probe::{self, Outcome};
use left4me::host::shim::client::{Client, StartError};
use left4me::host::shim::protocol::{self, Answer};
use left4me::host::shim::starter::ShimStarter;
use left4me::model::id::{HostId, OverlayId, ServerId};
use left4me::model::spec::SpecOverlay;

use crate::support::{Place, await_exit, left4me, tests};

fn reason(result: Result<Client, StartError>) -> String {
    match result {
        Err(StartError::Failed(text)) => text,
        other => panic!("{other:?}"),
    }
}

tests! {
    fn an_instance_that_runs_is_not_mounted_again_and_not_removed() {
        let place = Place::with_game("echo ready; read -r line");
        let mut client = place.start(&place.launch(5)).await;
        assert_eq!(reason(place.try_start(&place.launch(5)).await), "5 already runs: its lock is held");
        let host = HostId::of(ServerId(5));
        assert!(matches!(instance::remove(&place.paths, host), Err(InstanceError::Running(_))));
        assert!(matches!(instance::reset_layer(&place.paths, host), Err(InstanceError::Running(_))));
        client.stop().await.unwrap();
        assert_eq!(await_exit(&mut client).await.code, Some(0));
    }

    fn an_overlay_that_is_missing_or_leaves_its_root_is_named() {
        let place = Place::with_game("exit 0");
        let outside = place.paths.data_dir.join("outside");
        fs::create_dir_all(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, place.paths.overlay_root.join("link")).unwrap();
        for (name, expected) in [("nothing", "overlay 9: the folder"), ("link", "overlay 9: "), ("../outside", "overlay 9: ")] {
            let path = place.paths.overlay_root.join(name).to_str().unwrap().to_owned();
            let spec = place.spec(5, vec![SpecOverlay { id: OverlayId(9), path: Some(path), revision: None }]);
            let early = instance::check_overlays(&place.paths, &spec).unwrap_err().to_string();
            let late = reason(place.try_start(&place.launch_of(&spec)).await);
            assert_eq!(early, late);
            assert!(early.starts_with(expected), "{early}");
            let remedy = if name == "nothing" { "create it" } else { "must lie under the overlay root" };
            assert!(early.contains(remedy), "{early}");
        }
    }

    fn a_link_in_the_way_of_the_generated_config_is_named_and_leads_nowhere() {
        let place = Place::with_game("exit 0");
        let outside = place.paths.data_dir.join("outside");
        fs::create_dir_all(&outside).unwrap();
        let upper = place.paths.upper(HostId::of(ServerId(5)));
        fs::create_dir_all(&upper).unwrap();
        std::os::unix::fs::symlink(&outside, upper.join("left4dead2")).unwrap();
        let text = reason(place.try_start(&place.launch(5)).await);
        assert!(text.contains("left4dead2/cfg/server.cfg cannot be put in place") && text.contains("reset what the server wrote"), "{text}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "nothing is made outside the sandbox");
    }

    fn a_link_in_place_of_the_generated_config_is_covered_by_it() {
        let place = Place::with_game("cat left4dead2/cfg/server.cfg");
        let outside = place.paths.data_dir.join("outside");
        fs::write(&outside, "outside\n").unwrap();
        let folder = place.paths.upper(HostId::of(ServerId(5))).join("left4dead2/cfg");
        fs::create_dir_all(&folder).unwrap();
        std::os::unix::fs::symlink(&outside, folder.join("server.cfg")).unwrap();
        let (_, console) = place.run(&place.launch(5)).await;
        assert_eq!(console, "hostname \"x\"\n");
        assert_eq!(fs::read_to_string(&outside).unwrap(), "outside\n");
    }

    fn a_game_that_is_not_installed_is_named_and_leaves_no_state() {
        let place = Place::with_game("exit 0");
        fs::remove_file(place.paths.layer(1.into()).join("srcds_linux")).unwrap();
        let text = reason(place.try_start(&place.launch(5)).await);
        assert!(text.starts_with("/game/srcds_linux cannot be started") && text.contains("install the game files"), "{text}");
        let folder = place.paths.run(crate::support::server(5));
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["console", "lock", "root"]);
    }

    fn a_program_whose_loader_is_missing_is_told_from_one_that_is_not_there() {
        let place = Place::with_game("exit 0");
        place.program(1, "srcds_linux", b"#!/lib/no-such-loader\n");
        let text = reason(place.try_start(&place.launch(5)).await);
        assert!(text.contains("its loader or interpreter is not") && text.contains("lib32gcc-s1"), "{text}");
    }

    fn the_probe_finds_everything_on_a_box_that_runs_games() {
        let place = Place::with_game("exit 0");
        let checks = probe::run(&ShimStarter::Exec { program: left4me() }, &place.paths);
        for name in ["user namespaces", "overlay in the data folder", "a /proc of its own"] {
            let check = checks.iter().find(|check| check.name == name).unwrap();
            assert_eq!(check.outcome, Outcome::Ok, "{check:?}");
        }
        let fence = checks.iter().find(|check| check.name == "landlock").unwrap();
        let held = crate::escapes::landlock_abi() >= 2;
        assert_eq!(fence.outcome, if held { Outcome::Ok } else { Outcome::Warning }, "{fence:?}");
        let left = fs::read_dir(&place.paths.data_dir).unwrap().any(|e| e.unwrap().file_name().to_str().unwrap().starts_with(".probe"));
        assert!(!left);
    }

    fn user_namespaces_that_are_switched_off_are_named_with_the_sysctl() {
        let place = Place::with_game("exit 0");
        let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" shim";
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let mut shim = Command::new("unshare")
            .args(["-Ur", "sh", "-c", script])
            .arg(left4me())
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let request = serde_json::to_vec(&place.paths.data_dir).unwrap();
        ours.write_all(&protocol::frame(protocol::PROBE, &request)).unwrap();
        let mut buffer = Vec::new();
        ours.read_to_end(&mut buffer).unwrap();
        assert!(shim.wait().unwrap().success());
        let (tag, payload) = protocol::take_frame(&mut buffer, protocol::FRAME_MAX).unwrap().unwrap();
        let Some(Answer::Probed(checks)) = Answer::decode(tag, &payload) else { panic!("frame {tag}") };
        assert_eq!(checks.iter().map(|check| check.name.as_str()).collect::<Vec<_>>(), ["user namespaces", "landlock"]);
        assert_eq!((checks[0].name.as_str(), checks[0].outcome), ("user namespaces", Outcome::Failure));
        assert!(checks[0].text.contains("sysctl -w user.max_user_namespaces="), "{}", checks[0].text);
    }
}
