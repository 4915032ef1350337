//! The simulated game as a real process: boot log, ports, console, A2S, RCON, its ways to misbehave.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use left4me::query::{a2s, rcon};

/// Longest that anything may take before it counts as never.
const PATIENCE: Duration = Duration::from_secs(30);

struct Game {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    seen: Vec<String>,
    folder: tempfile::TempDir,
}

impl Drop for Game {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder as the sandbox would show it: two maps and a `server.cfg`.
fn tree() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let game = folder.path().join("left4dead2");
    for sub in ["maps", "cfg", "addons"] {
        std::fs::create_dir_all(game.join(sub)).unwrap();
    }
    for map in ["c1m1_hotel", "c2m1_highway"] {
        std::fs::write(game.join(format!("maps/{map}.bsp")), "VBSP").unwrap();
    }
    let config = "hostname \"Test; \\/ server\" // a comment\nrcon_password secret\nsv_tags a,b\nexec more\nno_such_thing 1\nlog on\n";
    std::fs::write(game.join("cfg/server.cfg"), config).unwrap();
    std::fs::write(game.join("cfg/more.cfg"), "mp_gamemode versus\n").unwrap();
    folder
}

/// A port that nobody has now, UDP and TCP.
fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Game {
    fn start(folder: tempfile::TempDir, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_left4me"))
            .arg0("./srcds_linux")
            .args(["-console", "-game", "left4dead2", "-norestart"])
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, stdin, lines, seen: Vec::new(), folder }
    }

    /// On a free port, up to the last line of the boot log.
    fn ready() -> (Self, SocketAddr) {
        let port = free_port();
        let text = port.to_string();
        let mut game =
            Self::start(tree(), &["-strictportbind", "-ip", "127.0.0.1", "-port", &text, "+map", "c1m1_hotel"]);
        game.wait("VAC secure mode is activated.");
        (game, SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// Waits for a line that holds `wanted`.
    #[track_caller]
    fn wait(&mut self, wanted: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(wanted) {
                        return line;
                    }
                }
                Err(error) => panic!("no line with {wanted}: {error}; so far {:#?}", self.seen),
            }
        }
    }

    fn type_line(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// Everything it printed until its end, and how it ended.
    fn end(mut self) -> (ExitStatus, Vec<String>) {
        let status = self.child.wait().unwrap();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.seen.push(line);
        }
        (status, std::mem::take(&mut self.seen))
    }
}

#[track_caller]
fn in_order(lines: &[String], wanted: &[&str]) {
    let mut rest = lines.iter();
    for want in wanted {
        assert!(rest.any(|line| line.contains(want)), "{want} is not in its place: {lines:#?}");
    }
}

#[test]
fn the_boot_log_comes_in_the_order_of_the_real_one() {
    let (game, address) = Game::ready();
    let network = format!("Network: IP 127.0.0.1, mode MP, dedicated Yes, ports {} SV / 0 CL", address.port());
    in_order(
        &game.seen,
        &[
            "#Console initialized.",
            "#Game_srv.so loaded for \"Left 4 Dead 2\"",
            "Server is hibernating",
            "maxplayers set to 18",
            "Executing dedicated server config file server.cfg",
            "Unknown command \"no_such_thing\"",
            &network,
            "Connection to Steam servers successful.",
            "VAC secure mode is activated.",
        ],
    );
}

#[test]
fn console_commands_are_answered() {
    let (mut game, _) = Game::ready();
    game.type_line("status");
    assert_eq!(game.wait("hostname:"), "hostname: Test; \\/ server");
    assert_eq!(game.wait("map     :"), "map     : c1m1_hotel");
    game.wait("#end");
    game.type_line("mp_gamemode; echo \"a  b\" c // not this");
    game.wait("\"mp_gamemode\" = \"versus\"");
    assert_eq!(game.wait("a  b"), "a  b c");
    game.type_line("rcon_password");
    game.wait("***PROTECTED***");
    game.type_line("changelevel nowhere");
    game.wait("map load failed: nowhere not found or invalid");
    game.type_line("changelevel c2m1_highway");
    game.wait("Executing dedicated server config file server.cfg");
    game.wait("Changed level to c2m1_highway");
    game.type_line("maps *");
    game.wait("PENDING:   (fs) c1m1_hotel.bsp");
    game.type_line("xyzzy");
    game.wait("Unknown command \"xyzzy\"");
    game.type_line("say hello");
    game.wait("Console: hello");
    let logs = game.folder.path().join("left4dead2/logs");
    game.type_line("quit");
    let logged = |logs: &Path| {
        let files =
            std::fs::read_dir(logs).unwrap().map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
        files.collect::<String>()
    };
    assert!(game.child.wait().unwrap().success());
    assert!(logged(&logs).contains("say \"hello\""), "{}", logged(&logs));
}

#[tokio::test]
async fn info_players_and_rules_are_answered_over_udp_with_a_challenge() {
    let (mut game, address) = Game::ready();
    let (info, _) = a2s::info(address, PATIENCE).await.unwrap();
    assert_eq!(
        (info.name.as_str(), info.map.as_str(), info.folder.as_str()),
        ("Test; \\/ server", "c1m1_hotel", "left4dead2")
    );
    assert_eq!((info.port, info.keywords.as_deref(), info.max_players), (Some(address.port()), Some("a,b"), 18));
    // The first visitor comes after three seconds, the bots with them.
    game.wait("connected (");
    let players = a2s::players(address, PATIENCE).await.unwrap();
    let (info, _) = a2s::info(address, PATIENCE).await.unwrap();
    assert_eq!((players.len(), info.players, info.bots, info.humans()), (4, 4, 3, 1));
    let rules = a2s::rules(address, PATIENCE).await.unwrap();
    assert!(rules.contains(&("mp_gamemode".into(), "versus".into())), "{rules:?}");
    assert!(!rules.iter().any(|(name, value)| name.contains("password") || value.contains("secret")), "{rules:?}");
    // Nothing is answered to a stranger who does not know the challenge, but the challenge.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(b"\xff\xff\xff\xffU\x01\x02\x03\x04", address).unwrap();
    let mut buffer = [0; 100];
    assert_eq!(socket.recv(&mut buffer).unwrap(), 9);
    assert_eq!(buffer[4], b'A');
}

#[tokio::test]
async fn rcon_runs_commands_and_refuses_a_wrong_password() {
    let (_game, address) = Game::ready();
    assert!(matches!(rcon::Client::connect(address, "wrong", PATIENCE).await, Err(rcon::RconError::BadPassword)));
    let mut client = rcon::Client::connect(address, "secret", PATIENCE).await.unwrap();
    assert_eq!(client.exec("echo hello").await.unwrap(), "hello\n");
    let long = client.exec("_simulate spam 3000").await.unwrap();
    assert_eq!((long.lines().count(), long.lines().last()), (3000, Some("spam 3000")));
    assert!(client.exec("status").await.unwrap().contains("map     : c1m1_hotel"));
}

#[test]
fn a_taken_port_ends_a_strict_start_and_makes_another_walk() {
    let (_game, address) = Game::ready();
    let port = address.port().to_string();
    let (status, lines) = Game::start(tree(), &["-strictportbind", "-ip", "127.0.0.1", "-port", &port]).end();
    assert_eq!(status.code(), Some(1));
    assert!(lines.iter().any(|line| line == "Couldn't allocate any server IP port"), "{lines:?}");

    let mut walking = Game::start(tree(), &["-ip", "127.0.0.1", "-port", &port]);
    let line = walking.wait("ports ");
    assert!(!line.contains(&format!("ports {port} SV")), "{line}");
}

#[test]
fn packages_are_mounted_and_their_maps_can_be_played() {
    let folder = tree();
    let addons = folder.path().join("left4dead2/addons");
    let package = left4me::demo::content::vpk(&[("bsp", "maps", "l4m_lighthouse", b"VBSP")]);
    std::fs::write(addons.join("lighthouse.vpk"), package).unwrap();
    std::fs::write(addons.join("broken.vpk"), "x").unwrap();
    let port = free_port().to_string();
    let mut game = Game::start(folder, &["-port", &port, "-ip", "127.0.0.1", "+map", "l4m_lighthouse"]);
    game.wait("left4dead2/addons/broken.vpk is not a package, skipped");
    game.wait("Mounted left4dead2/addons/lighthouse.vpk");
    game.wait("ports ");
    game.type_line("status");
    assert_eq!(game.wait("map     :"), "map     : l4m_lighthouse");
}

#[test]
fn sigterm_and_sigint_end_it_well_and_a_crash_is_a_signal() {
    use rustix::process::{Pid, Signal, kill_process};
    for signal in [Signal::TERM, Signal::INT] {
        let (game, _) = Game::ready();
        kill_process(Pid::from_child(&game.child), signal).unwrap();
        let (status, lines) = game.end();
        assert!(status.success());
        assert_eq!(lines.last().map(String::as_str), Some("Server shutting down."));
    }
    let (mut game, _) = Game::ready();
    game.type_line("_simulate crash");
    assert_eq!(game.end().0.signal(), Some(Signal::ABORT.as_raw()));
}

#[test]
fn it_plays_on_when_its_console_is_closed() {
    let port = free_port().to_string();
    let folder = tree();
    let mut child = Command::new(env!("CARGO_BIN_EXE_left4me"))
        .arg0("srcds_linux")
        .args(["-ip", "127.0.0.1", "-port", &port])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    // The first visit comes seconds after the console was found closed.
    assert!(lines.any(|line| line.contains("waking up from hibernation")));
    child.kill().unwrap();
    child.wait().unwrap();
}
