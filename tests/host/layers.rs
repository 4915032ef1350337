//! Which file wins, where writes go, how many layers there may be.

use std::fs;
use std::process::Command;

use left4me::host::launch::Limits;
use left4me::host::layers::{self, SteamCmd};
use left4me::host::paths::Run;
use left4me::host::shim::client::StartError;
use left4me::host::{console, steam};
use left4me::model::id::{HostId, JobId, LayerId, ServerId};

use crate::support::{Place, await_exit, tests};

tests! {
    fn the_first_listed_overlay_wins_and_a_write_lands_in_the_upper_only() {
        let place = Place::with_game("cat both first second; echo written > both; echo new > left4dead2/new; cat both; pwd; echo \"$@\"");
        place.program(1, "both", b"game\n");
        place.program(1, "left4dead2/keep", b"x");
        let one = place.overlay(1, &[("both", "one\n"), ("first", "first\n")]);
        let two = place.overlay(2, &[("both", "two\n"), ("second", "second\n")]);
        let (status, console) = place.run(&place.launch_of(&place.spec(5, vec![one, two]))).await;
        assert_eq!((status.code, status.asked), (Some(0), false));
        let expected = "one\nfirst\nsecond\nwritten\n/game\n-console -game left4dead2 -strictportbind -ip 0.0.0.0 -port 27015 \
                        -norestart +map c1m1_hotel\n";
        assert_eq!(console, expected);
        let upper = place.paths.upper(HostId::of(ServerId(5)));
        assert_eq!(fs::read_to_string(upper.join("both")).unwrap(), "written\n");
        assert_eq!(fs::read_to_string(upper.join("left4dead2/new")).unwrap(), "new\n");
        assert_eq!(fs::read_to_string(place.paths.overlay_root.join("overlay-1/both")).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(place.paths.layer(1.into()).join("both")).unwrap(), "game\n");
    }

    fn the_generated_config_wins_over_overlays_and_over_what_the_game_wrote() {
        let place = Place::with_game("cat left4dead2/cfg/server.cfg; echo evil > left4dead2/cfg/server.cfg || echo refused");
        let pack = place.overlay(1, &[("left4dead2/cfg/server.cfg", "rcon_password default\n")]);
        let upper = place.paths.upper(HostId::of(ServerId(5)));
        fs::create_dir_all(upper.join("left4dead2/cfg")).unwrap();
        fs::write(upper.join("left4dead2/cfg/server.cfg"), "from before\n").unwrap();
        let mut spec = place.spec(5, vec![pack]);
        let (_, console) = place.run(&place.launch_of(&spec)).await;
        assert!(console.starts_with("hostname \"x\"\n") && console.ends_with("refused\n"), "{console}");

        spec.config = vec!["hostname \"y\"".into()];
        let (_, console) = place.run(&place.launch_of(&spec)).await;
        assert!(console.contains("hostname \"y\"\n"), "{console}");
    }

    fn one_hundred_and_twenty_layers_are_merged() {
        let place = Place::with_game("cat f1 f60 f120; ls | grep -c ^f");
        let overlays = (1..=120).map(|id| place.overlay(id, &[(&format!("f{id}"), &format!("{id}\n"))])).collect();
        let (_, console) = place.run(&place.launch_of(&place.spec(5, overlays))).await;
        assert_eq!(console, "1\n60\n120\n120\n");
    }

    fn an_install_writes_its_new_layer_only_and_sees_the_stack_below_it() {
        let place = Place::with_game("exit 0");
        place.program(1, "left4dead2/old", b"old\n");
        let program = place.paths.data_dir.join("elsewhere/steamcmd.sh");
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::write(&program, "#!/bin/sh\ncat /game/left4dead2/old; echo new > /game/left4dead2/new; echo kept > ~/login; touch \"$0\" 2>/dev/null || echo readonly; echo \"$LC_ALL $*\"\n").unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        layers::begin(&place.paths, LayerId(2)).unwrap();
        let words = steam::arguments(steam::Strategy::FIRST, 1, None);
        let launch = layers::steamcmd_launch(
            &place.paths, JobId(7), LayerId(2), &[LayerId(1)], &SteamCmd::At(&program), words, &Limits::default(),
        );
        let mut client = match place.try_start(&launch).await {
            Ok(client) => Some(client),
            Err(StartError::Failed(text)) if text.starts_with("the program ended at once") => None,
            Err(error) => panic!("{error}"),
        };
        if let Some(client) = &mut client {
            await_exit(client).await;
        }
        let run = Run::Install(JobId(7));
        let console = String::from_utf8(console::read(&place.paths, run, 0, 9999).unwrap().bytes).unwrap();
        assert_eq!(
            console,
            "old\nreadonly\nC +@sSteamCmdForcePlatformType linux +@ShutdownOnFailedCommand 1 +@NoPromptForPassword 1 \
             +force_install_dir /game +login anonymous +app_update 222860 validate +quit\n"
        );
        assert!(!place.paths.layer(LayerId(2)).exists(), "nothing is seen before it is published");
        layers::publish(&place.paths, LayerId(2)).unwrap();
        assert_eq!(fs::read_to_string(place.paths.layer(LayerId(2)).join("left4dead2/new")).unwrap(), "new\n");
        assert!(!place.paths.layer(LayerId(2)).join("left4dead2/old").exists());
        assert!(!place.paths.layer(LayerId(1)).join("left4dead2/new").exists());
        assert_eq!(fs::read_to_string(place.paths.steam().join("login")).unwrap(), "kept\n");

        // What was an upper is a layer like any other.
        let mut spec = place.spec(5, vec![]);
        spec.game = vec![LayerId(2), LayerId(1)];
        place.program(1, "srcds_linux", b"#!/bin/sh\ncat left4dead2/old left4dead2/new\n");
        assert_eq!(place.run(&place.launch_of(&spec)).await.1, "old\nnew\n");
        left4me::host::instance::remove_run(&place.paths, run).unwrap();
    }

    fn a_32_bit_program_runs_under_the_filter_and_reads_inode_numbers_that_fit() {
        let place = Place::with_game("exit 1");
        let source = place.paths.data_dir.join("probe.c");
        let binary = place.paths.data_dir.join("probe");
        fs::write(&source, PROBE_32).unwrap();
        let gcc = Command::new("gcc").args(["-m32", "-pthread", "-o"]).arg(&binary).arg(&source).output();
        match gcc {
            Ok(output) if output.status.success() => {}
            other => {
                println!("SKIPPED: gcc -m32 is not there (apt install gcc-multilib): {other:?}");
                return;
            }
        }
        place.program(1, "srcds_linux", &fs::read(&binary).unwrap());
        place.program(1, "data", b"x");
        let (status, console) = place.run(&place.launch(5)).await;
        assert_eq!(status.code, Some(0), "{console}");
        assert_eq!(console, "4 bytes a pointer\nstat works\nthread works\nunshare refused\nmount refused\nptrace refused\n");
    }
}

/// What the game is: 32-bit, without large file support, with threads; and what it may not do.
const PROBE_32: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <errno.h>
#include <sched.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
static void *work(void *p) { *(int *)p = 1; return 0; }
int main(void) {
    struct stat s;
    pthread_t t;
    int ran = 0;
    printf("%d bytes a pointer\n", (int)sizeof(void *));
    printf(stat("data", &s) == 0 && stat(".", &s) == 0 ? "stat works\n" : "stat fails\n");
    printf(pthread_create(&t, 0, work, &ran) == 0 && pthread_join(t, 0) == 0 && ran ? "thread works\n" : "thread fails\n");
    printf(unshare(CLONE_NEWUSER) == -1 && errno == EPERM ? "unshare refused\n" : "unshare works\n");
    printf(mount("x", "/tmp", "tmpfs", 0, 0) == -1 && errno == EPERM ? "mount refused\n" : "mount works\n");
    printf(ptrace(PTRACE_TRACEME, 0, 0, 0) == -1 && errno == EPERM ? "ptrace refused\n" : "ptrace works\n");
    return 0;
}
"#;
