//! Source server queries over UDP (Valve's "Server queries"): A2S_INFO, A2S_PLAYER, A2S_RULES.
//!
//! A reply may be a challenge (`41` and four bytes), to be sent back with the request, more than once; long replies come
//! split (header −2). Silence is no reason to restart a game: it limits its answers (domain.md). Poll at most every 5 s.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;

/// Most datagrams of one split reply.
const PARTS_MAX: usize = 64;
/// Most bytes of one reassembled reply.
const REPLY_MAX: usize = 64 * 1024;
/// Most challenges in a row before the other side is taken for broken.
const CHALLENGES_MAX: usize = 4;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum A2sError {
    /// Nothing came in time. Normal where the game limits its answers.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The socket failed; "connection refused" means that nobody listens.
    #[error("the query failed: {0}")]
    Io(#[from] std::io::Error),
    /// The reply is not what the protocol says.
    #[error("the reply is malformed: {0}")]
    Malformed(&'static str),
    /// It answered with challenges only.
    #[error("it answered {CHALLENGES_MAX} times with a new challenge")]
    Challenged,
}

/// What A2S_INFO says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    /// Name of the server.
    pub name: String,
    /// Map that is played.
    pub map: String,
    /// Folder of the game, `left4dead2`.
    pub folder: String,
    /// Name of the game.
    pub game: String,
    /// Players, bots among them.
    pub players: u8,
    /// Most players.
    pub max_players: u8,
    /// Bots.
    pub bots: u8,
    /// `d` dedicated, `l` listen, `p` relay.
    pub kind: u8,
    /// `l` Linux, `w` Windows, `m` macOS.
    pub system: u8,
    /// Whether a password is asked for.
    pub private: bool,
    /// Whether VAC is on.
    pub vac: bool,
    /// Version of the game.
    pub version: String,
    /// Game port, where it is said.
    pub port: Option<u16>,
    /// Steam id of the server, where it is said.
    pub steam_id: Option<u64>,
    /// `sv_tags`.
    pub keywords: Option<String>,
}

impl Info {
    /// Players that are people.
    pub fn humans(&self) -> u8 {
        self.players.saturating_sub(self.bots)
    }
}

/// One player of A2S_PLAYER.
#[derive(Debug, Clone, PartialEq)]
pub struct Player {
    /// Name; empty while connecting.
    pub name: String,
    /// Score.
    pub score: i32,
    /// How long they have been there.
    pub connected: Duration,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Ask again with these bytes.
    Challenge([u8; 4]),
    /// A2S_INFO.
    Info(Info),
    /// A2S_PLAYER.
    Players(Vec<Player>),
    /// A2S_RULES.
    Rules(Vec<(String, String)>),
}

/// What may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Name, map, counts.
    Info,
    /// Players.
    Players,
    /// Public console variables.
    Rules,
}

impl Question {
    /// The datagram that asks. PLAYER and RULES always carry a challenge, −1 to ask for one.
    pub fn request(self, challenge: Option<[u8; 4]>) -> Vec<u8> {
        let mut out = vec![0xff; 4];
        match self {
            Self::Info => {
                out.extend_from_slice(b"TSource Engine Query\0");
                out.extend(challenge.into_iter().flatten());
            }
            Self::Players => {
                out.push(b'U');
                out.extend(challenge.unwrap_or([0xff; 4]));
            }
            Self::Rules => {
                out.push(b'V');
                out.extend(challenge.unwrap_or([0xff; 4]));
            }
        }
        out
    }
}

/// Reads bytes from the front; never beyond the end.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], A2sError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(A2sError::Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(*head)
    }
    fn u8(&mut self) -> Result<u8, A2sError> {
        self.bytes::<1>().map(|[byte]| byte)
    }
    fn u16(&mut self) -> Result<u16, A2sError> {
        self.bytes().map(u16::from_le_bytes)
    }
    fn i32(&mut self) -> Result<i32, A2sError> {
        self.bytes().map(i32::from_le_bytes)
    }
    /// Text up to its NUL. Names of players can be any bytes.
    fn text(&mut self) -> Result<String, A2sError> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(A2sError::Malformed("a text has no end"))?;
        let text = String::from_utf8_lossy(&self.0[..end]).into_owned();
        self.0 = &self.0[end + 1..];
        Ok(text)
    }
}

/// Reads one whole reply (header −1).
pub fn parse_reply(datagram: &[u8]) -> Result<Reply, A2sError> {
    let mut reader = Reader(datagram);
    if reader.bytes()? != [0xff; 4] {
        return Err(A2sError::Malformed("its header is not -1"));
    }
    match reader.u8()? {
        b'A' => reader.bytes().map(Reply::Challenge),
        b'I' => parse_info(&mut reader).map(Reply::Info),
        b'D' => {
            let count = reader.u8()?;
            let mut players = Vec::with_capacity(usize::from(count));
            // A game that is full may cut its last players off: what is there counts.
            while players.len() < usize::from(count) && !reader.0.is_empty() {
                reader.u8()?;
                let name = reader.text()?;
                let score = reader.i32()?;
                let seconds = f32::from_le_bytes(reader.bytes()?);
                let connected = Duration::try_from_secs_f32(seconds).unwrap_or_default();
                players.push(Player { name, score, connected });
            }
            Ok(Reply::Players(players))
        }
        b'E' => {
            let count = reader.u16()?;
            let mut rules = Vec::new();
            while rules.len() < usize::from(count) && !reader.0.is_empty() {
                rules.push((reader.text()?, reader.text()?));
            }
            Ok(Reply::Rules(rules))
        }
        _ => Err(A2sError::Malformed("its kind is unknown")),
    }
}

fn parse_info(reader: &mut Reader<'_>) -> Result<Info, A2sError> {
    reader.u8()?; // version of the protocol
    let mut info = Info {
        name: reader.text()?,
        map: reader.text()?,
        folder: reader.text()?,
        game: reader.text()?,
        ..Info::default()
    };
    reader.u16()?; // short application id; the long one is in the extra data
    info.players = reader.u8()?;
    info.max_players = reader.u8()?;
    info.bots = reader.u8()?;
    info.kind = reader.u8()?;
    info.system = reader.u8()?;
    info.private = reader.u8()? != 0;
    info.vac = reader.u8()? != 0;
    info.version = reader.text()?;
    let Ok(extra) = reader.u8() else { return Ok(info) };
    if extra & 0x80 != 0 {
        info.port = Some(reader.u16()?);
    }
    if extra & 0x10 != 0 {
        info.steam_id = Some(u64::from_le_bytes(reader.bytes()?));
    }
    if extra & 0x40 != 0 {
        reader.u16()?; // SourceTV
        reader.text()?;
    }
    if extra & 0x20 != 0 {
        info.keywords = Some(reader.text()?);
    }
    Ok(info)
}

/// Puts the datagrams of one answer together.
#[derive(Debug, Default)]
pub struct Assembler {
    id: Option<i32>,
    parts: Vec<Option<Vec<u8>>>,
    size: usize,
}

impl Assembler {
    /// Takes a datagram; the whole reply once nothing is missing.
    pub fn push(&mut self, datagram: &[u8]) -> Result<Option<Vec<u8>>, A2sError> {
        let mut reader = Reader(datagram);
        match reader.bytes::<4>()? {
            [0xff, 0xff, 0xff, 0xff] => return Ok(Some(datagram.to_vec())),
            [0xfe, 0xff, 0xff, 0xff] => {}
            _ => return Err(A2sError::Malformed("its header is neither -1 nor -2")),
        }
        let id = reader.i32()?;
        if id < 0 {
            return Err(A2sError::Malformed("it is compressed, which this game never does"));
        }
        let total = usize::from(reader.u8()?);
        let number = usize::from(reader.u8()?);
        reader.u16()?; // largest size of a part
        if total == 0 || total > PARTS_MAX || number >= total {
            return Err(A2sError::Malformed("its part numbers are out of bounds"));
        }
        if self.id != Some(id) || self.parts.len() != total {
            // Parts of an older answer that came late are dropped with it.
            *self = Self { id: Some(id), parts: vec![None; total], size: 0 };
        }
        if self.parts[number].is_none() {
            self.size += reader.0.len();
            if self.size > REPLY_MAX {
                return Err(A2sError::Malformed("it is too long"));
            }
            self.parts[number] = Some(reader.0.to_vec());
        }
        if self.parts.iter().any(Option::is_none) {
            return Ok(None);
        }
        let parts = std::mem::take(&mut self.parts);
        self.id = None;
        Ok(Some(parts.into_iter().flatten().flatten().collect()))
    }
}

/// Asks `address` and waits at most `limit` for the whole exchange. Answers with the reply and the time that its last
/// round took.
async fn ask(address: SocketAddr, question: Question, limit: Duration) -> Result<(Reply, Duration), A2sError> {
    let exchange = async {
        let local: SocketAddr = if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(local).await?;
        // Connected: only answers of this address arrive, and "nobody listens" becomes an error at once.
        socket.connect(address).await?;
        let mut challenge = None;
        let mut buffer = vec![0; 8192];
        for _ in 0..=CHALLENGES_MAX {
            let sent = Instant::now();
            socket.send(&question.request(challenge)).await?;
            let mut assembler = Assembler::default();
            let whole = loop {
                let length = socket.recv(&mut buffer).await?;
                if let Some(whole) = assembler.push(&buffer[..length])? {
                    break whole;
                }
            };
            match parse_reply(&whole)? {
                Reply::Challenge(bytes) => challenge = Some(bytes),
                reply @ (Reply::Info(_) | Reply::Players(_) | Reply::Rules(_)) => return Ok((reply, sent.elapsed())),
            }
        }
        Err(A2sError::Challenged)
    };
    tokio::time::timeout(limit, exchange).await.unwrap_or(Err(A2sError::Timeout(limit)))
}

const OTHER: A2sError = A2sError::Malformed("it answers another question");

/// Name, map and counts of the game at `address`, and the round trip.
pub async fn info(address: SocketAddr, limit: Duration) -> Result<(Info, Duration), A2sError> {
    match ask(address, Question::Info, limit).await? {
        (Reply::Info(info), ping) => Ok((info, ping)),
        (Reply::Challenge(_) | Reply::Players(_) | Reply::Rules(_), _) => Err(OTHER),
    }
}

/// Who plays at `address`.
pub async fn players(address: SocketAddr, limit: Duration) -> Result<Vec<Player>, A2sError> {
    match ask(address, Question::Players, limit).await? {
        (Reply::Players(players), _) => Ok(players),
        (Reply::Challenge(_) | Reply::Info(_) | Reply::Rules(_), _) => Err(OTHER),
    }
}

/// Public console variables of the game at `address`.
pub async fn rules(address: SocketAddr, limit: Duration) -> Result<Vec<(String, String)>, A2sError> {
    match ask(address, Question::Rules, limit).await? {
        (Reply::Rules(rules), _) => Ok(rules),
        (Reply::Challenge(_) | Reply::Info(_) | Reply::Players(_), _) => Err(OTHER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INFO: &[u8] = b"\xff\xff\xff\xffI\x11My Practice\0c1m1_hotel\0left4dead2\0Left 4 Dead 2\0\x26\x02\x05\x12\x04dl\0\x012.2.4.3\0\xb1\x87\x69\x01\0\0\0\0\0\0\x01coop,versus\0\x26\x02\0\0\0\0\0\0";

    #[test]
    fn an_info_reply_is_read_with_its_extra_data() {
        let Reply::Info(info) = parse_reply(INFO).unwrap() else { panic!("another reply") };
        assert_eq!((info.name.as_str(), info.map.as_str()), ("My Practice", "c1m1_hotel"));
        assert_eq!((info.players, info.bots, info.max_players, info.humans()), (5, 4, 18, 1));
        assert_eq!((info.port, info.keywords.as_deref()), (Some(27015), Some("coop,versus")));
        assert!(info.vac && !info.private);
    }

    #[test]
    fn every_cut_of_an_info_reply_is_an_error_or_a_shorter_info_but_no_panic() {
        for end in 0..INFO.len() {
            let _ = parse_reply(&INFO[..end]);
        }
        assert!(parse_reply(&INFO[..20]).is_err());
    }

    #[test]
    fn split_parts_in_any_order_make_the_whole_and_repeats_do_not_count() {
        let part = |number: u8, text: &[u8]| {
            let mut out = b"\xfe\xff\xff\xff\x07\0\0\0\x03".to_vec();
            out.extend([number, 0xe0, 0x04]);
            out.extend(text);
            out
        };
        let mut assembler = Assembler::default();
        assert!(assembler.push(&part(2, &INFO[30..])).unwrap().is_none());
        assert!(assembler.push(&part(0, &INFO[..10])).unwrap().is_none());
        assert!(assembler.push(&part(0, &INFO[..10])).unwrap().is_none());
        assert_eq!(assembler.push(&part(1, &INFO[10..30])).unwrap().unwrap(), INFO);
    }

    #[test]
    fn parts_out_of_bounds_are_refused() {
        assert!(Assembler::default().push(b"\xfe\xff\xff\xff\x07\0\0\0\x02\x02\0\0x").is_err());
        assert!(Assembler::default().push(b"\xfe\xff\xff\xff\x07\0\0\0\0\0\0\0x").is_err());
        assert!(Assembler::default().push(b"\xfe\xff\xff\xff\x07\0\0\x80\x02\0\0\0x").is_err());
    }

    proptest! {
        #[test]
        fn no_datagram_makes_the_reader_panic(datagram in proptest::collection::vec(any::<u8>(), 0..200), kind in 0u8..4) {
            let _ = parse_reply(&datagram);
            let mut framed = vec![0xff, 0xff, 0xff, 0xff, [b'I', b'D', b'E', b'A'][usize::from(kind)]];
            framed.extend(&datagram);
            let _ = parse_reply(&framed);
            let mut split = vec![0xfe, 0xff, 0xff, 0xff];
            split.extend(&datagram);
            let _ = Assembler::default().push(&split);
        }
    }

    #[tokio::test]
    async fn a_challenge_is_sent_back_as_often_as_it_is_asked_for() {
        let game = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = game.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let mut buffer = [0; 100];
            for challenge in [b"\xff\xff\xff\xffAabcd", b"\xff\xff\xff\xffAwxyz"] {
                let (_, from) = game.recv_from(&mut buffer).await.unwrap();
                game.send_to(challenge, from).await.unwrap();
            }
            let (length, from) = game.recv_from(&mut buffer).await.unwrap();
            game.send_to(INFO, from).await.unwrap();
            buffer[..length].to_vec()
        });
        let (info, _) = info(address, Duration::from_secs(5)).await.unwrap();
        assert_eq!(info.map, "c1m1_hotel");
        assert!(server.await.unwrap().ends_with(b"Query\0wxyz"));
    }

    #[tokio::test]
    async fn nobody_and_silence_are_told_apart() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        assert!(matches!(info(address, Duration::from_millis(50)).await, Err(A2sError::Timeout(_))));
        drop(silent);
        assert!(matches!(info(address, Duration::from_secs(5)).await, Err(A2sError::Io(_))));
    }
}
