//! `left4me servers logs -f` and `left4me servers console`, as a person at a terminal uses them.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::sync::mpsc;

use rustix::pty::OpenptFlags;

use crate::games::type_line;
use crate::support::panel::Panel;
use crate::support::{PATIENCE, eventually};

/// Reads lines on a thread of its own, so that a test can wait for one and not for ever.
pub fn lines_of(output: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if tell.send(line.trim_end_matches('\r').to_owned()).is_err() {
                return;
            }
        }
    });
    told
}

/// Waits for a line that holds `text`; answers it.
#[track_caller]
fn wait_for(lines: &mpsc::Receiver<String>, text: &str) -> String {
    let mut before = String::new();
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) if line.contains(text) => return line,
            Ok(line) => before = before + &line + "\n",
            Err(error) => panic!("{error} before {text:?}:\n{before}"),
        }
    }
}

#[test]
fn logs_are_followed_from_the_command_line_over_restarts_of_game_and_daemon_each_line_once() {
    let mut panel = Panel::start();
    let blueprint = panel.with_game();
    let server = panel.server("followed", blueprint);
    panel.must(&format!("/servers/{server}/start"));
    let mut follower =
        panel.command(&["servers", "logs", "-f", "-n", "5", "followed"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = lines_of(follower.stdout.take().unwrap());
    wait_for(&lines, "");
    type_line(&panel, server, "echo first");
    wait_for(&lines, "first");
    // The daemon goes while the game prints on.
    type_line(&panel, server, "_simulate spam 20000");
    wait_for(&lines, "spam 1");
    panel.kill();
    panel.start_again();
    for number in 2..=20_000 {
        assert_eq!(wait_for(&lines, "spam "), format!("spam {number}"));
    }
    // The game goes and comes back; its console goes on.
    panel.must(&format!("/servers/{server}/restart"));
    wait_for(&lines, "Server shutting down.");
    wait_for(&lines, "#Console initialized.");
    type_line(&panel, server, "echo second");
    wait_for(&lines, "second");
    follower.kill().unwrap();
    follower.wait().unwrap();

    // Without -f: the last lines, and the end.
    let output = panel.command(&["servers", "logs", "-n", "3", "followed"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.lines().count() == 3 && text.contains("second"), "{output:?}");
    // A server that goes ends who follows it.
    let mut follower = panel.command(&["servers", "logs", "-f", "followed"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = lines_of(follower.stdout.take().unwrap());
    wait_for(&lines, "");
    let job = panel.admin("DELETE", &format!("/servers/{server}"), &serde_json::Value::Null).expect(202).json();
    panel.finished(&job);
    assert!(eventually("it ends", || follower.try_wait().unwrap()).success());
}

#[test]
fn a_console_is_typed_into_on_a_terminal_and_leaving_it_leaves_the_game() {
    let panel = Panel::start();
    let blueprint = panel.with_game();
    let server = panel.server("typed", blueprint);
    panel.must(&format!("/servers/{server}/start"));
    let game = panel.game(server);
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags).unwrap();
    rustix::pty::grantpt(&master).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let end = || Stdio::from(rustix::pty::ioctl_tiocgptpeer(&master, flags).unwrap());
    let mut typist =
        panel.command(&["servers", "console", "typed"]).stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
    let mut terminal = std::fs::File::from(master);
    let lines = lines_of(terminal.try_clone().unwrap());
    wait_for(&lines, "ctrl-d leaves");
    terminal.write_all(b"status\n").unwrap();
    wait_for(&lines, "udp/ip");
    terminal.write_all(b"echo one and two\n").unwrap();
    // Once as the terminal shows what is typed, once as the game answers.
    wait_for(&lines, "one and two");
    wait_for(&lines, "one and two");
    panel.must(&format!("/servers/{server}/stop"));
    wait_for(&lines, "Server shutting down.");
    terminal.write_all(b"status\n").unwrap();
    wait_for(&lines, "the game does not run");
    panel.must(&format!("/servers/{server}/start"));
    wait_for(&lines, "SV / 0 CL");
    assert_ne!(panel.game(server).pid, game.pid);
    let again = panel.game(server);
    terminal.write_all(&[4]).unwrap();
    assert!(eventually("it leaves", || typist.try_wait().unwrap()).success());
    assert_eq!(panel.game(server).pid, again.pid, "the game plays on");

    // From a pipe, as a script uses it: the first refusal ends it.
    panel.must(&format!("/servers/{server}/stop"));
    let mut script = panel
        .command(&["servers", "console", "typed"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    script.stdin.take().unwrap().write_all(b"status\n").unwrap();
    let output = script.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the game does not run"), "{output:?}");
}
