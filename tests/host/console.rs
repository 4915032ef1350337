//! What is typed and printed: round trip, rotation, clients that come, go, or never read.

use std::io::Write;
use std::os::unix::net::UnixStream;

use left4me::host::console;
use left4me::host::shim::client::{Adoption, Event};
use left4me::host::shim::protocol::ToShim;
use left4me::host::shim::state::socket_path;

use crate::support::{Place, adopted, await_exit, server, tests};

/// Answers each line; ends at `quit`.
const ECHO: &str = "echo ready; while read -r line; do [ \"$line\" = quit ] && exit 0; echo \"you typed $line\"; done";

tests! {
    fn a_typed_line_is_answered_and_not_doubled() {
        let place = Place::with_game(ECHO);
        let mut client = place.start(&place.launch(5)).await;
        place.await_console(&mut client, 5, "ready").await;
        client.send_line("status").await.unwrap();
        place.await_console(&mut client, 5, "you typed status\n").await;
        assert_eq!(place.console(5), "ready\nyou typed status\n");
        client.stop().await.unwrap();
        let status = await_exit(&mut client).await;
        assert_eq!((status.code, status.asked), (Some(0), true));
    }

    fn a_line_that_the_console_cannot_take_is_refused_with_the_reason() {
        let place = Place::with_game(ECHO);
        let mut client = place.start(&place.launch(5)).await;
        for (bad, reason) in [("a\nquit".to_owned(), "control character"), ("x".repeat(4096), "4096 bytes")] {
            client.send_line(&bad).await.unwrap();
            loop {
                match client.next_event().await {
                    Event::Refused(text) => {
                        assert!(text.contains(reason), "{text}");
                        break;
                    }
                    Event::Output(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        client.send_line(&"y".repeat(4095)).await.unwrap();
        place.await_console(&mut client, 5, &format!("you typed {}\n", "y".repeat(4095))).await;
    }

    fn the_console_goes_on_over_segments_and_over_runs() {
        let place = Place::with_game("i=0; while [ $i -lt 2000 ]; do echo \"line $i of $1\"; i=$((i+1)); done");
        let mut launch = place.launch(5);
        launch.console.segment_bytes = 4096;
        for word in ["one", "two"] {
            launch.arguments = vec![word.into()];
            place.run(&launch).await;
        }
        let expected: String =
            ["one", "two"].iter().flat_map(|word| (0..2000).map(move |i| format!("line {i} of {word}\n"))).collect();
        assert_eq!(place.console(5), expected);
        assert!(console::segments(&place.paths.console(server(5))).unwrap().len() > 5);
        let from = console::tail(&place.paths, server(5), 3).unwrap();
        let chunk = console::read(&place.paths, server(5), from, 1000).unwrap();
        assert_eq!(chunk.bytes, b"line 1997 of two\nline 1998 of two\nline 1999 of two\n");
    }

    fn a_client_that_never_reads_and_one_that_dies_disturb_nobody() {
        let place = Place::with_game("read -r go; i=0; while [ $i -lt 20000 ]; do echo \"line $i\"; i=$((i+1)); done; read -r end");
        let mut client = place.start(&place.launch(5)).await;
        let socket = socket_path(&place.paths.run(server(5)));
        let mut deaf = UnixStream::connect(&socket).unwrap();
        deaf.write_all(&ToShim::Subscribe.encode()).unwrap();
        let mut dying = UnixStream::connect(&socket).unwrap();
        dying.write_all(&ToShim::Subscribe.encode()[..3]).unwrap();
        drop(dying);
        let mut garbage = UnixStream::connect(&socket).unwrap();
        garbage.write_all(&[0xff; 64]).unwrap();
        client.send_line("go").await.unwrap();
        place.await_console(&mut client, 5, "line 19999\n").await;
        let console = place.console(5);
        assert!(console.lines().enumerate().all(|(i, line)| line == format!("line {i}")));
        assert_eq!(console.lines().count(), 20000);
        client.send_line("end").await.unwrap();
        assert_eq!(await_exit(&mut client).await.code, Some(0));
        drop(deaf);
    }

    fn an_end_that_nobody_saw_is_learned_later() {
        let place = Place::with_game("read -r line; exit 3");
        let mut client = place.start(&place.launch(5)).await;
        client.send_line("now").await.unwrap();
        drop(client);
        let status = match adopted(&place.paths, 5).await {
            Adoption::Exited(status) => status,
            Adoption::Running(mut again) => await_exit(&mut again).await,
            Adoption::Gone => panic!("the exit was not written"),
        };
        assert_eq!((status.code, status.asked), (Some(3), false));
        assert!(matches!(adopted(&place.paths, 5).await, Adoption::Exited(again) if again == status));
    }
}
