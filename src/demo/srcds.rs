//! The simulated `srcds_linux`: what runs when this binary is started under that name.
//!
//! `main` calls [`main`]. It runs in the same sandbox, under the same shim and in the same layers as the real game, and
//! knows nothing of left4me: it sees its arguments, its working folder, its console and its ports (domain.md, srcds).

use std::io::{BufRead, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::game::{Effect, Game, Options};
use super::wire::{self, Rcon};

/// Argument that makes a process which only stays.
const STRAY: &str = "-simulated-stray";
/// How long Steam takes to answer.
const STEAM_DELAY: Duration = Duration::from_millis(400);

/// What was said on the command line.
#[derive(Debug)]
struct Arguments {
    port: u16,
    ip: IpAddr,
    strict: bool,
    map: String,
    max_players: u8,
    secure: bool,
    commands: Vec<String>,
}

impl Arguments {
    fn parse(words: &[String]) -> Self {
        let mut found = Self {
            port: 27015,
            ip: Ipv4Addr::UNSPECIFIED.into(),
            strict: false,
            map: "c1m1_hotel".into(),
            max_players: 18,
            secure: true,
            commands: Vec::new(),
        };
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            let mut value = || words.next_if(|next| !next.starts_with(['-', '+'])).cloned().unwrap_or_default();
            match word.to_ascii_lowercase().as_str() {
                "-port" | "+hostport" => found.port = value().parse().unwrap_or(found.port),
                "-ip" | "+ip" => found.ip = value().parse().unwrap_or(found.ip),
                "-strictportbind" => found.strict = true,
                "-insecure" => found.secure = false,
                "-maxplayers" | "+maxplayers" => found.max_players = value().parse().unwrap_or(found.max_players),
                "+map" => found.map = value(),
                other => {
                    let value = value();
                    if let Some(command) = other.strip_prefix('+') {
                        found.commands.push(format!("{command} \"{value}\""));
                    }
                }
            }
        }
        found
    }
}

/// Runs the simulated game until it is told to quit. `arguments` without the program's name.
pub fn main(arguments: &[String]) -> ExitCode {
    if arguments.first().is_some_and(|word| word == STRAY) {
        return stray();
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("srcds_linux: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(serve(Arguments::parse(arguments)));
    // The thread that waits for the console would hold the process.
    runtime.shutdown_background();
    code
}

/// A process that stays when its parent has gone, in a session of its own.
fn stray() -> ExitCode {
    if let Err(error) = rustix::process::setsid() {
        eprintln!("srcds_linux: setsid: {error}");
    }
    loop {
        std::thread::park();
    }
}

async fn bind(arguments: &Arguments) -> Option<(UdpSocket, TcpListener, u16)> {
    let last = if arguments.strict { arguments.port } else { arguments.port.saturating_add(99) };
    for port in arguments.port..=last {
        let address = SocketAddr::new(arguments.ip, port);
        if let (Ok(udp), Ok(tcp)) = (UdpSocket::bind(address).await, TcpListener::bind(address).await) {
            return Some((udp, tcp, port));
        }
    }
    None
}

/// A command that came in over RCON, and where its output goes.
type Asked = (String, oneshot::Sender<String>);

async fn serve(arguments: Arguments) -> ExitCode {
    let Some((udp, tcp, port)) = bind(&arguments).await else {
        print("#Console initialized.\nCouldn't allocate any server IP port\n");
        return ExitCode::FAILURE;
    };
    let root = match std::env::current_dir() {
        Ok(root) => root,
        Err(error) => {
            print(&format!("the working folder is gone: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
    let mut game = Game::new(Options {
        root,
        port,
        ip: arguments.ip.to_string(),
        map: arguments.map,
        max_players: arguments.max_players,
        secure: arguments.secure,
        commands: arguments.commands,
    });
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        print("the signals cannot be watched\n");
        return ExitCode::FAILURE;
    };
    print(&game.boot());

    let (lines_in, mut lines) = mpsc::channel(64);
    std::thread::spawn(move || read_console(&lines_in));
    let (asked_in, mut asked) = mpsc::channel::<Asked>(16);
    let began = Instant::now();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let steam = tokio::time::sleep(STEAM_DELAY);
    tokio::pin!(steam);
    let mut steam_answered = false;
    let mut buffer = [0; 2048];
    let mut held = Vec::new();
    loop {
        let effect = tokio::select! {
            () = &mut steam, if !steam_answered => {
                steam_answered = true;
                print(&game.steam());
                Effect::None
            }
            _ = second.tick() => {
                print(&game.advance(began.elapsed().as_secs()));
                Effect::None
            }
            Some(line) = lines.recv() => {
                let (text, effect) = game.command(&line);
                print(&text);
                effect
            }
            Some((line, reply)) = asked.recv() => {
                let (text, effect) = game.command(&line);
                // Who asked may have gone.
                let _ = reply.send(text);
                effect
            }
            received = udp.recv_from(&mut buffer) => {
                if let Ok((length, from)) = received {
                    for reply in wire::answer(&game, from, &buffer[..length]) {
                        // Datagrams may be lost.
                        let _ = udp.send_to(&reply, from).await;
                    }
                }
                Effect::None
            }
            accepted = tcp.accept() => {
                if let Ok((stream, from)) = accepted {
                    tokio::spawn(rcon(stream, from, game.cvar("rcon_password"), asked_in.clone()));
                }
                Effect::None
            }
            _ = terminate.recv() => Effect::Quit,
            _ = interrupt.recv() => Effect::Quit,
        };
        match effect {
            Effect::None => {}
            Effect::Quit => {
                print("Server shutting down.\n");
                return ExitCode::SUCCESS;
            }
            Effect::Crash => {
                print("Segmentation fault (simulated)\n");
                std::process::abort();
            }
            Effect::Hang => loop {
                std::thread::park();
            },
            Effect::Fork => leave_stray(),
            // Written, so that the pages exist.
            Effect::Hold(mebibytes) => held.extend((0..mebibytes).map(|n| vec![n as u8 | 1; 1 << 20])),
        }
    }
}

fn leave_stray() {
    let child = std::process::Command::new("/proc/self/exe")
        .arg0("srcds_linux")
        .arg(STRAY)
        .stdin(std::process::Stdio::null())
        .spawn();
    match child {
        Ok(child) => print(&format!("left process {} behind\n", child.id())),
        Err(error) => print(&format!("fork failed: {error}\n")),
    }
}

/// Waits for lines of the console. Its end (a pty that was closed, `/dev/null`) is no reason to quit: the real game
/// plays on without a console.
fn read_console(lines: &mpsc::Sender<String>) {
    let mut stdin = std::io::stdin().lock();
    let mut bytes = Vec::new();
    while matches!(stdin.read_until(b'\n', &mut bytes), Ok(length) if length > 0) {
        let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned();
        bytes.clear();
        if lines.blocking_send(line).is_err() {
            return;
        }
    }
}

async fn rcon(mut stream: TcpStream, from: SocketAddr, password: String, commands: mpsc::Sender<Asked>) {
    let mut session = Rcon::default();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let before = session.refused;
        let Ok(taken) = session.take(&buffer[..length], &password) else { return };
        if session.refused > before {
            print(&format!("rcon from \"{from}\": Bad Password\n"));
        }
        for step in taken {
            let out = match step {
                wire::Step::Say(bytes) => bytes,
                wire::Step::Run(id, line) => {
                    let (reply, answer) = oneshot::channel();
                    if commands.send((line, reply)).await.is_err() {
                        return;
                    }
                    wire::rcon_answer(id, &answer.await.unwrap_or_default())
                }
            };
            if stream.write_all(&out).await.is_err() {
                return;
            }
        }
    }
}

/// Prints, line by line. A console that is gone is no reason to end.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
