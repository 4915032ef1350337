//! Who ends with whom, who outlives whom, and how a program is ended.

use std::process::{Command, Stdio};

use left4me::host::shim::client::{Adoption, Event};
use left4me::host::shim::state::Identity;

use crate::support::{PATIENCE, Place, adopted, await_exit, eventually, kill, server, tests};

/// Prints, starts a helper that leaves its group, and ignores all that it may.
const STUBBORN: &str =
    "trap '' INT TERM HUP QUIT; setsid sleep 1000 & echo helper $!; echo ready; while :; do sleep 1; done";

tests! {
    fn a_stop_that_is_ignored_ends_in_the_death_of_the_whole_tree() {
        let place = Place::with_game(STUBBORN);
        let mut launch = place.launch(5);
        (launch.stop.line_ms, launch.stop.interrupt_ms) = (200, 200);
        let mut client = place.start(&launch).await;
        place.await_console(&mut client, 5, "ready").await;
        let before = processes_of(&place);
        assert!(before.len() >= 3, "{before:?}");
        client.stop().await.unwrap();
        let status = await_exit(&mut client).await;
        assert_eq!((status.code, status.signal, status.asked), (None, Some(9), true));
        assert!(before.iter().all(|process| !process.is_alive()));
    }

    fn a_program_begins_with_no_signal_held_back_and_none_ignored() {
        let place = Place::with_game("exit 1");
        let mut launch = place.launch(5);
        // Not a shell, which would put its own signals right.
        launch.program = "/usr/bin/grep".into();
        launch.arguments = ["-E", "Sig(Blk|Ign)", "/proc/self/status"].map(String::from).to_vec();
        assert_eq!(place.run(&launch).await.1, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    }

    fn sigint_comes_before_sigkill() {
        let place = Place::with_game("trap 'echo interrupted; exit 7' INT; echo ready; while :; do sleep 0.05; done");
        let mut launch = place.launch(5);
        (launch.stop.line_ms, launch.stop.interrupt_ms) = (100, 20_000);
        let mut client = place.start(&launch).await;
        place.await_console(&mut client, 5, "ready").await;
        client.stop().await.unwrap();
        let status = await_exit(&mut client).await;
        assert_eq!((status.code, status.asked), (Some(7), true));
        assert!(place.console(5).contains("interrupted"));
    }

    fn what_a_program_leaves_behind_ends_with_it() {
        let place = Place::with_game("setsid sleep 1000 & read -r line; exit 0");
        let mut client = place.start(&place.launch(5)).await;
        eventually("the helper starts", || processes_of(&place).len() >= 3);
        let before = processes_of(&place);
        client.send_line("end").await.unwrap();
        assert_eq!(await_exit(&mut client).await.code, Some(0));
        assert!(before.iter().all(|process| !process.is_alive()));
    }

    fn sigkill_of_the_shim_ends_the_whole_tree() {
        let place = Place::with_game(STUBBORN);
        let mut client = place.start(&place.launch(5)).await;
        place.await_console(&mut client, 5, "ready").await;
        let before = processes_of(&place);
        kill(client.state().unwrap().shim.pid);
        let mut last = client.next_event().await;
        while let Event::Output(_) = last {
            last = client.next_event().await;
        }
        assert_eq!(last, Event::Lost);
        eventually("the tree ends", || before.iter().all(|process| !process.is_alive()));
        assert!(matches!(adopted(&place.paths, 5).await, Adoption::Gone));
        let mut again = place.start(&place.launch(5)).await;
        again.kill().await.unwrap();
        assert_eq!(await_exit(&mut again).await.signal, Some(9));
    }

    fn sigterm_to_the_shim_stops_its_game_gently() {
        let place = Place::with_game("echo ready; read -r line; echo \"got $line\"");
        let mut client = place.start(&place.launch(5)).await;
        place.await_console(&mut client, 5, "ready").await;
        let shim = rustix::process::Pid::from_raw(client.state().unwrap().shim.pid).unwrap();
        rustix::process::kill_process(shim, rustix::process::Signal::TERM).unwrap();
        let status = await_exit(&mut client).await;
        assert_eq!((status.code, status.asked), (Some(0), true));
        assert!(place.console(5).ends_with("got quit\n"));
    }

    fn a_line_that_is_half_typed_does_not_swallow_the_quit() {
        // It reads its console only once it is told to quit, so the terminal's queue fills up in the middle of a line.
        let place = Place::with_game("trap go=1 USR1; echo ready; while [ -z \"$go\" ]; do sleep 0.02; done; while read -r line; do [ \"$line\" = quit ] && echo \"quits well\" && exit 0; done");
        let mut launch = place.launch(5);
        launch.stop.line_ms = 20_000;
        let mut client = place.start(&launch).await;
        place.await_console(&mut client, 5, "ready").await;
        // A terminal takes some 64 KiB that nobody reads; the shim keeps as much again.
        for _ in 0..110 {
            client.send_line(&"x".repeat(1000)).await.unwrap();
        }
        client.stop().await.unwrap();
        let game = rustix::process::Pid::from_raw(client.pid()).unwrap();
        rustix::process::kill_process(game, rustix::process::Signal::USR1).unwrap();
        let begun = std::time::Instant::now();
        let status = await_exit(&mut client).await;
        assert_eq!((status.code, status.asked), (Some(0), true));
        assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
        assert!(place.console(5).ends_with("quits well\n"));
    }

    fn a_game_outlives_its_starter_and_is_adopted_with_every_line() {
        let place = Place::with_game("i=0; while read -r line; do i=$((i+1)); echo \"$i $line\"; done");
        // Another process starts it, and dies by SIGKILL.
        let request = serde_json::to_vec(&place.launch(5)).unwrap();
        let request = left4me::host::shim::protocol::frame(left4me::host::shim::protocol::LAUNCH, &request);
        let file = place.paths.data_dir.join("request");
        std::fs::write(&file, request).unwrap();
        let mut starter = Command::new("python3")
            .args(["-c", STARTER])
            .arg(crate::support::left4me())
            .arg(&file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(starter.stdout.take().unwrap()), &mut said).unwrap();
        assert_eq!(said, "started\n");
        starter.kill().unwrap();
        starter.wait().unwrap();

        let Adoption::Running(mut client) = adopted(&place.paths, 5).await else { panic!("not adopted") };
        let pid = client.pid();
        client.send_line("one").await.unwrap();
        place.await_console(&mut client, 5, "1 one\n").await;
        drop(client);
        let Adoption::Running(mut client) = adopted(&place.paths, 5).await else { panic!("not adopted again") };
        assert_eq!(client.pid(), pid);
        client.send_line("two").await.unwrap();
        place.await_console(&mut client, 5, "2 two\n").await;
        assert_eq!(place.console(5), "1 one\n2 two\n");
        assert!(tokio::time::timeout(PATIENCE, client.kill()).await.is_ok());
        await_exit(&mut client).await;
    }
}

/// Starts `left4me shim --detached` as the daemon does, says so, and waits to be killed.
const STARTER: &str = r#"
import socket, subprocess, sys, time
ours, theirs = socket.socketpair()
subprocess.Popen([sys.argv[1], "shim", "--detached"], stdin=theirs)
theirs.close()
ours.sendall(open(sys.argv[2], "rb").read())
head = ours.recv(5)
assert head[4] == 33, head + ours.recv(9999)
print("started", flush=True)
time.sleep(1000)
"#;

/// Every process of the sandbox of server 5: those in the PID namespace of its init.
pub fn processes_of(place: &Place) -> Vec<Identity> {
    let state = left4me::host::shim::state::read_state(&place.paths.run(server(5))).unwrap().unwrap();
    let mut found = vec![state.init.clone()];
    let mut next = 0;
    while next < found.len() {
        let pid = found[next].pid;
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|pid| Identity::of(pid.parse().unwrap()).ok()));
        next += 1;
    }
    found
}
