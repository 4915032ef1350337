//! Fast clients: one connection that asks again and again, a reader of server-sent events that keeps nothing, and wrk.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

/// A connection that is kept.
pub struct Connection {
    reader: BufReader<TcpStream>,
    /// Headers of every request, each with its line end.
    headers: String,
    /// The last answer's body.
    pub body: Vec<u8>,
}

impl Connection {
    /// Connects; `headers` as they are written.
    pub fn to(address: SocketAddr, headers: &[(&str, &str)]) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("an option");
        stream.set_read_timeout(Some(crate::support::PATIENCE)).expect("an option");
        let mut text = format!("host: {address}\r\n");
        for (name, value) in headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        Self { reader: BufReader::with_capacity(256 << 10, stream), headers: text, body: Vec::new() }
    }

    /// Sends one request and reads its answer, which must be a 2xx; answers how long that took.
    pub fn ask(&mut self, method: &str, path: &str, body: &str) -> Duration {
        let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let request = format!("{method} {path} HTTP/1.1\r\n{}{length}\r\n{body}", self.headers);
        let begun = Instant::now();
        self.reader.get_mut().write_all(request.as_bytes()).expect("a request");
        let (status, length) = head(&mut self.reader);
        let length = if status == 204 { Some(0) } else { length };
        self.body.resize(length.expect("an answer that says its length"), 0);
        self.reader.read_exact(&mut self.body).expect("a body");
        let took = begun.elapsed();
        assert!((200..300).contains(&status), "{method} {path}: {status} {}", String::from_utf8_lossy(&self.body));
        took
    }
}

/// Status and length of an answer.
fn head(reader: &mut impl BufRead) -> (u16, Option<usize>) {
    let mut line = String::new();
    reader.read_line(&mut line).expect("an answer");
    let status = line.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
    let mut length = None;
    loop {
        line.clear();
        reader.read_line(&mut line).expect("a header");
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().ok(),
            Some(_) => {}
            None => return (status, length),
        }
    }
}

/// A stream of server-sent events, read without keeping it.
pub struct Stream {
    reader: BufReader<TcpStream>,
    /// Bytes of the current chunk that were not read yet, its end included.
    left: usize,
    line: Vec<u8>,
}

impl Stream {
    /// Opens it.
    pub fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let connection = Connection::to(address, headers);
        let request = format!("GET {path} HTTP/1.1\r\n{}\r\n", connection.headers);
        let mut reader = connection.reader;
        reader.get_mut().write_all(request.as_bytes()).expect("a request");
        let (status, _) = head(&mut reader);
        assert_eq!(status, 200, "{path}");
        Self { reader, left: 0, line: Vec::new() }
    }

    /// The next line of the stream, without its end; `None`: it is over.
    pub fn next_line(&mut self) -> Option<&[u8]> {
        self.line.clear();
        loop {
            if self.left == 0 {
                let mut size = String::new();
                self.reader.read_line(&mut size).ok()?;
                // The line end after a chunk comes before the size of the next.
                if size.trim().is_empty() && !size.is_empty() {
                    continue;
                }
                self.left = usize::from_str_radix(size.trim(), 16).ok().filter(|size| *size > 0)?;
            }
            let there = self.reader.fill_buf().ok().filter(|bytes| !bytes.is_empty())?;
            let there = &there[..there.len().min(self.left)];
            let end = there.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(there.len(), |at| at + 1);
            self.line.extend_from_slice(&there[..end.unwrap_or(taken)]);
            self.reader.consume(taken);
            self.left -= taken;
            if end.is_some() {
                return Some(&self.line);
            }
        }
    }

    /// The `data:` of the next event that has one; `None`: the stream is over.
    pub fn next_data(&mut self) -> Option<&[u8]> {
        loop {
            if self.next_line()?.starts_with(b"data:") {
                break;
            }
        }
        let data = &self.line[5..];
        Some(data.strip_prefix(b" ").unwrap_or(data))
    }
}

/// Requests per second that wrk gets answered with 2xx; `None`: there is no wrk.
pub fn wrk(address: SocketAddr, path: &str, headers: &[(&str, &str)], seconds: u64) -> Option<f64> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c16", &format!("-d{seconds}s")]);
    for (name, value) in headers {
        command.args(["-H", &format!("{name}: {value}")]);
    }
    let output = command.arg(format!("http://{address}{path}")).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !text.contains("Non-2xx"), "wrk {path}: {text}");
    let rate = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    Some(rate.and_then(|rate| rate.trim().parse().ok()).unwrap_or_else(|| panic!("wrk says no rate: {text}")))
}
