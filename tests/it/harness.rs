//! A site on a port of its own with a store in a folder of its own, a machine whose consoles are in memory, and a small
//! HTTP client. Dropping a site ends it and removes the folder.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use left4me::domain::overlays::NewRevision;
use left4me::domain::{Domain, Rules};
use left4me::host::archive::{self, Caps, Upload};
use left4me::host::history;
use left4me::host::instance::{self, InstanceError};
use left4me::host::paths::{Paths, Run};
use left4me::host::{stack, written};
use left4me::live::Hub;
use left4me::model::id::{HostId, OverlayId, ServerId};
use left4me::model::layers::{LayerSearch, StackLayer};
use left4me::model::machine::{
    Arriving, Check, ConsoleChunk, ConsoleCursor, ConsoleError, Facts, FileEntry, FilesError, Later, Machine, Outcome,
    ResetError, Sample, StrayError, WrittenFolder,
};
use left4me::model::port::{Listeners, PortRange, StrayGame};
use left4me::model::spec::InstanceSpec;
use left4me::model::time::Timestamp;
use left4me::model::user::Actor;
use left4me::store::Store;
use left4me::web::server::{Limits, serve_tcp};
use left4me::web::session::csrf_token;
use left4me::web::{Settings, Web};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A password that every user of the tests has.
pub const PASSWORD: &str = "correct horse battery staple";
/// No answer takes longer; a test that waits for it fails.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// What a box of the tests has free.
pub const FREE_BYTES: u64 = 5 << 30;

/// What a game printed, and who is told when it prints.
type Console = (Vec<u8>, watch::Sender<ConsoleCursor>);

/// Consoles in memory, files as they are.
pub struct FakeMachine {
    /// Where the files are.
    pub paths: Paths,
    consoles: Mutex<HashMap<ServerId, Console>>,
    /// Lines that were typed; servers that are in it run.
    pub typed: Mutex<HashMap<ServerId, Vec<String>>>,
    /// What is known of games.
    pub facts: Mutex<HashMap<ServerId, Facts>>,
    /// Strangers on the box.
    pub listeners: Mutex<Listeners>,
    /// Games that no server owns.
    pub strays: Mutex<Vec<StrayGame>>,
    /// Tests change what is above by hand: unless this is set, everything may have changed each time somebody asks.
    pub calm: AtomicBool,
    changes: AtomicU64,
}

impl FakeMachine {
    /// The game prints.
    pub fn print(&self, server: ServerId, text: &str) {
        let mut consoles = self.consoles.lock().unwrap();
        let (bytes, grown) = consoles.entry(server).or_default();
        bytes.extend_from_slice(text.as_bytes());
        grown.send_replace(bytes.len() as u64);
    }

    /// The game runs.
    pub fn run(&self, server: ServerId) {
        self.typed.lock().unwrap().insert(server, Vec::new());
    }
}

impl Machine for FakeMachine {
    fn listeners(&self, _: &[u16]) -> Listeners {
        self.listeners.lock().unwrap().clone()
    }

    fn strays(&self) -> Vec<StrayGame> {
        self.strays.lock().unwrap().clone()
    }

    fn end_stray(&self, pid: u32, start_time: u64) -> Result<(), StrayError> {
        let mut strays = self.strays.lock().unwrap();
        let at = strays.iter().position(|game| (game.pid, game.start_time) == (pid, start_time));
        strays.remove(at.ok_or(StrayError::Gone(pid))?);
        Ok(())
    }

    fn console_read(&self, server: ServerId, from: ConsoleCursor, max: usize) -> Result<ConsoleChunk, ConsoleError> {
        let consoles = self.consoles.lock().unwrap();
        let bytes = consoles.get(&server).map_or(&[][..], |(bytes, _)| bytes);
        let start = usize::try_from(from).unwrap().min(bytes.len());
        let end = (start + max).min(bytes.len());
        Ok(ConsoleChunk { start: start as u64, bytes: bytes[start..end].to_vec() })
    }

    fn console_tail(&self, server: ServerId, lines: usize) -> Result<ConsoleCursor, ConsoleError> {
        let consoles = self.consoles.lock().unwrap();
        let bytes = consoles.get(&server).map_or(&[][..], |(bytes, _)| bytes);
        let starts: Vec<usize> = std::iter::once(0)
            .chain(bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1))
            .collect();
        Ok(starts[starts.len().saturating_sub(lines + 1)] as u64)
    }

    fn console_grown(&self, server: ServerId) -> watch::Receiver<ConsoleCursor> {
        self.consoles.lock().unwrap().entry(server).or_default().1.subscribe()
    }

    fn console_send(&self, server: ServerId, line: String) -> Later<'_, Result<(), ConsoleError>> {
        Box::pin(async move {
            self.typed.lock().unwrap().get_mut(&server).ok_or(ConsoleError::NotRunning)?.push(line);
            Ok(())
        })
    }

    fn changes(&self) -> u64 {
        let more = u64::from(!self.calm.load(Ordering::SeqCst));
        self.changes.fetch_add(more, Ordering::SeqCst) + more
    }

    fn facts(&self, server: ServerId) -> Option<Facts> {
        self.facts.lock().unwrap().get(&server).cloned()
    }

    fn history(&self, server: ServerId) -> Vec<Sample> {
        let run = Run::Server(HostId::of(server));
        history::read(&self.paths, run, Timestamp::now()).unwrap()
    }

    fn upload(&self, overlay: OverlayId) -> Result<Box<dyn Arriving>, FilesError> {
        Ok(Box::new(Upload::begin(&self.paths, overlay, Caps::default())?))
    }

    fn revision_folder(&self, overlay: OverlayId, number: u64, path: &str) -> Result<Vec<FileEntry>, FilesError> {
        archive::list(&self.paths, overlay, number, path)
    }

    fn written_files(&self, server: ServerId, path: &str) -> Result<WrittenFolder, FilesError> {
        written::list(&self.paths, HostId::of(server), path)
    }

    fn search_layers(&self, layers: &[StackLayer], wanted: &str) -> LayerSearch {
        stack::search(&self.paths, layers, wanted)
    }

    fn layer_text(&self, layer: &StackLayer, path: &str) -> Result<String, FilesError> {
        stack::text(&self.paths, layer, path)
    }

    fn doctor(&self) -> Vec<Check> {
        vec![Check::new("box", Outcome::Warning, "made of <paper>")]
    }

    fn reset_layer(&self, server: ServerId) -> Result<(), ResetError> {
        instance::reset_layer(&self.paths, HostId::of(server)).map_err(|error| match error {
            InstanceError::Running(_) => ResetError::Running,
            other => ResetError::Machine(other.to_string()),
        })
    }

    fn free_bytes(&self) -> Option<u64> {
        Some(FREE_BYTES)
    }

    fn written_spec(&self, server: ServerId) -> Option<InstanceSpec> {
        instance::read_spec(&self.paths, HostId::of(server)).ok()
    }
}

/// A running site.
pub struct Site {
    pub address: SocketAddr,
    pub domain: Domain,
    pub machine: Arc<FakeMachine>,
    pub web: Arc<Web>,
    pub stop: watch::Sender<bool>,
    pub server: Option<JoinHandle<()>>,
    pub folder: tempfile::TempDir,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

impl Site {
    pub async fn start() -> Self {
        Self::start_with(|_, _| {}).await
    }

    /// A site whose settings and rules are changed first.
    pub async fn start_with(change: impl FnOnce(&mut Settings, &mut Rules)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let overlay_root = folder.path().join("overlays");
        std::fs::create_dir(&overlay_root).unwrap();
        let mut rules = Rules {
            port_range: PortRange { first: 42015, last: 42034 },
            max_servers_per_user: 10,
            overlay_root,
            data_dir: folder.path().to_owned(),
            signup_open: true,
            log_line_max_chars: 4096,
            log_replay_limit: 2000,
        };
        let mut settings =
            Settings { limits: Limits { drain: Duration::from_secs(2), ..Limits::default() }, ..Settings::default() };
        change(&mut settings, &mut rules);
        let store = Store::open(&folder.path().join("left4me.redb"), Hub::new()).unwrap();
        let machine = Arc::new(FakeMachine {
            paths: Paths::new(rules.data_dir.clone(), rules.overlay_root.clone()),
            consoles: Mutex::default(),
            typed: Mutex::default(),
            strays: Mutex::default(),
            facts: Mutex::default(),
            listeners: Mutex::default(),
            calm: AtomicBool::default(),
            changes: AtomicU64::default(),
        });
        let domain = Domain::new(store, rules);
        let (stop, stopped) = watch::channel(false);
        let seam: Arc<dyn Machine> = machine.clone();
        let web = Web::new(domain.clone(), seam, settings, stopped.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Some(tokio::spawn(serve_tcp(Arc::clone(&web), listener, stopped)));
        Self { address, domain, machine, web, stop, server, folder }
    }

    /// A blocking operation on the domain.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Domain) -> T + Send + 'static) -> T {
        let domain = self.domain.clone();
        tokio::task::spawn_blocking(move || work(&domain)).await.unwrap()
    }

    /// A managed overlay with a revision, without its files.
    pub async fn managed_overlay(&self, admin: &Client, name: &str) -> u64 {
        let made = admin.json("POST", "/admin/overlays", json!({ "name": name })).await.is(201).json();
        let id = made["id"].as_u64().unwrap();
        self.publish_revision(id).await;
        id
    }

    /// Another revision of a managed overlay, without its files.
    pub async fn publish_revision(&self, overlay: u64) {
        let id = OverlayId(overlay);
        self.run(move |domain| {
            let system = Actor::system();
            let number = domain.begin_revision(&system, id).unwrap();
            let new = NewRevision { number, upload_name: "x.zip".into(), files: 1, bytes: 1, warnings: vec![] };
            domain.publish_revision(&system, id, new).unwrap();
        })
        .await;
    }

    /// Nobody.
    pub fn guest(&self) -> Client {
        Client { address: self.address, cookie: None, csrf: String::new(), bearer: None }
    }

    /// A new user, signed in.
    pub async fn user(&self, name: &str) -> Client {
        let name = name.to_owned();
        let (token, _) = self.run(move |domain| domain.sign_up("test", &name, PASSWORD).unwrap()).await;
        self.guest().with_session(&token.0)
    }

    /// The admin, signed in.
    pub async fn admin(&self) -> Client {
        let token = self
            .run(|domain| {
                let (user, password) = domain.reset_admin("admin").unwrap();
                domain.log_in("test", &user.username, &password, None).unwrap().0
            })
            .await;
        self.guest().with_session(&token.0)
    }
}

/// Somebody who asks.
#[derive(Clone)]
pub struct Client {
    pub address: SocketAddr,
    pub cookie: Option<String>,
    pub csrf: String,
    pub bearer: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub struct Got {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts the status, showing the body when it is another.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{:?} {}", self.headers, self.body);
        self
    }

    /// Asserts that the fault, if any, is the client's.
    #[track_caller]
    pub fn not_500(self) -> Self {
        assert!(self.status.as_u16() < 500, "{}", self.body);
        self
    }
}

impl Client {
    pub fn with_session(&self, token: &str) -> Self {
        Self { cookie: Some(format!("left4me={token}")), csrf: csrf_token(token), ..self.clone() }
    }

    pub fn with_bearer(&self, token: &str) -> Self {
        Self { bearer: Some(token.to_owned()), ..self.clone() }
    }

    /// A request with headers and body as they are.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Got {
        let sent = async {
            let (parts, body) = self.open(method, path, headers, body).await.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Got { status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&body).into_owned() }
        };
        tokio::time::timeout(DEADLINE, sent).await.unwrap_or_else(|_| panic!("{method} {path} was not answered"))
    }

    /// The same, with the body still to come.
    pub async fn open(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response<Incoming> {
        self.open_bytes(method, path, headers, Bytes::from(body.to_owned())).await
    }

    /// The same with any bytes.
    pub async fn open_bytes(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", self.address.to_string());
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        if let Some(bearer) = &self.bearer {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        sender.send_request(request.body(Full::new(body)).unwrap()).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Got {
        self.send("GET", path, &[], "").await
    }

    pub async fn get_json(&self, path: &str) -> Got {
        self.send("GET", path, &[("accept", "application/json")], "").await
    }

    /// JSON with the form token.
    pub async fn json(&self, method: &str, path: &str, body: Value) -> Got {
        let headers = [("content-type", "application/json"), ("x-csrf-token", self.csrf.as_str())];
        self.send(method, path, &headers, &body.to_string()).await
    }

    /// A form with the form token.
    pub async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Got {
        let body: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("csrf_token", &self.csrf)
            .extend_pairs(fields)
            .finish();
        self.send("POST", path, &[("content-type", "application/x-www-form-urlencoded")], &body).await
    }

    /// A stream of events.
    pub async fn stream(&self, path: &str, headers: &[(&str, &str)]) -> Events {
        let mut headers = headers.to_vec();
        headers.push(("accept", "text/event-stream"));
        let response = self.open("GET", path, &headers, "").await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Events { body: response.into_body(), text: String::new() }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    pub id: String,
    pub name: String,
    pub data: String,
}

/// A stream that is read.
pub struct Events {
    body: Incoming,
    text: String,
}

impl Events {
    /// The next event; `None` when the stream has ended. Comments are skipped.
    pub async fn next(&mut self) -> Option<Event> {
        tokio::time::timeout(DEADLINE, self.read()).await.expect("no event came")
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                assert!(!block.contains('\r'), "{block:?}");
                let mut event = Event::default();
                for line in block.lines().filter(|line| !line.starts_with(':')) {
                    let (name, value) = line.split_once(':').unwrap_or((line, ""));
                    let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
                    match name {
                        "id" => event.id = value,
                        "event" => event.name = value,
                        "data" => event.data = value,
                        "" => {}
                        other => panic!("unknown line {other:?}"),
                    }
                }
                if event != Event::default() {
                    return Some(event);
                }
                continue;
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.text.push_str(std::str::from_utf8(&data).unwrap());
                    }
                }
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// As many as asked for.
    pub async fn take(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        for _ in 0..count {
            events.push(self.next().await.expect("the stream ended early"));
        }
        events
    }
}

/// Makes an object; answers its id.
pub async fn made(client: &Client, path: &str, body: Value) -> u64 {
    client.json("POST", path, body).await.is(201).json()["id"].as_u64().unwrap()
}

/// Makes an empty blueprint.
pub async fn blueprint(client: &Client, name: &str) -> u64 {
    made(client, "/blueprints", json!({ "name": name })).await
}

/// Makes a server on an automatic port.
pub async fn server(client: &Client, name: &str, blueprint: u64) -> u64 {
    made(client, "/servers", json!({ "name": name, "blueprint_id": blueprint })).await
}
