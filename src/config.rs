//! Settings: the file, the environment, the defaults (contract §7 and §9).
//!
//! Read once by the commands, then passed down as one value. It only reads and checks: it makes no folder, opens no
//! port and writes no log. Every refusal names the place (file and line, or variable) and how to mend it; `cli` turns
//! it into exit code 2.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize};

pub use crate::model::network::Network;
use crate::model::port::PortRange;

/// Where the file lies unless `--config` says otherwise. It may be absent: then the defaults hold.
pub const DEFAULT_FILE: &str = "/etc/left4me/config.yaml";
/// Valve's archive of SteamCMD (domain.md).
pub const STEAMCMD_URL: &str = "https://steamcdn-a.akamaihd.net/client/installer/steamcmd_linux.tar.gz";
/// What the variables of the environment begin with.
pub const PREFIX: &str = "LEFT4ME_";
/// Variables with our prefix that are no settings: the file itself (`--config`), and the step at which a crash test ends
/// the daemon. Those of `tests/run` (`LEFT4ME_TESTS_…`) are none either, and are inherited by every process it starts.
const NOT_KEYS: [&str; 2] = ["config", "crash_at"];

/// Every setting, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Address of the web page.
    pub listen: SocketAddr,
    /// Everything that is kept.
    pub data_dir: PathBuf,
    /// Path overlays must lie under it.
    pub overlay_root: PathBuf,
    /// Unix socket for the command line.
    pub socket: PathBuf,
    /// Automatic ports.
    pub port_range: PortRange,
    /// How many jobs work side by side.
    pub job_workers: usize,
    /// Whether strangers may sign up, until an admin decides at run time.
    pub signup: Signup,
    /// Address under which browsers reach the page, without a slash at its end.
    pub public_url: Option<String>,
    /// Whose forwarded addresses count.
    pub trusted_proxies: Vec<Network>,
    /// The SteamCMD to run.
    pub steamcmd: Steamcmd,
    /// Where SteamCMD is fetched from, when there is none.
    pub steamcmd_url: String,
    /// How often the state of each server is read again, seconds.
    pub status_refresh_seconds: u64,
    /// Most lines that one stream of a job's log replays.
    pub job_log_replay_limit: usize,
    /// Most characters of a stored line.
    pub job_log_line_max_chars: usize,
    /// Memory limit of one instance, bytes; `None`: no limit.
    pub memory_max: Option<u64>,
    /// CPU weight of one instance (cgroup v2: 1–10000, 100 is the usual share).
    pub cpu_weight: u32,
    /// Most processes and threads of one instance.
    pub pids_max: u32,
    /// Bytes on disk that the game of one instance may write; `None`: no limit.
    pub disk_max: Option<u64>,
    /// Most servers of a user who is not an admin.
    pub max_servers_per_user: u32,
    /// Whether `/metrics` answers without an admin's token.
    pub metrics: bool,
    /// What is logged.
    pub log_level: log::LevelFilter,
    /// Certificate chain of the built-in TLS, PEM.
    pub tls_cert: Option<PathBuf>,
    /// Its key, PEM.
    pub tls_key: Option<PathBuf>,
    /// Host that players connect to.
    pub public_address: Option<String>,
    /// How long a game may take until it is ready, seconds.
    pub start_timeout_seconds: u64,
    /// Where systemd starts shims for us; `None`: we start them ourselves. Set by the unit, as a variable.
    pub shim_socket: Option<PathBuf>,
}

/// Whether strangers may sign up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signup {
    /// Anyone who reaches the page.
    Open,
    /// Nobody; the first admin comes from `left4me --reset-admin`.
    Closed,
}

/// Which SteamCMD is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Steamcmd {
    /// Debian's, else the one that left4me fetches itself.
    Auto,
    /// This program.
    Path(PathBuf),
}

/// Why the settings cannot be used, in words for the admin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error(
        "{file}: cannot be read: {reason}; name another file with --config FILE, or leave it out to use {DEFAULT_FILE}"
    )]
    Unreadable {
        /// Which file.
        file: String,
        /// What the system said.
        reason: String,
    },
    /// A line of the file is wrong.
    #[error("{file}:{line}: {reason}")]
    Line {
        /// Which file.
        file: String,
        /// Which line, from 1.
        line: usize,
        /// What is wrong and how to mend it.
        reason: String,
    },
    /// The file is wrong as a whole.
    #[error("{file}: {reason}")]
    File {
        /// Which file.
        file: String,
        /// What is wrong and how to mend it.
        reason: String,
    },
    /// A variable of the environment is wrong.
    #[error("environment variable {name}: {reason}")]
    Variable {
        /// Its whole name.
        name: String,
        /// What is wrong and how to mend it.
        reason: String,
    },
    /// Two settings contradict each other.
    #[error("{0}")]
    Together(String),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 27080)),
            data_dir: "/var/lib/left4me".into(),
            overlay_root: "/var/lib/left4me/overlays".into(),
            socket: "/run/left4me/control.sock".into(),
            port_range: PortRange::default(),
            job_workers: 4,
            signup: Signup::Open,
            public_url: None,
            trusted_proxies: Vec::new(),
            steamcmd: Steamcmd::Auto,
            steamcmd_url: STEAMCMD_URL.into(),
            status_refresh_seconds: 8,
            job_log_replay_limit: 2000,
            job_log_line_max_chars: 4096,
            memory_max: Some(2 << 30),
            cpu_weight: 100,
            pids_max: 512,
            disk_max: Some(10 << 30),
            max_servers_per_user: 10,
            metrics: false,
            log_level: log::LevelFilter::Info,
            tls_cert: None,
            tls_key: None,
            public_address: None,
            start_timeout_seconds: 180,
            shim_socket: None,
        }
    }
}

impl Config {
    /// Reads `file` (or [`DEFAULT_FILE`] where it exists), then the variables of `env`, which win.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place and remedy.
    pub fn load(file: Option<&Path>, env: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut raw = read_file(file)?;
        read_variables(&mut raw, env)?;
        raw.finish()
    }

    /// Whether strangers may sign up as far as the configuration says.
    pub fn signup_open(&self) -> bool {
        self.signup == Signup::Open
    }

    /// The SteamCMD that the configuration names; `None`: find one.
    pub fn steamcmd_path(&self) -> Option<PathBuf> {
        match &self.steamcmd {
            Steamcmd::Auto => None,
            Steamcmd::Path(path) => Some(path.clone()),
        }
    }

    /// [`Config::load`] with the environment of this process. Variables that are not UTF-8 cannot be ours.
    pub fn load_here(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load(
            file,
            std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?))),
        )
    }
}

fn read_file(file: Option<&Path>) -> Result<Raw, ConfigError> {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => return Ok(Raw::default()),
        Err(error) => return Err(ConfigError::Unreadable { file: name, reason: error.to_string() }),
    };
    parse(&name, &text)
}

fn parse(name: &str, text: &str) -> Result<Raw, ConfigError> {
    // A file of comments only is an empty document, which YAML reads as null.
    match serde_yaml::from_str::<Option<Raw>>(text) {
        Ok(raw) => Ok(raw.unwrap_or_default()),
        Err(error) => {
            let reason = explain(&error.to_string());
            Err(match error.location() {
                Some(place) => ConfigError::Line { file: name.into(), line: place.line(), reason },
                None => ConfigError::File { file: name.into(), reason },
            })
        }
    }
}

/// Takes the parser's own place off its message and adds the remedy where the parser knows none.
fn explain(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(text, _)| text);
    if let Some(rest) =
        message.strip_prefix("unknown field `").or_else(|| message.split_once("unknown field `").map(|(_, rest)| rest))
    {
        let key = rest.split('`').next().unwrap_or_default();
        let near = nearest(key)
            .map_or_else(|| format!("the keys are {}", KEYS.join(", ")), |near| format!("did you mean `{near}`?"));
        return format!("unknown key `{key}`: {near}");
    }
    if message.contains("duplicate entry") || message.contains("duplicate field") {
        return format!("{message}: keep one of the two");
    }
    message.to_owned()
}

fn nearest(key: &str) -> Option<&'static str> {
    let key = key.to_ascii_lowercase().replace('-', "_");
    KEYS.iter().map(|known| (distance(&key, known), *known)).filter(|(far, _)| *far <= 3).min().map(|(_, known)| known)
}

/// Levenshtein distance; both words are short.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != y)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or_default()
}

fn read_variables(raw: &mut Raw, env: impl IntoIterator<Item = (String, String)>) -> Result<(), ConfigError> {
    let mut ours: Vec<(String, String)> = env.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    ours.sort();
    for (name, text) in ours {
        let key = name[PREFIX.len()..].to_ascii_lowercase();
        if NOT_KEYS.contains(&key.as_str()) || key.starts_with("tests_") || text.is_empty() {
            continue;
        }
        let fail = |reason: String| ConfigError::Variable { name: name.clone(), reason };
        let value = match serde_yaml::from_str::<serde_yaml::Value>(&text) {
            Ok(
                value @ (serde_yaml::Value::Number(_) | serde_yaml::Value::Bool(_) | serde_yaml::Value::Sequence(_)),
            ) => value,
            Ok(_) | Err(_) => serde_yaml::Value::String(text),
        };
        let mapping = serde_yaml::Mapping::from_iter([(serde_yaml::Value::String(key), value)]);
        let one: Raw = serde_yaml::from_value(mapping.into()).map_err(|error| fail(explain(&error.to_string())))?;
        raw.overlay(one);
    }
    Ok(())
}

macro_rules! raw {
    ($($key:ident: $kind:ty),+ $(,)?) => {
        /// The keys as they are written; all optional.
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Raw {
            $($key: Option<$kind>,)+
        }

        /// Every key.
        const KEYS: &[&str] = &[$(stringify!($key)),+];

        impl Raw {
            /// What `above` says wins.
            fn overlay(&mut self, above: Self) {
                $(if above.$key.is_some() { self.$key = above.$key; })+
            }
        }
    };
}

raw! {
    listen: Listen,
    data_dir: Absolute,
    overlay_root: Absolute,
    socket: Absolute,
    port_range: Ports,
    job_workers: Bounded<1, 64>,
    signup: SignupWord,
    public_url: Url,
    trusted_proxies: Networks,
    steamcmd: SteamcmdWord,
    steamcmd_url: Url,
    status_refresh_seconds: Bounded<1, 3600>,
    job_log_replay_limit: Bounded<1, 100_000>,
    job_log_line_max_chars: Bounded<80, 65_536>,
    memory_max: Size,
    cpu_weight: Bounded<1, 10_000>,
    pids_max: Bounded<16, 1_000_000>,
    disk_max: Size,
    max_servers_per_user: Bounded<0, 100_000>,
    metrics: Switch,
    log_level: Level,
    tls_cert: Absolute,
    tls_key: Absolute,
    public_address: Host,
    start_timeout_seconds: Bounded<5, 86_400>,
    shim_socket: Absolute,
}

impl Raw {
    fn finish(self) -> Result<Config, ConfigError> {
        let default = Config::default();
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err(ConfigError::Together("tls_cert and tls_key belong together: set both or neither".into()));
        }
        let data_dir = self.data_dir.map_or(default.data_dir, |path| path.0);
        let number = |value: Option<u64>, otherwise: u64| value.unwrap_or(otherwise);
        Ok(Config {
            listen: self.listen.map_or(default.listen, |listen| listen.0),
            overlay_root: self.overlay_root.map_or_else(|| data_dir.join("overlays"), |path| path.0),
            data_dir,
            socket: self.socket.map_or(default.socket, |path| path.0),
            port_range: self.port_range.map_or(default.port_range, |ports| ports.0),
            job_workers: self.job_workers.map_or(default.job_workers, |n| n.0 as usize),
            signup: self.signup.map_or(default.signup, |word| word.0),
            public_url: self.public_url.map(|url| url.0),
            trusted_proxies: self.trusted_proxies.map_or_else(Vec::new, |networks| networks.0),
            steamcmd: self.steamcmd.map_or(default.steamcmd, |word| word.0),
            steamcmd_url: self.steamcmd_url.map_or(default.steamcmd_url, |url| url.0),
            status_refresh_seconds: number(self.status_refresh_seconds.map(|n| n.0), default.status_refresh_seconds),
            job_log_replay_limit: self.job_log_replay_limit.map_or(default.job_log_replay_limit, |n| n.0 as usize),
            job_log_line_max_chars: self
                .job_log_line_max_chars
                .map_or(default.job_log_line_max_chars, |n| n.0 as usize),
            memory_max: self.memory_max.map_or(default.memory_max, |size| size.0),
            cpu_weight: self.cpu_weight.map_or(default.cpu_weight, |n| n.0 as u32),
            pids_max: self.pids_max.map_or(default.pids_max, |n| n.0 as u32),
            disk_max: self.disk_max.map_or(default.disk_max, |size| size.0),
            max_servers_per_user: self.max_servers_per_user.map_or(default.max_servers_per_user, |n| n.0 as u32),
            metrics: self.metrics.map_or(default.metrics, |switch| switch.0),
            log_level: self.log_level.map_or(default.log_level, |level| level.0),
            tls_cert: self.tls_cert.map(|path| path.0),
            tls_key: self.tls_key.map(|path| path.0),
            public_address: self.public_address.map(|host| host.0),
            start_timeout_seconds: number(self.start_timeout_seconds.map(|n| n.0), default.start_timeout_seconds),
            shim_socket: self.shim_socket.map(|path| path.0),
        })
    }
}

/// A scalar of the file, whether YAML takes it for a number, a truth value or a word. It is judged while the parser
/// still stands on it: only then does the parser know its line.
struct Scalar<T>(fn(&str) -> Result<T, String>);

impl<T> Visitor<'_> for Scalar<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one value, not a list or a mapping")
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text.trim()).map_err(E::custom)
    }
    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
    fn visit_bool<E: serde::de::Error>(self, truth: bool) -> Result<T, E> {
        self.visit_str(if truth { "true" } else { "false" })
    }
}

macro_rules! scalar {
    ($($(#[$doc:meta])* $name:ident($inner:ty) = $read:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        struct $name($inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_any(Scalar::<$inner>($read)).map(Self)
            }
        }
    )+};
}

scalar! {
    /// Address and port, no names: a static glibc must not resolve.
    Listen(SocketAddr) = |text| {
        text.parse().map_err(|_| format!("`{text}` is not an address with a port: write it as 127.0.0.1:27080, 0.0.0.0:27080 or [::]:27080 (addresses, not names)"))
    };
    /// Absolute path.
    Absolute(PathBuf) = |text| {
        let path = PathBuf::from(text);
        if path.is_absolute() { Ok(path) } else { Err(format!("`{text}` is not an absolute path: begin it with /")) }
    };
    /// `open` or `closed`.
    SignupWord(Signup) = |text| match text {
        "open" => Ok(Signup::Open),
        "closed" => Ok(Signup::Closed),
        _ => Err(format!("`{text}`: write open or closed")),
    };
    /// `http://…` or `https://…`.
    Url(String) = |text| {
        let url = text.trim_end_matches('/');
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        match host {
            Some(host) if !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"') => Ok(url.to_owned()),
            Some(_) | None => Err(format!("`{text}` is not a web address: write it as https://games.example.org")),
        }
    };
    /// `auto` or an absolute path.
    SteamcmdWord(Steamcmd) = |text| match text {
        "auto" => Ok(Steamcmd::Auto),
        path if path.starts_with('/') => Ok(Steamcmd::Path(path.into())),
        _ => Err(format!("`{text}`: write auto or an absolute path such as /usr/games/steamcmd")),
    };
    /// Bytes, with K, M, G, T as powers of 1024, or `infinity`.
    Size(Option<u64>) = parse_size;
    /// `on` or `off`.
    Switch(bool) = |text| match text {
        "on" | "true" | "yes" => Ok(true),
        "off" | "false" | "no" => Ok(false),
        _ => Err(format!("`{text}`: write on or off")),
    };
    /// Level of the log.
    Level(log::LevelFilter) = |text| {
        text.parse().map_err(|_| format!("`{text}`: write off, error, warn, info, debug or trace"))
    };
    /// One address or block.
    OneNetwork(Network) = str::parse;
    /// Ports for automatic choice.
    Ports(PortRange) = str::parse;
    /// Host name or address, without port.
    Host(String) = |text| {
        if !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']')) {
            Ok(text.to_owned())
        } else {
            Err(format!("`{text}` is not a host name or address: write it as games.example.org or 203.0.113.7"))
        }
    };
}

fn parse_size(text: &str) -> Result<Option<u64>, String> {
    let wrong = || format!("`{text}` is not a size: write it as 2G, 512M, a number of bytes, or infinity");
    if text.eq_ignore_ascii_case("infinity") {
        return Ok(None);
    }
    let upper = text.to_ascii_uppercase();
    let upper = upper.strip_suffix("IB").or_else(|| upper.strip_suffix('B')).unwrap_or(&upper);
    let (digits, shift) = match upper.chars().last() {
        Some('K') => (&upper[..upper.len() - 1], 10),
        Some('M') => (&upper[..upper.len() - 1], 20),
        Some('G') => (&upper[..upper.len() - 1], 30),
        Some('T') => (&upper[..upper.len() - 1], 40),
        Some(_) | None => (upper, 0),
    };
    let number: u64 = digits.trim().parse().map_err(|_| wrong())?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(wrong)?;
    if bytes < 64 << 20 {
        return Err(format!("`{text}` is too small for any game: write at least 64M (2G is usual)"));
    }
    Ok(Some(bytes))
}

/// A whole number within bounds, both included.
#[derive(Debug)]
struct Bounded<const LEAST: u64, const MOST: u64>(u64);

impl<'de, const LEAST: u64, const MOST: u64> Deserialize<'de> for Bounded<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Scalar(|text| match text.parse::<u64>() {
            Ok(number) if (LEAST..=MOST).contains(&number) => Ok(Self(number)),
            Ok(_) | Err(_) => Err(format!("`{text}`: write a whole number from {LEAST} to {MOST}")),
        }))
    }
}

/// A list of blocks, or one text with commas (as in a variable).
#[derive(Debug)]
struct Networks(Vec<Network>);

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NetworksVisitor).map(Self)
    }
}

struct NetworksVisitor;

impl<'de> Visitor<'de> for NetworksVisitor {
    type Value = Vec<Network>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of addresses or blocks, such as [127.0.0.1, 10.0.0.0/8]")
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty() && *text != "none");
        texts.map(str::parse).collect::<Result<_, String>>().map_err(E::custom)
    }
    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut networks = Vec::new();
        while let Some(OneNetwork(network)) = list.next_element()? {
            networks.push(network);
        }
        Ok(networks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        parse("c.yaml", text)?.finish()
    }

    fn with_env(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let mut raw = Raw::default();
        read_variables(&mut raw, pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))?;
        raw.finish()
    }

    #[test]
    fn an_empty_file_and_a_file_of_comments_give_the_defaults() {
        assert_eq!(read("").unwrap(), Config::default());
        assert_eq!(read("# listen: 1.2.3.4:5\n\n").unwrap(), Config::default());
        assert_eq!(with_env(&[]).unwrap(), Config::default());
    }

    #[test]
    fn every_key_of_the_contract_is_read_from_the_file() {
        let text = "listen: 0.0.0.0:80\ndata_dir: /srv/l\nsocket: /srv/s.sock\nport_range: 28000-28010\njob_workers: 2\n\
            signup: closed\npublic_url: https://games.example.org/\ntrusted_proxies: [127.0.0.1, 10.0.0.0/8]\n\
            steamcmd: /usr/games/steamcmd\nstatus_refresh_seconds: 4\njob_log_replay_limit: 10\n\
            job_log_line_max_chars: 100\nmemory_max: 1536M\ncpu_weight: 50\npids_max: 64\ndisk_max: 20G\nmax_servers_per_user: 3\n\
            metrics: on\nlog_level: debug\ntls_cert: /c.pem\ntls_key: /k.pem\npublic_address: games.example.org\n\
            start_timeout_seconds: 60\n";
        let config = read(text).unwrap();
        assert_eq!(config.listen, "0.0.0.0:80".parse().unwrap());
        assert_eq!(config.overlay_root, Path::new("/srv/l/overlays"));
        assert_eq!(config.port_range, PortRange { first: 28000, last: 28010 });
        assert_eq!(config.signup, Signup::Closed);
        assert_eq!(config.public_url.as_deref(), Some("https://games.example.org"));
        assert_eq!(config.trusted_proxies.len(), 2);
        assert!(config.trusted_proxies[1].contains("10.9.8.7".parse().unwrap()));
        assert!(!config.trusted_proxies[1].contains("11.9.8.7".parse().unwrap()));
        assert_eq!(config.steamcmd, Steamcmd::Path("/usr/games/steamcmd".into()));
        assert_eq!((config.memory_max, config.disk_max), (Some(1536 << 20), Some(20 << 30)));
        assert_eq!((config.cpu_weight, config.pids_max, config.max_servers_per_user), (50, 64, 3));
        assert!(config.metrics);
        assert_eq!(config.log_level, log::LevelFilter::Debug);
        assert_eq!(config.start_timeout_seconds, 60);
        assert_eq!(config.job_log_line_max_chars, 100);
    }

    #[test]
    fn an_unknown_key_names_its_line_and_the_key_that_was_meant() {
        let error = read("listen: 0.0.0.0:80\n\njob_worker: 3\n").unwrap_err();
        assert_eq!(error.to_string(), "c.yaml:3: unknown key `job_worker`: did you mean `job_workers`?");
        let error = read("colour: green\n").unwrap_err().to_string();
        assert!(error.starts_with("c.yaml:1: unknown key `colour`: the keys are listen, data_dir"), "{error}");
    }

    #[test]
    fn a_bad_value_names_its_line_its_key_and_the_remedy() {
        for (text, line, key, remedy) in [
            ("\nlisten: localhost:80\n", 2, "listen", "write it as 127.0.0.1:27080"),
            ("data_dir: here\n", 1, "data_dir", "begin it with /"),
            ("metrics: off\nport_range: 1-2\n", 2, "port_range", "write it as 27015-27114"),
            ("job_workers: 0\n", 1, "job_workers", "from 1 to 64"),
            ("job_workers: -3\n", 1, "job_workers", "from 1 to 64"),
            ("job_workers: [1]\n", 1, "job_workers", "one value"),
            ("signup: maybe\n", 1, "signup", "write open or closed"),
            ("public_url: games\n", 1, "public_url", "https://"),
            ("trusted_proxies: [10.0.0.0/99]\n", 1, "trusted_proxies", "10.0.0.0/8"),
            ("steamcmd: steam\n", 1, "steamcmd", "write auto or an absolute path"),
            ("memory_max: lots\n", 1, "memory_max", "2G"),
            ("memory_max: 1K\n", 1, "memory_max", "at least 64M"),
            ("memory_max: 99999999999999T\n", 1, "memory_max", "2G"),
            ("metrics: perhaps\n", 1, "metrics", "on or off"),
            ("log_level: loud\n", 1, "log_level", "trace"),
            ("public_address: \"a b\"\n", 1, "public_address", "games.example.org"),
        ] {
            // A good line before and after it: the place must be its own, not that of the file's beginning.
            let error = read(&format!("start_timeout_seconds: 60\n{text}overlay_root: /o\n")).unwrap_err().to_string();
            assert!(error.starts_with(&format!("c.yaml:{}: {key}", line + 1)), "{text}: {error}");
            assert!(error.contains(remedy), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_not_yaml_or_not_a_mapping_names_the_line() {
        assert!(read("listen: [\n").unwrap_err().to_string().starts_with("c.yaml:"));
        assert!(read("- a\n- b\n").is_err());
        assert!(read("listen: 0.0.0.0:1\nlisten: 0.0.0.0:2\n").unwrap_err().to_string().contains("keep one"));
    }

    #[test]
    fn a_variable_wins_over_the_file_and_an_empty_one_does_not_count() {
        let mut raw = parse("c", "job_workers: 2\nmetrics: off\n").unwrap();
        let env = [
            ("LEFT4ME_JOB_WORKERS", "7"),
            ("LEFT4ME_METRICS", ""),
            ("LEFT4ME_TRUSTED_PROXIES", "127.0.0.1, ::1"),
            ("HOME", "/"),
        ];
        read_variables(&mut raw, env.map(|(k, v)| (k.to_owned(), v.to_owned()))).unwrap();
        let config = raw.finish().unwrap();
        assert_eq!((config.job_workers, config.metrics, config.trusted_proxies.len()), (7, false, 2));
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let error = with_env(&[("LEFT4ME_MEMORY_MAX", "lots")]).unwrap_err().to_string();
        assert!(error.starts_with("environment variable LEFT4ME_MEMORY_MAX: ") && error.contains("2G"), "{error}");
        let error = with_env(&[("LEFT4ME_LISTN", "1.2.3.4:5")]).unwrap_err().to_string();
        assert_eq!(error, "environment variable LEFT4ME_LISTN: unknown key `listn`: did you mean `listen`?");
    }

    #[test]
    fn half_a_tls_pair_is_refused() {
        assert!(read("tls_cert: /c.pem\n").unwrap_err().to_string().contains("both or neither"));
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let error = Config::load(Some(Path::new("/nonexistent/c.yaml")), []).unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent/c.yaml: cannot be read") && error.contains("--config"), "{error}");
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(parse_size("2G"), Ok(Some(2 << 30)));
        assert_eq!(parse_size("512m"), Ok(Some(512 << 20)));
        assert_eq!(parse_size("2GiB"), Ok(Some(2 << 30)));
        assert_eq!(parse_size("infinity"), Ok(None));
        assert_eq!(parse_size("1073741824"), Ok(Some(1 << 30)));
    }
}
