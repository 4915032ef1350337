//! Port claims, reservations, and what else listens on the box.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::FieldError;
use super::id::{ReservationId, ServerId, UserId};
use super::time::Timestamp;

/// Lowest port that a server may ask for.
pub const PORT_MIN: u16 = 1024;

/// One row of the claim table; its key is the port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortClaim {
    /// What for.
    pub purpose: Purpose,
    /// Who.
    pub holder: Holder,
    /// How it was chosen.
    pub kind: ClaimKind,
    /// When.
    pub claimed_at: Timestamp,
    /// Whether the old claim of a server that changed its port waits for its game to end.
    pub retiring: bool,
}

/// What a port is claimed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// UDP game and TCP RCON.
    Game,
    /// SourceTV.
    Tv,
    /// Held for a planned batch.
    Reserved,
}

impl Purpose {
    /// Word in JSON and on pages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Game => "game",
            Self::Tv => "tv",
            Self::Reserved => "reserved",
        }
    }
}

/// Who holds a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holder {
    /// A server.
    Server(ServerId),
    /// A reservation.
    Reservation(ReservationId),
}

/// How a port was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimKind {
    /// By us.
    Auto,
    /// By the user.
    Manual,
}

impl ClaimKind {
    /// Word in JSON and on pages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Manual => "manual",
        }
    }
}

/// What a claim is worth now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClaimStatus {
    /// Its server exists.
    Active,
    /// Its server has another port; the game that listens here has not ended.
    Retiring,
    /// Its reservation is in force.
    Reserved,
    /// Its server is gone or its reservation expired.
    Stale,
}

impl ClaimStatus {
    /// Word in JSON and on pages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Reserved => "reserved",
            Self::Stale => "stale",
        }
    }
}

/// A block of ports held for a planned batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Identifier.
    pub id: ReservationId,
    /// Who asked.
    pub user_id: Option<UserId>,
    /// What it is called.
    pub label: String,
    /// When it ends by itself; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a request says about the port of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortWish {
    /// The lowest free port of the range.
    Auto,
    /// This one or none.
    Exactly(u16),
}

impl PortWish {
    /// Reads the text of a form field: empty and `auto` leave the choice to us.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        let text = text.trim();
        if text.is_empty() || text.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        let number =
            text.parse::<i64>().map_err(|_| FieldError::new("port", "must be a number from 1024 to 65535, or auto"))?;
        Self::from_number(number)
    }

    /// The port that is asked for by its number.
    pub fn exact(self) -> Option<u16> {
        match self {
            Self::Auto => None,
            Self::Exactly(port) => Some(port),
        }
    }

    /// Checks a number.
    pub fn from_number(number: i64) -> Result<Self, FieldError> {
        match u16::try_from(number) {
            Ok(port) if port >= PORT_MIN => Ok(Self::Exactly(port)),
            _ => Err(FieldError::new("port", "must be a number from 1024 to 65535, or auto")),
        }
    }
}

/// The ports that automatic choice takes from, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortRange {
    /// Lowest.
    pub first: u16,
    /// Highest.
    pub last: u16,
}

impl PortRange {
    /// Whether a port is one of them.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Every port, lowest first.
    pub fn ports(self) -> std::ops::RangeInclusive<u16> {
        self.first..=self.last
    }
}

impl Default for PortRange {
    fn default() -> Self {
        Self { first: 27015, last: 27114 }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> Self {
        range.to_string()
    }
}

impl TryFrom<String> for PortRange {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for PortRange {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a port range: write it as 27015-27114, both within 1024-65535");
        let (first, last) = text.split_once('-').ok_or_else(wrong)?;
        let first: u16 = first.trim().parse().map_err(|_| wrong())?;
        let last: u16 = last.trim().parse().map_err(|_| wrong())?;
        if first < PORT_MIN || last < first {
            return Err(wrong());
        }
        Ok(Self { first, last })
    }
}

/// Transport of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

impl Protocol {
    /// Word in texts.
    pub fn word(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// A socket of the box that somebody listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Address and port.
    pub address: SocketAddr,
    /// Transport.
    pub protocol: Protocol,
    /// Whose it is.
    pub owner: ListenerOwner,
}

/// Whose a listening socket is, as far as we may know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerOwner {
    /// The process could be read.
    Process {
        /// Process number.
        pid: u32,
        /// Program name.
        program: String,
    },
    /// Only the user is known.
    Uid(u32),
}

impl fmt::Display for Listener {
    /// `27016/udp is held by ioq3ded (pid 812)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} is held by ", self.address.port(), self.protocol.word())?;
        match &self.owner {
            ListenerOwner::Process { pid, program } => write!(f, "{program} (pid {pid})"),
            ListenerOwner::Uid(uid) => write!(f, "a process of uid {uid}"),
        }
    }
}

/// A snapshot of who listens, taken before the transaction that uses it. Our own games are left out by the one who
/// takes it: what is in here is foreign.
#[derive(Debug, Clone, Default)]
pub struct Listeners(pub Vec<Listener>);

impl Listeners {
    /// The first foreign listener on this port, any protocol.
    pub fn on(&self, port: u16) -> Option<&Listener> {
        self.0.iter().find(|listener| listener.address.port() == port)
    }
}

/// A game that no server of ours owns: left over from another panel, an older daemon or a crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StrayGame {
    /// Process number.
    pub pid: u32,
    /// When it started, clock ticks since boot: with the number it names one process.
    pub start_time: u64,
    /// The port of its command line, if there is one.
    pub port: Option<u16>,
    /// How long it has run.
    pub age_seconds: u64,
    /// Whose it is.
    pub uid: u32,
    /// Its command line.
    pub command: String,
}

/// What a port is to the box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PortUse {
    /// Nobody holds it, and nobody listens there.
    Free,
    /// Somebody claims it.
    Claimed(ClaimStatus),
    /// Nobody claims it, but a stranger listens there.
    Foreign,
}

impl PortUse {
    /// Every use, in the order of a legend.
    pub const ALL: [Self; 6] = [
        Self::Free,
        Self::Claimed(ClaimStatus::Active),
        Self::Claimed(ClaimStatus::Retiring),
        Self::Claimed(ClaimStatus::Reserved),
        Self::Claimed(ClaimStatus::Stale),
        Self::Foreign,
    ];

    /// Word on pages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Claimed(ClaimStatus::Active) => "claimed",
            Self::Claimed(status) => status.word(),
            Self::Foreign => "foreign",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_field_is_a_number_within_bounds_or_auto() {
        assert_eq!(PortWish::parse(" AUTO "), Ok(PortWish::Auto));
        assert_eq!(PortWish::parse(""), Ok(PortWish::Auto));
        assert_eq!(PortWish::parse("27015"), Ok(PortWish::Exactly(27015)));
        for bad in ["1023", "65536", "-1", "27015.5", "x"] {
            assert_eq!(PortWish::parse(bad).unwrap_err().field, "port", "{bad}");
        }
    }

    #[test]
    fn a_range_reads_back_as_it_was_written() {
        let range: PortRange = "27015-27114".parse().unwrap();
        assert_eq!(range, PortRange::default());
        assert_eq!(range.to_string(), "27015-27114");
        for bad in ["27015", "27114-27015", "80-90", "a-b", "1-70000"] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_listener_is_named_by_program_and_pid() {
        let listener = Listener {
            address: "0.0.0.0:27016".parse().unwrap(),
            protocol: Protocol::Udp,
            owner: ListenerOwner::Process { pid: 812, program: "ioq3ded".into() },
        };
        assert_eq!(listener.to_string(), "27016/udp is held by ioq3ded (pid 812)");
    }
}
