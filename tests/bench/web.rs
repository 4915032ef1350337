//! Rows 1 and 2: the dashboard and the list of servers, beside a bare server of the same bytes; and with readers of events.
//!
//! All the while one server a second gets another name: a page that is only remembered would be the wrong one.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use crate::bare::Bare;
use crate::fill;
use crate::support::http;
use crate::support::panel::{Panel, Setup};
use crate::table::{Goal, Rounds, Row};
use crate::wire::{Connection, wrk};

const SERVERS: usize = 50;
const PORTS: (u16, u16) = (27_100, 27_199);
const ROUNDS: usize = 5;
/// Seconds of one round of one server.
const SECONDS: u64 = 2;
/// Readers of events, and users and addresses that they are spread over: one may hold 32 streams.
const READERS: usize = 200;
const USERS: usize = 7;

/// Measures both rows.
pub fn measure() -> Vec<Row> {
    let mut panel =
        Panel::with(Setup { config: vec![format!("port_range: {}-{}", PORTS.0, PORTS.1)], ..Setup::default() });
    let (servers, cookies) = fill::filled(&mut panel, PORTS, |store| (store.servers(SERVERS), store.admins(USERS)));
    let cookie = panel.session.0.clone();
    let bearer = panel.bearer();
    let (as_browser, as_program) = ([("cookie", cookie.as_str())], [("authorization", bearer.as_str())]);
    let page = panel.page("/dashboard");
    assert!(page.matches("Friday coop").count() >= SERVERS, "the page shows every server");
    let json = http::send(panel.address, "GET", "/servers", &as_program, b"").expect(200).body;
    let bare = Bare::start(&page, &json);
    for (path, wanted) in [("/page", &page), ("/json", &json)] {
        let same = http::send(bare.address, "GET", path, &[], b"").expect(200).body;
        assert_eq!(same.len(), wanted.len(), "the limit answers as many bytes");
    }

    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| keep_changing(panel.address, &bearer, servers[0].0, &ended));
        let rows = both(&panel, &bare, &as_browser, &as_program, &cookies, page.len(), json.len());
        ended.store(true, Ordering::Relaxed);
        rows
    })
}

fn both(
    panel: &Panel,
    bare: &Bare,
    as_browser: &[(&str, &str)],
    as_program: &[(&str, &str)],
    cookies: &[String],
    page: usize,
    json: usize,
) -> Vec<Row> {
    let run = |address, path: &str, headers: &[(&str, &str)]| wrk(address, path, headers, SECONDS);
    if run(bare.address, "/page", &[]).is_none() {
        return [1, 2].map(|row| Row::not_measured(row, "pages", "wrk is missing: apt-get install wrk")).into();
    }
    let run = |address, path: &str, headers: &[(&str, &str)]| run(address, path, headers).expect("wrk");
    // Warm both.
    run(panel.address, "/dashboard", as_browser);
    let mut pages = Rounds::beside("bare warp + maud, same bytes");
    let mut lists = Rounds::beside("bare warp JSON, same bytes");
    let mut followed = Rounds::beside("the same without readers");
    for _ in 0..ROUNDS {
        pages.add(run(panel.address, "/dashboard", as_browser), run(bare.address, "/page", &[]));
        lists.add(run(panel.address, "/servers", as_program), run(bare.address, "/json", &[]));
    }
    for _ in 0..ROUNDS {
        let without = run(panel.address, "/dashboard", as_browser);
        let readers = Readers::open(panel.address, cookies);
        let with = run(panel.address, "/dashboard", as_browser);
        assert!(readers.close() > 0, "the readers were told of changes");
        followed.add(with, without);
    }
    let kib = |bytes: usize| bytes / 1024;
    vec![
        Row::rounds(
            1,
            format!("dashboard of {SERVERS} servers, logged in ({} KiB)", kib(page)),
            "pages/s",
            &pages,
            Goal::RatioAtLeast(0.5),
        ),
        Row::rounds(
            2,
            format!("JSON of {SERVERS} servers ({} KiB)", kib(json)),
            "answers/s",
            &lists,
            Goal::RatioAtLeast(0.5),
        ),
        Row::rounds(
            2,
            format!("dashboard while {READERS} readers follow events"),
            "pages/s",
            &followed,
            Goal::RatioAtLeast(0.8),
        ),
    ]
}

/// Gives a server another name each second.
fn keep_changing(address: SocketAddr, bearer: &str, server: u64, ended: &AtomicBool) {
    let mut connection = Connection::to(address, &[("authorization", bearer), ("content-type", "application/json")]);
    let mut number = 0_u64;
    while !ended.load(Ordering::Relaxed) {
        number += 1;
        let body = format!("{{\"name\":\"Friday coop {:03}\"}}", number % 1000);
        connection.ask("PATCH", &format!("/servers/{server}"), &body);
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Browsers that hold their stream of events open.
struct Readers {
    streams: Vec<std::net::TcpStream>,
    bytes: std::sync::Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Readers {
    fn open(address: SocketAddr, cookies: &[String]) -> Self {
        let bytes = std::sync::Arc::new(AtomicU64::new(0));
        let (mut streams, mut threads) = (Vec::new(), Vec::new());
        for reader in 0..READERS {
            // An address of its own for each user: one may hold 64 streams.
            let from: SocketAddr = format!("127.0.1.{}:0", 1 + reader % USERS).parse().expect("an address");
            let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
            bind(&socket, &from).expect("an address of this machine");
            connect(&socket, &address).expect("a connection");
            let mut stream = std::net::TcpStream::from(socket);
            let cookie = &cookies[reader % USERS];
            write!(
                stream,
                "GET /events HTTP/1.1\r\nhost: {address}\r\ncookie: {cookie}\r\naccept: text/event-stream\r\n\r\n"
            )
            .expect("a request");
            let mut reading = stream.try_clone().expect("a descriptor");
            let mut buffer = [0; 4096];
            let read = reading.read(&mut buffer).expect("an answer");
            assert!(buffer[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..read]));
            let counted = bytes.clone();
            threads.push(std::thread::spawn(move || {
                while let Ok(read @ 1..) = reading.read(&mut buffer) {
                    counted.fetch_add(read as u64, Ordering::Relaxed);
                }
            }));
            streams.push(stream);
        }
        Self { streams, bytes, threads }
    }

    /// Ends them; answers how many bytes they were sent after the first answer.
    fn close(self) -> u64 {
        for stream in &self.streams {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        for thread in self.threads {
            thread.join().expect("a reader");
        }
        self.bytes.load(Ordering::Relaxed)
    }
}
