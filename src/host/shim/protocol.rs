//! What daemon and shim say to each other: frames of `u32` length (little endian, of tag and payload), `u8` tag, payload.
//!
//! | tag | way | frame | payload |
//! |---|---|---|---|
//! | 1 | shim → client | [`FromShim::Hello`] | JSON `{"version", "pid", "start_time"}` |
//! | 2 | shim → client | [`FromShim::Output`] | `u64` end of the console |
//! | 3 | shim → client | [`FromShim::Exit`] | JSON [`ExitStatus`] |
//! | 4 | shim → client | [`FromShim::Refused`] | text |
//! | 16 | client → shim | [`ToShim::Line`] | text of one line, without its end |
//! | 17 | client → shim | [`ToShim::Stop`] | – |
//! | 18 | client → shim | [`ToShim::Kill`] | – |
//! | 19 | client → shim | [`ToShim::Subscribe`] | – |
//! | 32 | starter → shim | launch request | JSON [`super::super::launch::Launch`] |
//! | 33 | shim → starter | [`Answer::Started`] | JSON `{"version", "pid", "start_time"}` |
//! | 34 | shim → starter | [`Answer::Failed`] | text: what, why and the remedy |
//! | 35 | starter → shim | probe request: nothing is started | JSON text: the data folder |
//! | 36 | shim → starter | [`Answer::Probed`] | JSON list of [`Check`](super::super::probe::Check) |
//!
//! Tags are never used again for something else. A frame with an unknown tag is skipped; unknown JSON keys are ignored.

use serde::{Deserialize, Serialize};

use super::super::launch::ExitStatus;
use super::super::probe::Check;

/// Newest version of the conversation; a daemon speaks every version that it may meet.
pub const PROTOCOL_VERSION: u32 = 1;
/// Most bytes of a frame between client and shim.
pub const FRAME_MAX: usize = 64 << 10;
/// Most bytes of a typed line: a terminal takes 4,096 with its end (termios(3), canonical mode).
pub const LINE_MAX: usize = 4095;

/// Who the shim runs: identity of its program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`] of the shim.
    pub version: u32,
    /// The program's process number, in the host's view.
    pub pid: i32,
    /// When it started, in clock ticks since boot.
    pub start_time: u64,
}

/// What a shim says to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromShim {
    /// First frame of each connection.
    Hello(Hello),
    /// The console has grown; its end. Only a wakeup: the bytes are in the segments.
    Output(u64),
    /// The program has ended.
    Exit(ExitStatus),
    /// What the client asked for was not done.
    Refused(String),
}

/// What a client says to a shim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToShim {
    /// Type this line.
    Line(String),
    /// End the program: line, SIGINT, SIGKILL.
    Stop,
    /// End the program at once.
    Kill,
    /// Send [`FromShim::Output`] from now on.
    Subscribe,
}

/// What a shim answers to its starter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The program runs.
    Started(Hello),
    /// It does not, nothing was left behind; the text says what to do.
    Failed(String),
    /// What a probe found.
    Probed(Vec<Check>),
}

/// Tag of the launch request.
pub const LAUNCH: u8 = 32;
/// Tag of the probe request.
pub const PROBE: u8 = 35;

/// Puts one frame together.
pub fn frame(tag: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(5 + payload.len());
    bytes.extend_from_slice(&(payload.len() as u32 + 1).to_le_bytes());
    bytes.push(tag);
    bytes.extend_from_slice(payload);
    bytes
}

/// A frame claims a length that nothing here has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes: this is not the shim's protocol")]
pub struct BadFrame(pub usize);

/// Takes the first whole frame off `buffer`; `None` while it is not whole.
pub fn take_frame(buffer: &mut Vec<u8>, max: usize) -> Result<Option<(u8, Vec<u8>)>, BadFrame> {
    let Some(header) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*header) as usize;
    if length == 0 || length > max {
        return Err(BadFrame(length));
    }
    if buffer.len() < 4 + length {
        return Ok(None);
    }
    let rest = buffer.split_off(4 + length);
    let mut whole = std::mem::replace(buffer, rest);
    let tag = whole[4];
    whole.drain(..5);
    Ok(Some((tag, whole)))
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Plain structures of numbers and texts: nothing that JSON cannot hold.
    serde_json::to_vec(value).unwrap_or_default()
}

impl FromShim {
    /// As a frame.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello(hello) => frame(1, &json(hello)),
            Self::Output(end) => frame(2, &end.to_le_bytes()),
            Self::Exit(status) => frame(3, &json(status)),
            Self::Refused(text) => frame(4, text.as_bytes()),
        }
    }

    /// From a frame; `None` when it is not one of these, or not whole.
    pub fn decode(tag: u8, payload: &[u8]) -> Option<Self> {
        match tag {
            1 => serde_json::from_slice(payload).ok().map(Self::Hello),
            2 => payload.first_chunk().map(|bytes| Self::Output(u64::from_le_bytes(*bytes))),
            3 => serde_json::from_slice(payload).ok().map(Self::Exit),
            4 => Some(Self::Refused(String::from_utf8_lossy(payload).into_owned())),
            _ => None,
        }
    }
}

impl ToShim {
    /// As a frame.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Line(text) => frame(16, text.as_bytes()),
            Self::Stop => frame(17, &[]),
            Self::Kill => frame(18, &[]),
            Self::Subscribe => frame(19, &[]),
        }
    }

    /// From a frame; `None` when it is not one of these.
    pub fn decode(tag: u8, payload: &[u8]) -> Option<Self> {
        match tag {
            16 => Some(Self::Line(String::from_utf8_lossy(payload).into_owned())),
            17 => Some(Self::Stop),
            18 => Some(Self::Kill),
            19 => Some(Self::Subscribe),
            _ => None,
        }
    }
}

impl Answer {
    /// As a frame.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Started(hello) => frame(33, &json(hello)),
            Self::Failed(text) => frame(34, text.as_bytes()),
            Self::Probed(checks) => frame(36, &json(checks)),
        }
    }

    /// From a frame; `None` when it is not one of these, or not whole.
    pub fn decode(tag: u8, payload: &[u8]) -> Option<Self> {
        match tag {
            33 => serde_json::from_slice(payload).ok().map(Self::Started),
            34 => Some(Self::Failed(String::from_utf8_lossy(payload).into_owned())),
            36 => serde_json::from_slice(payload).ok().map(Self::Probed),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_frame_reads_back() {
        let hello = Hello { version: 1, pid: 7, start_time: 9 };
        let exit = ExitStatus { code: Some(1), signal: None, asked: true, out_of_memory: false, at: 5 };
        let mut buffer = Vec::new();
        let said = [
            FromShim::Hello(hello.clone()),
            FromShim::Output(u64::MAX),
            FromShim::Exit(exit),
            FromShim::Refused("no".into()),
        ];
        for frame in &said {
            buffer.extend(frame.encode());
        }
        for expected in &said {
            let (tag, payload) = take_frame(&mut buffer, FRAME_MAX).unwrap().unwrap();
            assert_eq!(FromShim::decode(tag, &payload).as_ref(), Some(expected));
        }
        for expected in [ToShim::Line("status".into()), ToShim::Stop, ToShim::Kill, ToShim::Subscribe] {
            let mut buffer = expected.encode();
            let (tag, payload) = take_frame(&mut buffer, FRAME_MAX).unwrap().unwrap();
            assert_eq!(ToShim::decode(tag, &payload), Some(expected));
        }
        for expected in [Answer::Started(hello), Answer::Failed("why".into())] {
            let mut buffer = expected.encode();
            let (tag, payload) = take_frame(&mut buffer, FRAME_MAX).unwrap().unwrap();
            assert_eq!(Answer::decode(tag, &payload), Some(expected));
        }
    }

    #[test]
    fn a_key_of_a_newer_shim_is_ignored() {
        let text = br#"{"version":9,"pid":1,"start_time":2,"colour":"red"}"#;
        assert!(matches!(FromShim::decode(1, text), Some(FromShim::Hello(Hello { version: 9, pid: 1, .. }))));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_ask_for_more_than_a_frame(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut buffer = bytes.clone();
            while let Ok(Some((tag, payload))) = take_frame(&mut buffer, FRAME_MAX) {
                let _ = (FromShim::decode(tag, &payload), ToShim::decode(tag, &payload), Answer::decode(tag, &payload));
            }
            prop_assert!(buffer.len() <= bytes.len());
        }
    }
}
