//! The whole product on a folder of its own, run as an unprivileged user where the test has the right to become one.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::http::{self, Answer, Events};
use super::said::Said;
use super::{eventually, processes};

/// The user that daemons of tests run as, where the tests run as root.
pub const UID: u32 = 61_234;

/// A daemon with its folder.
pub struct Panel {
    /// Holds everything; removed at the end.
    pub folder: tempfile::TempDir,
    /// Where the page is.
    pub address: SocketAddr,
    /// The daemon.
    pub child: Child,
    /// What it logged so far.
    pub logged: Arc<Mutex<String>>,
    /// Bearer token of the admin; see [`Panel::admin`].
    token: String,
    /// Cookie and CSRF token of the admin's session.
    pub session: (String, String),
    environment: BTreeMap<String, String>,
    /// Its data lie on a file system of their own.
    is_mounted: bool,
}

/// How a panel is made.
#[derive(Default)]
pub struct Setup {
    /// Lines added to its configuration.
    pub config: Vec<String>,
    /// Variables added to its environment.
    pub environment: Vec<(&'static str, String)>,
    /// Its data lie on a file system of their own with so many MiB. Only where the test may mount; see
    /// [`may_become_another`].
    pub data_mib: Option<u64>,
}

impl Panel {
    /// A daemon with an empty store, with `--reset-admin` done and a token for programs made.
    pub fn start() -> Self {
        Self::with(Setup::default())
    }

    /// Likewise, with more configuration.
    pub fn with(setup: Setup) -> Self {
        let mut panel = Self::without_login(setup);
        panel.make_admin();
        panel
    }

    /// Likewise, without an admin and without a token: for pages that this harness cannot speak to.
    pub fn without_login(setup: Setup) -> Self {
        let folder = tempfile::Builder::new().prefix("left4me-test-").tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
        let program = folder.path().join("left4me");
        let built = binary();
        if fs::hard_link(&built, &program).is_err() {
            fs::copy(&built, &program).expect("the binary");
        }
        // SteamCMD is this binary under another name: a simulated one that behaves as domain.md says.
        std::os::unix::fs::symlink("left4me", folder.path().join("steamcmd")).expect("a link");
        for sub in ["data", "run", "data/overlays"] {
            fs::create_dir(folder.path().join(sub)).expect("a folder");
            if let ("data", Some(mib)) = (sub, setup.data_mib) {
                let options = std::ffi::CString::new(format!("size={mib}m")).expect("options");
                let flags = rustix::mount::MountFlags::empty();
                rustix::mount::mount("tmpfs", folder.path().join(sub), "tmpfs", flags, Some(options.as_c_str()))
                    .expect("a small file system");
            }
        }
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut config = vec![
            "listen: 127.0.0.1:0".to_owned(),
            format!("data_dir: {}", path("data")),
            format!("socket: {}", path("run/control.sock")),
            format!("steamcmd: {}", path("steamcmd")),
            "status_refresh_seconds: 1".to_owned(),
        ];
        if !setup.config.iter().any(|line| line.starts_with("port_range:")) {
            // Tests run beside each other on one box: each has ports of its own, below those that the kernel hands out.
            let first = 20_000 + u64::from(std::process::id() % 350) * 20;
            config.push(format!("port_range: {first}-{}", first + 19));
        }
        config.extend(setup.config);
        fs::write(folder.path().join("config.yaml"), config.join("\n") + "\n").expect("the configuration");
        if may_become_another() {
            for sub in ["data", "run", "data/overlays"] {
                chown(folder.path().join(sub), Some(UID), Some(UID)).expect("an owner");
            }
        }
        let is_mounted = setup.data_mib.is_some();
        let environment = setup.environment.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let (child, address, logged) = launch(folder.path(), &environment);
        Self {
            folder,
            address,
            child,
            logged,
            token: String::new(),
            session: Default::default(),
            environment,
            is_mounted,
        }
    }

    /// The command line on this panel's configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        command(self.folder.path(), arguments)
    }

    /// Runs the command line on this panel's configuration to its end.
    pub fn said(&self, arguments: &[&str]) -> Said {
        Said::by(self.command(arguments))
    }

    /// A folder or file below the data folder.
    pub fn data(&self, path: &str) -> PathBuf {
        self.folder.path().join("data").join(path)
    }

    /// Writes a file of a path overlay, as the admin of the box would.
    pub fn overlay_file(&self, overlay: &str, file: &str, content: &str) {
        let path = self.data("overlays").join(overlay).join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(&path, content).expect("a file");
        if may_become_another() {
            let mut part = path.as_path();
            while part != self.data("overlays") {
                chown(part, Some(UID), Some(UID)).expect("an owner");
                part = part.parent().expect("a parent");
            }
        }
    }

    /// Password of the admin, made anew by the command line while the daemon runs.
    pub fn reset_admin(&self) -> String {
        let output = self.command(&["--reset-admin"]).output().expect("the command line");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().find_map(|line| line.strip_prefix("password: ")).expect("a password").to_owned()
    }

    /// Makes the admin anew, with a token for this side; answers the password, for a browser.
    pub fn make_admin(&mut self) -> String {
        let password = self.reset_admin();
        let (cookie, csrf) = self.log_in("admin", &password);
        let answer =
            self.json_as(&cookie, &csrf, "POST", "/account/tokens", &json!({"label": "tests", "scope": "admin"}));
        answer.expect(201).json()["token"].as_str().expect("a token").clone_into(&mut self.token);
        self.session = (cookie, csrf);
        password
    }

    /// A page, as the admin's browser gets it.
    #[track_caller]
    pub fn page(&self, path: &str) -> String {
        http::send(self.address, "GET", path, &[("cookie", &self.session.0)], b"").expect(200).body
    }

    /// A form that the admin's browser sends.
    #[track_caller]
    pub fn click(&self, path: &str) -> Answer {
        let headers = [("cookie", self.session.0.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        http::send(self.address, "POST", path, &headers, form(&[("csrf_token", &self.session.1)]).as_bytes())
    }

    /// Logs in as a browser does; answers cookie and CSRF token.
    pub fn log_in(&self, username: &str, password: &str) -> (String, String) {
        let body = form(&[("username", username), ("password", password)]);
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let answer = http::send(self.address, "POST", "/login", &headers, body.as_bytes()).expect(302);
        let cookie = answer.header("set-cookie").expect("a cookie").split(';').next().expect("a value").to_owned();
        let page = http::send(self.address, "GET", "/dashboard", &[("cookie", &cookie)], b"").expect(200);
        let csrf = page.csrf();
        (cookie, csrf)
    }

    /// A JSON request on a cookie.
    pub fn json_as(&self, cookie: &str, csrf: &str, method: &str, path: &str, body: &Value) -> Answer {
        let headers = [("cookie", cookie), ("x-csrf-token", csrf), ("content-type", "application/json")];
        http::send(self.address, method, path, &headers, body.to_string().as_bytes())
    }

    /// The admin's `Authorization` header, for clients that are not this one.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// A JSON request as the admin.
    #[track_caller]
    pub fn admin(&self, method: &str, path: &str, body: &Value) -> Answer {
        let bearer = self.bearer();
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        http::send(self.address, method, path, &headers, body.as_bytes())
    }

    /// Likewise; an error where the daemon ended in the middle.
    pub fn try_admin(&self, method: &str, path: &str, body: &Value) -> std::io::Result<Answer> {
        let bearer = self.bearer();
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        http::try_send(self.address, method, path, &headers, body.to_string().as_bytes())
    }

    /// What `GET path` answers the admin.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.admin("GET", path, &Value::Null).expect(200).json()
    }

    /// A stream that the admin reads.
    pub fn events(&self, path: &str) -> Events {
        Events::open(self.address, path, &[("authorization", &self.bearer())])
    }

    /// Likewise, from behind the event with this id.
    pub fn events_after(&self, path: &str, id: &str) -> Events {
        let bearer = self.bearer();
        Events::open(self.address, path, &[("authorization", &bearer), ("last-event-id", id)])
    }

    /// Asks for an operation and waits for its end on the job's stream; answers the ended job.
    #[track_caller]
    pub fn run(&self, path: &str) -> Value {
        let job = self.admin("POST", path, &Value::Null).expect(202).json();
        self.finished(&job)
    }

    /// Waits for the end of a job on its stream.
    #[track_caller]
    pub fn finished(&self, job: &Value) -> Value {
        let id = &job["id"];
        loop {
            let job = self.get(&format!("/jobs/{id}"));
            if !matches!(job["state"].as_str(), Some("queued" | "running")) {
                return job;
            }
            // A stream that has shown its most lines says so and is opened anew.
            let path = format!("/jobs/{id}/stream?last_seq={}", job["last_seq"]);
            self.events(&path).find(|event| event.kind == "end" || event.kind == "more").expect("an end event");
        }
    }

    /// Runs an operation that must succeed.
    #[track_caller]
    pub fn must(&self, path: &str) -> Value {
        let job = self.run(path);
        assert_eq!(job["state"], "succeeded", "{job}\n{}", self.job_log(&job));
        job
    }

    /// The lines that a job, ended or not, has stored by now.
    pub fn job_log(&self, job: &Value) -> String {
        let last = self.get(&format!("/jobs/{}", job["id"]))["last_seq"].as_u64().unwrap_or(0);
        let (mut text, mut seen) = (String::new(), 0);
        while seen < last {
            for event in self.events(&format!("/jobs/{}/stream?last_seq={seen}", job["id"])) {
                match event.kind.as_str() {
                    "stdout" | "stderr" => {
                        seen = event.id.parse().expect("a number");
                        text.push_str(&event.data);
                        text.push('\n');
                    }
                    "progress" => continue,
                    _ => break,
                }
                if seen >= last {
                    break;
                }
            }
        }
        text
    }

    /// Installs the simulated game, makes a blueprint without overlays, and answers its id.
    pub fn with_game(&self) -> u64 {
        self.must("/admin/install");
        self.blueprint("plain", &[], &[])
    }

    /// Makes a blueprint; answers its id.
    #[track_caller]
    pub fn blueprint(&self, name: &str, config: &[&str], overlays: &[u64]) -> u64 {
        let body = json!({"name": name, "arguments": ["+map c1m1_hotel"], "config": config, "overlay_ids": overlays});
        self.admin("POST", "/blueprints", &body).expect(201).json()["id"].as_u64().expect("an id")
    }

    /// Makes a server on an automatic port; answers its id.
    #[track_caller]
    pub fn server(&self, name: &str, blueprint: u64) -> u64 {
        let body = json!({"name": name, "blueprint_id": blueprint});
        self.admin("POST", "/servers", &body).expect(201).json()["id"].as_u64().expect("an id")
    }

    /// The simulated game's process of a server, as this side sees it.
    #[track_caller]
    pub fn game(&self, server: u64) -> processes::Process {
        eventually("the game's process", || self.find_game(server))
    }

    /// Likewise, or nothing.
    pub fn find_game(&self, server: u64) -> Option<processes::Process> {
        let port = self.get(&format!("/servers/{server}"))["port"].as_u64()?;
        let words = format!("-port {port} ");
        processes::of_folder(self.folder.path())
            .into_iter()
            .find(|process| process.command.contains("srcds_linux") && process.command.contains(&words))
    }

    /// A process that looks like a game of another panel: a shell under the wrapper's name, of the daemon's user or of
    /// the test's. Ends with its standard input.
    pub fn stray(&self, user: bool, port: u16) -> Child {
        let script = self.folder.path().join("srcds_run");
        fs::write(&script, "#!/bin/sh\nread line\n").expect("a script");
        let mut command = Command::new("/bin/sh");
        command.arg(&script).args(["-game", "left4dead2", "-port", &port.to_string()]).stdin(Stdio::piped());
        if user && may_become_another() {
            command.uid(UID).gid(UID);
        }
        command.spawn().expect("a process")
    }

    /// Kills the daemon as the kernel would.
    pub fn kill(&mut self) {
        self.child.kill().expect("a kill");
        self.child.wait().expect("its end");
    }

    /// Ends the daemon as systemd would.
    pub fn terminate(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
        self.child.wait().expect("its end");
    }

    /// Starts the daemon again on the same folder, on a new port of the page.
    pub fn start_again(&mut self) {
        let (child, address, logged) = launch(self.folder.path(), &self.environment);
        self.child = child;
        self.address = address;
        self.logged = logged;
    }

    /// Sets or removes a variable for the next start.
    pub fn environment(&mut self, key: &str, value: Option<&str>) {
        match value {
            Some(value) => self.environment.insert(key.to_owned(), value.to_owned()),
            None => self.environment.remove(key),
        };
    }
}

impl Drop for Panel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Shims outlive the daemon by design; a test ends them.
        for process in processes::of_folder(self.folder.path()) {
            if let Some(pid) = rustix::process::Pid::from_raw(process.pid as i32) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let folder = self.folder.path().to_owned();
        eventually("the end of every process", || processes::of_folder(&folder).is_empty().then_some(()));
        if self.is_mounted {
            let _ = rustix::mount::unmount(folder.join("data"), rustix::mount::UnmountFlags::DETACH);
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        if std::thread::panicking() {
            eprintln!(
                "--- the daemon logged:\n{}",
                self.logged.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
            );
        } else {
            assert!(!mounts.contains(&*folder.to_string_lossy()), "mounts are left behind:\n{mounts}");
        }
        // `work/work` of an overlay has mode 000; the test's own clean-up may be root or not.
        let _ = Command::new("chmod").arg("-R").arg("u+rwx").arg(&folder).stderr(Stdio::null()).status();
    }
}

/// The program that is tested: what cargo built beside the test, unless `LEFT4ME_TEST_BINARY` names another.
pub fn binary() -> PathBuf {
    std::env::var_os("LEFT4ME_TEST_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_left4me").into(), PathBuf::from)
}

/// Whether the test may run programs as [`UID`].
pub fn may_become_another() -> bool {
    rustix::process::geteuid().is_root()
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(folder.join("left4me"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("RUST_BACKTRACE", "1");
    command.env("LEFT4ME_CONFIG", folder.join("config.yaml"));
    // By this `tests/run` finds processes that a test left behind.
    if let Some(run) = std::env::var_os("LEFT4ME_TESTS_RUN") {
        command.env("LEFT4ME_TESTS_RUN", run);
    }
    command.args(arguments).current_dir(folder);
    if may_become_another() {
        command.uid(UID).gid(UID);
    }
    command
}

fn launch(folder: &Path, environment: &BTreeMap<String, String>) -> (Child, SocketAddr, Arc<Mutex<String>>) {
    let config = folder.join("config.yaml");
    let mut child = command(folder, &["serve", "--config", &config.to_string_lossy()])
        .envs(environment)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the daemon");
    let logged = Arc::new(Mutex::new(String::new()));
    let mut reader = BufReader::new(child.stderr.take().expect("its log"));
    let (tell, told) = std::sync::mpsc::channel();
    let log = logged.clone();
    std::thread::spawn(move || {
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|read| read > 0) {
            if let Some((_, address)) = line.split_once("listens on http").and_then(|(_, url)| url.split_once("://")) {
                let _ = tell.send(address.trim().parse::<SocketAddr>().expect("an address"));
            }
            log.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push_str(&line);
            line.clear();
        }
    });
    if let Ok(address) = told.recv_timeout(super::PATIENCE) {
        return (child, address, logged);
    }
    let _ = child.kill();
    let _ = child.wait();
    let text = logged.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    panic!("the daemon did not come up:\n{text}");
}

/// A form's body.
pub fn form(fields: &[(&str, &str)]) -> String {
    fields.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect::<Vec<_>>().join("&")
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
