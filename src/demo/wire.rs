//! What the simulated game says on the network: A2S replies with challenges, RCON answers.
//!
//! Called by [`super::srcds`]. Written apart from the codec in [`crate::query`], so that neither can hide the other's
//! mistakes; a client of strangers (`python-a2s`) judges both.

use std::net::SocketAddr;

use super::game::Game;

/// Largest datagram that is sent whole; longer answers are split.
const PART_MAX: usize = 1248;

/// Answers one datagram; several when the answer is split, none when it is no query.
pub fn answer(game: &Game, from: SocketAddr, datagram: &[u8]) -> Vec<Vec<u8>> {
    let Some(question) = datagram.strip_prefix(&[0xff; 4]) else { return Vec::new() };
    let challenge = challenge(game.secret(), from);
    let demand = || vec![[&[0xff, 0xff, 0xff, 0xff, b'A'][..], &challenge].concat()];
    let reply = match question.split_first() {
        Some((b'T', rest)) => match rest.strip_prefix(b"Source Engine Query\0") {
            Some(token) if token == challenge => info(game),
            Some(_) => return demand(),
            None => return Vec::new(),
        },
        Some((b'U', token)) if token == challenge => players(game),
        Some((b'V', token)) if token == challenge => rules(game),
        Some((b'U' | b'V', _)) => return demand(),
        Some(_) | None => return Vec::new(),
    };
    split(reply)
}

/// A number that only `from` can know: it need not be remembered.
fn challenge(secret: u64, from: SocketAddr) -> [u8; 4] {
    let mut hash = secret ^ 0xcbf2_9ce4_8422_2325;
    for byte in from.to_string().bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // -1 asks for a challenge and so cannot be one.
    if hash as u32 == u32::MAX { [1, 2, 3, 4] } else { (hash as u32).to_le_bytes() }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().filter(|byte| *byte != 0));
    out.push(0);
}

fn info(game: &Game) -> Vec<u8> {
    let mut out = b"\xff\xff\xff\xffI\x11".to_vec();
    text(&mut out, &game.cvar("hostname"));
    text(&mut out, game.map());
    text(&mut out, "left4dead2");
    text(&mut out, "Left 4 Dead 2");
    out.extend(550u16.to_le_bytes());
    out.push(game.crowd().players().len() as u8);
    out.push(game.max_players());
    out.push(game.crowd().bots() as u8);
    out.extend(*b"dl");
    out.push(u8::from(!game.cvar("sv_password").is_empty()));
    out.push(u8::from(game.secure()));
    text(&mut out, super::content::GAME_VERSION);
    out.push(0x80 | 0x10 | 0x20 | 0x01);
    out.extend(game.port().to_le_bytes());
    out.extend((90_000_000_000_000_000 + u64::from(game.port())).to_le_bytes());
    text(&mut out, &game.cvar("sv_tags"));
    out.extend(550u64.to_le_bytes());
    out
}

fn players(game: &Game) -> Vec<u8> {
    let mut out = b"\xff\xff\xff\xffD".to_vec();
    out.push(game.crowd().players().len() as u8);
    for player in game.crowd().players() {
        out.push(0);
        text(&mut out, &player.name);
        out.extend(player.score.to_le_bytes());
        out.extend((game.seconds().saturating_sub(player.since) as f32).to_le_bytes());
    }
    out
}

fn rules(game: &Game) -> Vec<u8> {
    let rules = game.public_cvars();
    let mut out = b"\xff\xff\xff\xffE".to_vec();
    out.extend((rules.len() as u16).to_le_bytes());
    for (name, value) in rules {
        text(&mut out, &name);
        text(&mut out, &value);
    }
    out
}

fn split(reply: Vec<u8>) -> Vec<Vec<u8>> {
    if reply.len() <= PART_MAX {
        return vec![reply];
    }
    let parts: Vec<&[u8]> = reply.chunks(PART_MAX).collect();
    let total = parts.len() as u8;
    let part = |(number, part): (usize, &&[u8])| {
        let mut out = vec![0xfe, 0xff, 0xff, 0xff, 1, 0, 0, 0, total, number as u8];
        out.extend((PART_MAX as u16).to_le_bytes());
        out.extend_from_slice(part);
        out
    };
    parts.iter().enumerate().map(part).collect()
}

/// What an RCON packet asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send these bytes.
    Say(Vec<u8>),
    /// Run this console command and send [`rcon_answer`] with this id.
    Run(i32, String),
}

/// The other side does not speak RCON: the connection must end.
#[derive(Debug, PartialEq, Eq)]
pub struct NotRcon;

/// One RCON connection.
#[derive(Debug, Default)]
pub struct Rcon {
    buffer: Vec<u8>,
    trusted: bool,
    /// How many passwords were wrong.
    pub refused: u32,
}

impl Rcon {
    /// Takes what was read and says what to do, in order.
    pub fn take(&mut self, bytes: &[u8], password: &str) -> Result<Vec<Step>, NotRcon> {
        self.buffer.extend_from_slice(bytes);
        let mut steps = Vec::new();
        while let Some((size, rest)) = self.buffer.split_first_chunk::<4>() {
            let size = i32::from_le_bytes(*size) as usize;
            if !(10..=4110).contains(&size) {
                return Err(NotRcon);
            }
            let Some(packet) = rest.get(..size) else { break };
            let id = i32::from_le_bytes([packet[0], packet[1], packet[2], packet[3]]);
            let kind = packet[4];
            let body = packet[8..].split(|byte| *byte == 0).next().unwrap_or_default();
            let body = String::from_utf8_lossy(body).into_owned();
            self.buffer.drain(..size + 4);
            match kind {
                3 => {
                    self.trusted = !password.is_empty() && body == password;
                    self.refused += u32::from(!self.trusted);
                    let mut out = Vec::new();
                    reply(&mut out, id, 0, b"");
                    reply(&mut out, if self.trusted { id } else { -1 }, 2, b"");
                    steps.push(Step::Say(out));
                }
                2 if self.trusted => steps.push(Step::Run(id, body)),
                // What asks for an answer without a command gets it back: clients find the end of an answer by it.
                0 if self.trusted => steps.push(Step::Say(rcon_answer(id, ""))),
                _ => return Err(NotRcon),
            }
        }
        Ok(steps)
    }
}

/// The answer to a command, in as many packets as it needs.
pub fn rcon_answer(id: i32, text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in text.as_bytes().chunks(4000) {
        reply(&mut out, id, 0, piece);
    }
    if text.is_empty() {
        reply(&mut out, id, 0, b"");
    }
    out
}

fn reply(out: &mut Vec<u8>, id: i32, kind: i32, body: &[u8]) {
    out.extend((body.len() as i32 + 10).to_le_bytes());
    out.extend(id.to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend_from_slice(body);
    out.extend([0, 0]);
}
