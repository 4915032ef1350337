//! Reads the console of a game that starts: is it ready, and on which port?
//!
//! Fed with console bytes as they come; must not keep more of them than one line.

/// Longest line that is looked at; the line we wait for is far shorter.
const LINE_MAX: usize = 1024;

/// What a start log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// `ports N SV`: the game listens on this port (domain.md, srcds start log).
    Port(u16),
    /// `Couldn't allocate any server IP port`: somebody else has it.
    PortTaken,
}

/// Cuts bytes into lines and looks for signs.
#[derive(Debug, Default)]
pub struct Scanner {
    line: Vec<u8>,
}

impl Scanner {
    /// Takes more console bytes; answers with the first sign in them.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<Sign> {
        let mut found = None;
        for byte in bytes {
            if matches!(byte, b'\n' | b'\r') {
                found = found.or_else(|| sign(&String::from_utf8_lossy(&self.line)));
                self.line.clear();
            } else if self.line.len() < LINE_MAX {
                self.line.push(*byte);
            }
        }
        found
    }
}

fn sign(line: &str) -> Option<Sign> {
    if line.contains("Couldn't allocate any server IP port") {
        return Some(Sign::PortTaken);
    }
    // `Network: IP 10.0.0.2, mode MP, dedicated Yes, ports 27015 SV / 0 CL`. Only a line that begins so counts:
    // players can make other lines say anything.
    let rest = line.strip_prefix("Network: IP ")?;
    let (_, ports) = rest.split_once(", ports ")?;
    let (port, _) = ports.split_once(" SV")?;
    port.trim().parse().ok().map(Sign::Port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_line_tells_the_port_even_when_it_comes_in_pieces() {
        let mut scanner = Scanner::default();
        assert_eq!(scanner.feed(b"#Console initialized.\r\nNetwork: IP 10.0.0.2, mode MP, dedica"), None);
        assert_eq!(scanner.feed(b"ted Yes, ports 27015 SV / 0 CL\r\n"), Some(Sign::Port(27015)));
    }

    #[test]
    fn a_player_who_says_the_line_does_not_make_the_game_ready() {
        let mut scanner = Scanner::default();
        assert_eq!(scanner.feed(b"Bill: Network: IP 1, ports 27099 SV\n"), None);
    }

    #[test]
    fn a_port_that_somebody_has_is_seen() {
        let mut scanner = Scanner::default();
        assert_eq!(scanner.feed(b"Couldn't allocate any server IP port\n"), Some(Sign::PortTaken));
    }

    #[test]
    fn a_line_without_an_end_needs_no_more_memory_than_one_line() {
        let mut scanner = Scanner::default();
        scanner.feed(&vec![b'x'; 1 << 20]);
        assert!(scanner.line.capacity() <= 2 * LINE_MAX);
    }
}
