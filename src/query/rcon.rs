//! Source RCON over TCP: the packet codec and a client that logs in once.
//!
//! A wrong password is reported and never tried again: the game bans an address after a few (domain.md). Lines of the
//! reply are bounded; the end of a long one is found by a second, empty packet that the game answers in order.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Logs in.
pub const AUTH: i32 = 3;
/// Runs a command; also the kind of the answer to [`AUTH`].
pub const EXEC: i32 = 2;
/// Part of an answer.
pub const RESPONSE: i32 = 0;
/// Most bytes of one packet after its size: 4,096 of text, two numbers, two NULs, and some slack that games take.
const PACKET_MAX: usize = 8192;
/// Most bytes of one answer.
const ANSWER_MAX: usize = 1 << 20;

/// Why a command did not run.
#[derive(Debug, thiserror::Error)]
pub enum RconError {
    /// The password is wrong, or none is set. Do not try it again: the game bans.
    #[error("the game refused the RCON password; set rcon_password in the blueprint and restart the server")]
    BadPassword,
    /// Nothing came in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection failed or ended.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    /// The other side does not speak the protocol.
    #[error("the answer is malformed: {0}")]
    Malformed(&'static str),
}

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Chosen by who asks, repeated in the answer; −1 says that the password is wrong.
    pub id: i32,
    /// [`AUTH`], [`EXEC`] or [`RESPONSE`].
    pub kind: i32,
    /// Text without its NUL.
    pub body: Vec<u8>,
}

impl Packet {
    /// The packet as bytes. NULs of the text would end it: they are left out.
    pub fn encode(&self) -> Vec<u8> {
        let body: Vec<u8> = self.body.iter().copied().filter(|byte| *byte != 0).collect();
        let mut out = Vec::with_capacity(body.len() + 14);
        out.extend((body.len() as i32 + 10).to_le_bytes());
        out.extend(self.id.to_le_bytes());
        out.extend(self.kind.to_le_bytes());
        out.extend(body);
        out.extend([0, 0]);
        out
    }
}

/// Finds packets in a stream of bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    /// Takes what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole packet; `None`: more bytes are needed. After an error the connection is of no use.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, RconError> {
        let Some((size, rest)) = self.buffer.split_first_chunk::<4>() else { return Ok(None) };
        let size = usize::try_from(i32::from_le_bytes(*size))
            .ok()
            .filter(|size| (10..=PACKET_MAX).contains(size))
            .ok_or(RconError::Malformed("the size of a packet is out of bounds"))?;
        let Some(packet) = rest.get(..size) else { return Ok(None) };
        let number = |at: usize| packet[at..].first_chunk::<4>().map_or(0, |bytes| i32::from_le_bytes(*bytes));
        let text = &packet[8..];
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        let packet = Packet { id: number(0), kind: number(4), body: text[..end].to_vec() };
        self.buffer.drain(..size + 4);
        Ok(Some(packet))
    }
}

/// A connection that is logged in.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    decoder: Decoder,
    limit: Duration,
    last_id: i32,
}

impl Client {
    /// Connects and logs in, once. `limit` holds for this and for each command.
    pub async fn connect(address: SocketAddr, password: &str, limit: Duration) -> Result<Self, RconError> {
        let log_in = async {
            let stream = TcpStream::connect(address).await?;
            let mut client = Self { stream, decoder: Decoder::default(), limit, last_id: 1 };
            client.send(1, AUTH, password).await?;
            loop {
                let packet = client.receive().await?;
                // The game sends an empty answer first, then the verdict.
                if packet.kind == EXEC {
                    return if packet.id == 1 { Ok(client) } else { Err(RconError::BadPassword) };
                }
            }
        };
        tokio::time::timeout(limit, log_in).await.unwrap_or(Err(RconError::Timeout(limit)))
    }

    /// Runs one console command and answers with what it printed.
    pub async fn exec(&mut self, command: &str) -> Result<String, RconError> {
        let limit = self.limit;
        let run = async {
            let id = self.last_id.wrapping_add(1).max(2);
            self.last_id = id.wrapping_add(1).max(3);
            self.send(id, EXEC, command).await?;
            self.send(self.last_id, RESPONSE, "").await?;
            let mut answer = Vec::new();
            loop {
                let packet = self.receive().await?;
                if packet.id == self.last_id {
                    return Ok(String::from_utf8_lossy(&answer).into_owned());
                }
                if packet.id == id {
                    answer.extend_from_slice(&packet.body);
                }
                if answer.len() > ANSWER_MAX {
                    return Err(RconError::Malformed("it is too long"));
                }
            }
        };
        tokio::time::timeout(limit, run).await.unwrap_or(Err(RconError::Timeout(limit)))
    }

    async fn send(&mut self, id: i32, kind: i32, body: &str) -> Result<(), RconError> {
        let packet = Packet { id, kind, body: body.as_bytes().to_vec() };
        Ok(self.stream.write_all(&packet.encode()).await?)
    }

    async fn receive(&mut self) -> Result<Packet, RconError> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(packet) = self.decoder.next_packet()? {
                return Ok(packet);
            }
            let length = self.stream.read(&mut buffer).await?;
            if length == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
            self.decoder.push(&buffer[..length]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packets_read_back_however_the_stream_cuts_them(
            id in any::<i32>(), kind in any::<i32>(), body in proptest::collection::vec(1u8..=255, 0..300), cut in 1usize..40
        ) {
            let packet = Packet { id, kind, body };
            let bytes = [packet.encode(), packet.encode()].concat();
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(cut) {
                decoder.push(piece);
                while let Some(packet) = decoder.next_packet().unwrap() {
                    found.push(packet);
                }
            }
            prop_assert_eq!(found, vec![packet.clone(), packet]);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_packet() {}
        }
    }

    #[test]
    fn a_size_out_of_bounds_is_refused_before_anything_is_kept() {
        for size in [-1i32, 0, 9, 9000, i32::MAX] {
            let mut decoder = Decoder::default();
            decoder.push(&size.to_le_bytes());
            assert!(decoder.next_packet().is_err(), "{size}");
        }
    }
}
