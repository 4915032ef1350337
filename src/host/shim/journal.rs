//! Console lines to the journal, for people who look there: never waited for, what does not fit is dropped and counted.
//! The segments are the truth.

use std::os::unix::net::UnixDatagram;

/// Where journald listens (its native protocol, systemd's JOURNAL_NATIVE_PROTOCOL).
const SOCKET: &str = "/run/systemd/journal/socket";
/// A longer line is sent in pieces.
const LINE_MAX: usize = 4096;

/// Sends lines.
#[derive(Debug)]
pub struct Journal {
    socket: Option<UnixDatagram>,
    identifier: String,
    server_id: Option<u64>,
    partial: Vec<u8>,
    dropped: u64,
}

impl Journal {
    /// Without a journal on the box every line is let go.
    pub fn open(identifier: &str, server_id: Option<u64>) -> Self {
        let socket = UnixDatagram::unbound()
            .and_then(|socket| socket.connect(SOCKET).map(|()| socket))
            .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
            .ok();
        Self { socket, identifier: identifier.into(), server_id, partial: Vec::new(), dropped: 0 }
    }

    /// Lines that the journal did not take.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes what was printed, sends the lines that are whole.
    pub fn append(&mut self, bytes: &[u8]) {
        if self.socket.is_none() {
            return;
        }
        for byte in bytes {
            if *byte == b'\n' || self.partial.len() == LINE_MAX {
                self.flush();
            }
            if *byte != b'\n' {
                self.partial.push(*byte);
            }
        }
    }

    /// Sends what is there.
    pub fn flush(&mut self) {
        let Some(socket) = &self.socket else { return };
        let message = datagram(&self.identifier, self.server_id, &self.partial);
        self.partial.clear();
        if let Some(message) = message
            && socket.send(message.as_bytes()).is_err()
        {
            self.dropped += 1;
        }
    }
}

/// One line as the journal takes it; nothing for an empty one.
fn datagram(identifier: &str, server_id: Option<u64>, line: &[u8]) -> Option<String> {
    // Control characters would make the journal keep, and show, a blob.
    let text: String = String::from_utf8_lossy(line).chars().filter(|c| !c.is_control() || *c == '\t').collect();
    if text.trim().is_empty() {
        return None;
    }
    let server = server_id.map_or(String::new(), |id| format!("LEFT4ME_SERVER_ID={id}\n"));
    Some(format!("PRIORITY=6\nSYSLOG_IDENTIFIER={identifier}\n{server}MESSAGE={text}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cannot_add_a_field_of_its_own() {
        let line = b"\x1b[31mhello\r\nUNIT=fake\0";
        let sent = datagram("left4me-server@4", Some(4), line).unwrap();
        assert_eq!(
            sent,
            "PRIORITY=6\nSYSLOG_IDENTIFIER=left4me-server@4\nLEFT4ME_SERVER_ID=4\nMESSAGE=[31mhelloUNIT=fake\n"
        );
        assert_eq!(datagram("x", None, b" \r"), None);
    }
}
