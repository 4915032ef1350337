//! The shim's side of its socket: who is connected, what they said, what they still have to be told.
//!
//! A client that does not read costs a bounded buffer and nothing else: the loop that moves console bytes never waits.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::protocol::{FRAME_MAX, FromShim, Hello, ToShim, take_frame};

/// Most clients at once: a daemon, a few that follow, and what a crash left half open.
const CLIENTS_MAX: usize = 16;
/// Bytes that may wait for a client before it is given up.
const WAITING_MAX: usize = 64 << 10;

/// One connection.
#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    input: Vec<u8>,
    output: Vec<u8>,
    /// The end of the console that it was told last; `None`: it did not ask.
    told: Option<u64>,
}

/// All connections.
#[derive(Debug, Default)]
pub struct Clients(Vec<Client>);

impl Clients {
    /// Takes a new connection, from our own user or root only.
    pub fn accept(&mut self, listener: &OwnedFd, hello: &Hello) {
        let Ok(socket) = rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) else {
            return;
        };
        let allowed = rustix::net::sockopt::socket_peercred(&socket)
            .is_ok_and(|peer| peer.uid.is_root() || peer.uid == rustix::process::geteuid());
        if allowed && self.0.len() < CLIENTS_MAX {
            self.0.push(Client { socket, input: Vec::new(), output: Vec::new(), told: None });
            let index = self.0.len() - 1;
            self.tell(index, &FromShim::Hello(hello.clone()));
        }
    }

    /// Descriptors to wait on, and for what, in the order of the indices below.
    pub fn interests(&self) -> impl Iterator<Item = (&OwnedFd, PollFlags)> {
        self.0.iter().map(|client| {
            let flags = if client.output.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
            (&client.socket, flags)
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads what a client said. `None`: it is gone, drop it with [`Clients::remove`].
    pub fn hear(&mut self, index: usize) -> Option<Vec<ToShim>> {
        let client = &mut self.0[index];
        let mut buffer = [0_u8; 4096];
        let mut open = true;
        loop {
            match rustix::io::read(&client.socket, &mut buffer) {
                Ok(0) => open = false,
                Ok(n) => {
                    client.input.extend_from_slice(&buffer[..n]);
                    if client.input.len() < FRAME_MAX {
                        continue;
                    }
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {}
                Err(_) => open = false,
            }
            break;
        }
        let mut said = Vec::new();
        loop {
            match take_frame(&mut client.input, FRAME_MAX) {
                Ok(Some((tag, payload))) => said.extend(ToShim::decode(tag, &payload)),
                Ok(None) => break,
                Err(_) => return None,
            }
        }
        // What it said before it left still counts.
        if open || !said.is_empty() { Some(said) } else { None }
    }

    /// Forgets a client.
    pub fn remove(&mut self, index: usize) {
        self.0.remove(index);
    }

    /// From now on this client is told when the console grows.
    pub fn subscribe(&mut self, index: usize, end: u64) {
        self.0[index].told = Some(end);
        self.tell(index, &FromShim::Output(end));
    }

    /// Tells one client.
    pub fn tell(&mut self, index: usize, frame: &FromShim) {
        self.0[index].output.extend(frame.encode());
        self.flush(index);
    }

    /// Tells all subscribers where the console ends. One that has not read the last notice gets the next one later, once.
    pub fn tell_end(&mut self, end: u64) {
        for index in 0..self.0.len() {
            let client = &mut self.0[index];
            if client.output.is_empty() && client.told.is_some_and(|told| told != end) {
                client.told = Some(end);
                self.tell(index, &FromShim::Output(end));
            }
        }
    }

    /// Tells everyone.
    pub fn tell_all(&mut self, frame: &FromShim) {
        for index in 0..self.0.len() {
            self.tell(index, frame);
        }
    }

    /// Whether something waits to be sent.
    pub fn has_waiting(&self) -> bool {
        self.0.iter().any(|client| !client.output.is_empty())
    }

    /// Sends what the socket takes. Answers whether the client is worth keeping.
    pub fn flush(&mut self, index: usize) -> bool {
        let client = &mut self.0[index];
        while !client.output.is_empty() {
            match send(&client.socket, &client.output) {
                Ok(n) => {
                    client.output.drain(..n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    // Its end is noticed when it is read from.
                    client.output.clear();
                    return false;
                }
            }
        }
        client.output.len() <= WAITING_MAX
    }
}

fn send(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, rustix::net::SendFlags::NOSIGNAL)?)
}
