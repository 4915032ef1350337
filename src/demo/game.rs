//! The simulated game itself: console variables, commands, maps, players. No sockets and no clock of its own.
//!
//! [`super::srcds`] feeds it lines and seconds and prints what it answers. It reads and writes only below its root, as
//! the real game does in its working folder; a file that cannot be written is said on the console, never fatal.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::bots::{Crowd, Dice, Visit};
use super::content::GAME_VERSION;

/// Deepest nesting of `exec`.
const EXEC_DEPTH: u8 = 8;

/// How the game was started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Working folder: the merged tree.
    pub root: PathBuf,
    /// Port that was bound.
    pub port: u16,
    /// Address of `-ip`.
    pub ip: String,
    /// Map of `+map`.
    pub map: String,
    /// Most players.
    pub max_players: u8,
    /// `-insecure` turns VAC off.
    pub secure: bool,
    /// The other `+command value` pairs, in order.
    pub commands: Vec<String>,
}

/// What a line asks of the process, beyond what it prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// End well.
    Quit,
    /// End by a signal, as after a bad access.
    Crash,
    /// Answer nothing any more, signals included.
    Hang,
    /// Leave a process behind.
    Fork,
    /// Hold that many MiB.
    Hold(u64),
}

/// The game.
#[derive(Debug)]
pub struct Game {
    options: Options,
    cvars: BTreeMap<String, String>,
    map: String,
    crowd: Crowd,
    seconds: u64,
    secret: u64,
    log: Option<std::fs::File>,
    out: String,
    effect: Effect,
}

const CVARS: [(&str, &str); 14] = [
    ("hostname", "Left 4 Dead 2"),
    ("rcon_password", ""),
    ("sv_password", ""),
    ("sv_tags", ""),
    ("sv_cheats", "0"),
    ("sv_lan", "0"),
    ("sv_region", "255"),
    ("sv_steamgroup", ""),
    ("mp_gamemode", "coop"),
    ("z_difficulty", "Normal"),
    ("sv_allow_lobby_connect_only", "1"),
    ("sv_alltalk", "0"),
    ("log", "0"),
    ("tv_enable", "0"),
];
/// Families of variables that the game or its packs know; a name outside them is an unknown command.
const FAMILIES: [&str; 12] =
    ["sv_", "mp_", "z_", "tv_", "director_", "survivor_", "versus_", "net_", "nb_", "fps_", "sm_", "l4d_"];

impl Game {
    /// The game before its first map.
    pub fn new(options: Options) -> Self {
        let seed = u64::from(options.port);
        Self {
            cvars: CVARS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            map: options.map.clone(),
            crowd: Crowd::new(seed),
            seconds: 0,
            secret: u64::from(std::process::id()) << 32 | Dice::new(seed).below(u64::from(u32::MAX)),
            log: None,
            out: String::new(),
            effect: Effect::None,
            options,
        }
    }

    /// Value of a variable; empty when it has none.
    pub fn cvar(&self, name: &str) -> String {
        self.cvars.get(name).cloned().unwrap_or_default()
    }
    /// Variables that A2S_RULES shows: no secrets.
    pub fn public_cvars(&self) -> Vec<(String, String)> {
        let public = |name: &&String| !name.contains("password") && *name != "hostname";
        self.cvars.iter().filter(|(name, _)| public(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
    }
    /// Map that is played.
    pub fn map(&self) -> &str {
        &self.map
    }
    /// Who plays.
    pub fn crowd(&self) -> &Crowd {
        &self.crowd
    }
    /// Most players.
    pub fn max_players(&self) -> u8 {
        self.options.max_players
    }
    /// Whether VAC is on.
    pub fn secure(&self) -> bool {
        self.options.secure
    }
    /// Port of the game.
    pub fn port(&self) -> u16 {
        self.options.port
    }
    /// Seconds since the start.
    pub fn seconds(&self) -> u64 {
        self.seconds
    }
    /// What challenges are made from.
    pub fn secret(&self) -> u64 {
        self.secret
    }

    /// The boot log up to the ready line, in the order of the real one.
    pub fn boot(&mut self) -> String {
        self.say("#Console initialized.");
        self.say("#Game_srv.so loaded for \"Left 4 Dead 2\"");
        self.mount_addons();
        self.exec("valve.rc", 0);
        self.say("Server is hibernating");
        let text = format!("maxplayers set to {}", self.options.max_players);
        self.say(&text);
        for command in self.options.commands.clone() {
            self.run(&command, 0);
        }
        let map = self.options.map.clone();
        self.load(&map);
        let (ip, port) = (&self.options.ip, self.options.port);
        let text = format!("Network: IP {ip}, mode MP, dedicated Yes, ports {port} SV / 0 CL");
        self.say(&text);
        self.take()
    }

    /// What Steam says once it answers.
    pub fn steam(&mut self) -> String {
        self.say("Connection to Steam servers successful.");
        self.say(if self.options.secure { "VAC secure mode is activated." } else { "VAC secure mode disabled." });
        self.take()
    }

    /// Types a line into the console.
    pub fn command(&mut self, line: &str) -> (String, Effect) {
        self.run(line, 0);
        (self.take(), std::mem::replace(&mut self.effect, Effect::None))
    }

    /// Lives on until `seconds` after the start.
    pub fn advance(&mut self, seconds: u64) -> String {
        self.seconds = seconds;
        let was_empty = self.crowd.humans() == 0;
        for visit in self.crowd.advance(seconds) {
            match visit {
                Visit::Joined(player) if player.account.is_some() => {
                    let text = format!("Client \"{}\" connected ({}).", player.name, player.address());
                    self.say(&text);
                    self.note(&format!(
                        "\"{}<{}><{}><>\" entered the game",
                        player.name,
                        player.userid,
                        player.steam_id()
                    ));
                }
                Visit::Left(player, reason) if player.account.is_some() => {
                    let text = format!("Dropped {} from server ({reason})", player.name);
                    self.say(&text);
                    self.note(&format!("\"{}<{}><{}><>\" disconnected", player.name, player.userid, player.steam_id()));
                }
                Visit::Joined(_) | Visit::Left(..) => {}
            }
        }
        match (was_empty, self.crowd.humans() == 0) {
            (true, false) => self.say("Server waking up from hibernation"),
            (false, true) => self.say("Server is hibernating"),
            (true, true) | (false, false) => {}
        }
        self.take()
    }

    fn say(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn take(&mut self) -> String {
        std::mem::take(&mut self.out)
    }

    /// A line of the game's own log, when `log on` was said.
    fn note(&mut self, text: &str) {
        let stamp = jiff::Timestamp::now().strftime("%m/%d/%Y - %H:%M:%S").to_string();
        let failed = match self.log.as_mut() {
            Some(file) => writeln!(file, "L {stamp}: {text}").is_err(),
            None => false,
        };
        if failed {
            self.log = None;
            self.say("Unable to write the log file; logging is off.");
        }
    }

    fn set_log(&mut self, on: bool) {
        if !on {
            self.log = None;
            return;
        }
        if self.log.is_some() {
            return;
        }
        let folder = self.options.root.join("left4dead2/logs");
        let name = format!("L{}.log", jiff::Timestamp::now().strftime("%m%d%H%M%S"));
        let file = std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::OpenOptions::new().create(true).append(true).open(folder.join(&name)));
        match file {
            Ok(file) => {
                self.log = Some(file);
                let text = format!("Server logging data to file logs/{name}");
                self.say(&text);
                self.note(&format!(
                    "Log file started (file \"logs/{name}\") (game \"left4dead2\") (version \"{GAME_VERSION}\")"
                ));
            }
            Err(error) => {
                let text = format!("Unable to open log file logs/{name}: {error}");
                self.say(&text);
            }
        }
    }

    fn mount_addons(&mut self) {
        let mut packages: Vec<PathBuf> = std::fs::read_dir(self.options.root.join("left4dead2/addons"))
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        packages.retain(|path| path.extension().is_some_and(|extension| extension == "vpk"));
        packages.sort();
        for path in packages {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = match std::fs::read(&path) {
                Ok(bytes) if bytes.starts_with(&0x55aa_1234_u32.to_le_bytes()) => {
                    format!("Mounted left4dead2/addons/{name} ({} bytes)", bytes.len())
                }
                Ok(_) => format!("left4dead2/addons/{name} is not a package, skipped"),
                Err(error) => format!("left4dead2/addons/{name} cannot be read: {error}"),
            };
            self.say(&text);
        }
    }

    /// Whether a map lies in the tree or in a mounted package.
    fn has_map(&self, map: &str) -> bool {
        if map.is_empty() || map.contains(['/', '\\', '.']) {
            return false;
        }
        let game = self.options.root.join("left4dead2");
        if game.join(format!("maps/{map}.bsp")).exists() {
            return true;
        }
        let packages = std::fs::read_dir(game.join("addons")).into_iter().flatten().flatten();
        let packages = packages.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "vpk"));
        let wanted = format!("\0{map}\0");
        packages
            .filter_map(|path| std::fs::read(path).ok())
            .any(|bytes| bytes.windows(wanted.len()).any(|window| window == wanted.as_bytes()))
    }

    fn load(&mut self, map: &str) -> bool {
        if !self.has_map(map) {
            let text = format!(
                "CModelLoader::Map_IsValid:  No such map 'maps/{map}.bsp'\nmap load failed: {map} not found or invalid"
            );
            self.say(&text);
            return false;
        }
        map.clone_into(&mut self.map);
        self.say("Executing dedicated server config file server.cfg");
        self.exec("server.cfg", 0);
        let text = format!("Started map \"{map}\"");
        self.note(&text);
        self.say("Initializing Director Script");
        true
    }

    fn exec(&mut self, name: &str, depth: u8) {
        let complete = matches!(Path::new(name).extension().and_then(OsStr::to_str), Some("cfg" | "rc"));
        let name = if complete { name.to_owned() } else { format!("{name}.cfg") };
        if depth > EXEC_DEPTH || name.contains("..") || name.starts_with('/') {
            let text = format!("exec: '{name}' refused");
            return self.say(&text);
        }
        let path = self.options.root.join("left4dead2/cfg").join(&name);
        if let Ok(bytes) = std::fs::read(path) {
            for line in String::from_utf8_lossy(&bytes).lines() {
                self.run(line, depth + 1);
            }
        } else {
            let text = format!("'{name}' not present; not executing.");
            self.say(&text);
        }
    }

    /// One line: commands parted by semicolons outside quotes, comments after `//`.
    fn run(&mut self, line: &str, depth: u8) {
        for words in split_line(line) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            self.run_words(&words, depth);
        }
    }

    fn run_words(&mut self, words: &[&str], depth: u8) {
        let Some((name, arguments)) = words.split_first() else { return };
        let first = arguments.first().copied();
        match (name.to_ascii_lowercase().as_str(), first) {
            ("quit" | "exit", _) => self.effect = Effect::Quit,
            ("status", _) => self.status(),
            ("users", _) => self.users(),
            ("version", _) => {
                let text = format!(
                    "Protocol version 2100\nExe version {GAME_VERSION} (left4dead2)\nExe build: 14:19:44 Oct 16 2024 (9421) (550)"
                );
                self.say(&text);
            }
            ("echo", _) => {
                let text = arguments.join(" ");
                self.say(&text);
            }
            ("say", _) => {
                let text = arguments.join(" ");
                self.note(&format!("\"Console<0><Console><Console>\" say \"{text}\""));
                self.say(&format!("Console: {text}"));
            }
            ("exec", Some(file)) => self.exec(file, depth),
            ("map" | "changelevel", Some(map)) => {
                if self.load(map) {
                    let text = format!("Changed level to {map}, {} players stay", self.crowd.players().len());
                    self.say(&text);
                }
            }
            ("maps", _) => self.maps(first.unwrap_or("*")),
            ("kick" | "kickid", Some(_)) => self.kick(&arguments.join(" ")),
            ("log", Some(word)) => self.set_log(word == "on" || word == "1"),
            ("_simulate", Some(what)) => {
                self.simulate(what, arguments.get(1).and_then(|n| n.parse().ok()).unwrap_or(1));
            }
            ("exec" | "map" | "changelevel" | "kick" | "kickid" | "_simulate", None) => {
                let text = format!("Usage: {name} <name>");
                self.say(&text);
            }
            (known, _) => self.variable(name, known, arguments),
        }
    }

    fn variable(&mut self, written: &str, name: &str, arguments: &[&str]) {
        let family = FAMILIES.iter().any(|family| name.starts_with(family));
        match (self.cvars.get(name), arguments.is_empty()) {
            (Some(value), true) => {
                let value = if name.contains("password") && !value.is_empty() { "***PROTECTED***" } else { value };
                let text = format!("\"{name}\" = \"{value}\"");
                self.say(&text);
            }
            (Some(_), false) => {
                self.cvars.insert(name.to_owned(), arguments.join(" "));
            }
            (None, false) if family => {
                self.cvars.insert(name.to_owned(), arguments.join(" "));
            }
            (None, _) => {
                let text = format!("Unknown command \"{written}\"");
                self.say(&text);
            }
        }
    }

    fn status(&mut self) {
        let (humans, bots) = (self.crowd.humans(), self.crowd.bots());
        let mut text = String::new();
        let secure = if self.options.secure { "secure" } else { "insecure" };
        let sleeping = if humans == 0 { "hibernating" } else { "not hibernating" };
        let ip = &self.options.ip;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "hostname: {}", self.cvar("hostname"));
        let _ = writeln!(text, "version : {GAME_VERSION} 9421 {secure}  (unknown)");
        let _ = writeln!(text, "udp/ip  : {ip}:{} [ public 203.0.113.7:{} ]", self.options.port, self.options.port);
        let _ = writeln!(text, "os      : Linux Dedicated");
        let _ = writeln!(text, "map     : {}", self.map);
        let _ = writeln!(
            text,
            "players : {humans} humans, {bots} bots ({} max) ({sleeping}) (unreserved)",
            self.options.max_players
        );
        let _ = writeln!(text, "\n# userid name uniqueid connected ping loss state rate adr");
        for (slot, player) in self.crowd.players().iter().enumerate() {
            let since = self.seconds.saturating_sub(player.since);
            let connected = if since >= 3600 {
                format!("{}:{:02}:{:02}", since / 3600, since / 60 % 60, since % 60)
            } else {
                format!("{:02}:{:02}", since / 60, since % 60)
            };
            let _ = if player.account.is_some() {
                let ping = 20 + player.userid * 7 % 90;
                let (userid, name, id) = (player.userid, &player.name, player.steam_id());
                writeln!(
                    text,
                    "#{userid:>3} {} \"{name}\" {id} {connected} {ping} 0 active 30000 {}",
                    slot + 1,
                    player.address()
                )
            } else {
                writeln!(text, "#{:>3} \"{}\" BOT active", player.userid, player.name)
            };
        }
        text.push_str("#end");
        self.say(&text);
    }

    fn users(&mut self) {
        let lines: Vec<String> =
            self.crowd.players().iter().map(|player| format!("{}:{}:\"{}\"", 0, player.userid, player.name)).collect();
        let text = format!(
            "<slot:userid:\"name\">\n{}{}{} users",
            lines.join("\n"),
            if lines.is_empty() { "" } else { "\n" },
            lines.len()
        );
        self.say(&text);
    }

    fn maps(&mut self, pattern: &str) {
        let wanted = pattern.trim_matches('*');
        let mut names: Vec<String> = std::fs::read_dir(self.options.root.join("left4dead2/maps"))
            .map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
            .unwrap_or_default();
        names.retain(|name| name.strip_suffix(".bsp").is_some_and(|map| map.contains(wanted)));
        names.sort();
        self.say("-------------");
        for name in names {
            let text = format!("PENDING:   (fs) {name}");
            self.say(&text);
        }
    }

    fn kick(&mut self, who: &str) {
        let text = match self.crowd.kick(who) {
            Some(player) => format!("Dropped {} from server (Kicked by Console)", player.name),
            None => format!("Can't kick \"{who}\", name not found"),
        };
        self.say(&text);
    }

    /// What tests ask for: the ways in which real games misbehave.
    fn simulate(&mut self, what: &str, number: u64) {
        match what {
            "crash" => self.effect = Effect::Crash,
            "hang" => self.effect = Effect::Hang,
            "fork" => self.effect = Effect::Fork,
            "memory" => self.effect = Effect::Hold(number),
            "spam" => {
                for line in 1..=number.min(1_000_000) {
                    let _ = writeln!(self.out, "spam {line}");
                }
            }
            _ => self.say("Usage: _simulate crash|hang|fork|memory MIB|spam LINES"),
        }
    }
}

/// Splits a console line: words, quoted or not, commands parted by `;`, the rest after `//` dropped.
fn split_line(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let words = commands.last_mut().expect("there is always one");
        match c {
            ';' => commands.push(Vec::new()),
            '/' if chars.peek() == Some(&'/') => break,
            '"' => words.push(chars.by_ref().take_while(|c| *c != '"').collect()),
            c if c.is_whitespace() || c.is_control() => {}
            c => {
                let mut word = String::from(c);
                while let Some(next) = chars.next_if(|next| !next.is_whitespace() && !matches!(next, ';' | '"')) {
                    word.push(next);
                }
                words.push(word);
            }
        }
    }
    commands.retain(|words| !words.is_empty());
    commands
}
