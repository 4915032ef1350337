//! What a hostile program inside cannot do. Each way out has a name.

use std::fs;

use left4me::model::id::{HostId, ServerId};

use crate::support::{Place, tests};

tests! {
    fn the_inside_sees_neither_the_store_nor_other_instances_nor_the_daemons_processes() {
        let place = Place::with_game(
            "ls -A1 /; echo --; ls -A1 /home /tmp /run /var; echo --; ls /proc | grep -c '^[0-9]'; echo --; cat /proc/*/cmdline | tr '\\0' ' '; \
             echo --; ls \"$1\" 2>&1; cat /proc/1/environ /proc/1/maps 2>&1 | head -c 300; ls -l /proc/1/fd 2>&1; id; hostname",
        );
        fs::write(place.paths.data_dir.join("left4me.redb"), "secret").unwrap();
        fs::create_dir_all(place.paths.instance(HostId::of(ServerId(6)))).unwrap();
        let mut launch = place.launch(5);
        launch.arguments = vec![place.paths.data_dir.to_str().unwrap().into()];
        let (_, console) = place.run(&launch).await;
        let parts: Vec<&str> = console.split("--\n").collect();
        let top: Vec<&str> = parts[0].lines().collect();
        for name in &top {
            let expected = ["bin", "dev", "etc", "game", "home", "lib", "lib32", "lib64", "libexec", "libx32", "proc", "run", "sbin", "tmp", "usr", "var"];
            assert!(expected.contains(name), "{name} is seen");
        }
        assert_eq!(parts[1], "/home:\n\n/run:\n\n/tmp:\n\n/var:\ntmp\n");
        // init, the shell, ls, grep.
        assert!(parts[2].trim().parse::<u32>().unwrap() <= 4, "{console}");
        assert!(!parts[3].contains("--exact"), "{console}");
        assert!(parts[4].contains("No such file or directory"), "{console}");
        assert!(parts[4].contains("Permission denied") && !parts[4].contains("secret"), "{console}");
        assert!(parts[4].contains("uid=1000(game) gid=1000(game)"), "{console}");
        assert!(parts[4].ends_with("left4me-5\n"), "{console}");
    }

    fn mounting_unsharing_and_writing_to_the_system_are_refused() {
        let place = Place::with_game(
            "try() { if \"$@\" >/dev/null 2>&1; then echo \"$* WORKS\"; else echo \"$1 refused\"; fi; }\n\
             try mount -t tmpfs x /tmp; try umount /game; try unshare -U true; try unshare -m true; try touch /usr/x; try touch /x;\n\
             try touch /etc/passwd2; try hostname other; try mknod /tmp/d b 8 0; try chroot / true; try cat /dev/mem;\n\
             try renice -5 $$; grep -E 'Cap(Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp:' /proc/self/status; ulimit -c; touch /tmp/fine /home/fine && echo fine; kill -9 1; sleep 0.1; echo init lives",
        );
        let (_, console) = place.run(&place.launch(5)).await;
        assert!(!console.contains("WORKS") && console.ends_with("0\nfine\ninit lives\n"), "{console}");
        assert_eq!(console.matches("refused").count(), 12, "{console}");
        assert_eq!(console.matches("0000000000000000").count(), 4, "{console}");
        assert!(console.contains("NoNewPrivs:\t1") && console.contains("Seccomp:\t2"), "{console}");
    }

    fn lower_layers_and_overlays_do_not_change_whatever_the_game_does() {
        let place = Place::with_game("rm -rf addons; chmod 000 keep; mv keep gone; mkdir addons; echo x > addons/new; ls -A addons; echo done");
        place.program(1, "keep", b"kept");
        let overlay = place.overlay(1, &[("addons/a", "a"), ("addons/b/c", "c")]);
        let spec = place.spec(5, vec![overlay]);
        for _ in 0..2 {
            let (status, console) = place.run(&place.launch_of(&spec)).await;
            assert_eq!(status.code, Some(0));
            assert!(console.ends_with("new\ndone\n"), "{console}");
        }
        assert_eq!(fs::read_to_string(place.paths.layer(1.into()).join("keep")).unwrap(), "kept");
        assert_eq!(fs::read_to_string(place.paths.overlay_root.join("overlay-1/addons/b/c")).unwrap(), "c");
        left4me::host::instance::remove(&place.paths, HostId::of(ServerId(5))).unwrap();
        assert!(!place.paths.instance(HostId::of(ServerId(5))).exists());
    }
}

/// A container, a first try: started by root the game is still nobody special.
#[test]
fn for_root_the_inside_is_the_same() {
    crate::support::as_is(async || {
        let place = Place::with_game(
            "id -u; touch /usr/x 2>&1 | grep -c 'Read-only'; unshare -m true || echo refused; touch mine; ls",
        );
        let (status, console) = place.run(&place.launch(5)).await;
        assert_eq!(status.code, Some(0), "{console}");
        assert!(console.starts_with("1000\n1\n") && console.contains("refused\n"), "{console}");
        assert!(place.paths.upper(HostId::of(ServerId(5))).join("mine").is_file());
    });
}
