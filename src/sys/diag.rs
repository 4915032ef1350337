//! Listening TCP sockets of the network namespace, asked of the kernel by sock_diag(7).
//!
//! `/proc/net/tcp` says the same, but for it the kernel walks through the table of all connections, which takes it some
//! 8 ms on a large machine whether there are any or not; the table of listeners it has at hand.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

/// A socket that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Listening {
    /// Where.
    pub address: SocketAddr,
    /// Whose.
    pub uid: u32,
    /// Number of the socket, as `/proc/<pid>/fd` shows it.
    pub inode: u64,
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const IPPROTO_TCP: u8 = 6;
/// Bit of TCP_LISTEN among the states.
const LISTEN: u32 = 1 << 10;
/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Bytes of `struct inet_diag_req_v2` and of `struct inet_diag_msg`.
const REQUEST: usize = 56;
const MESSAGE: usize = 72;

/// Every TCP socket that listens, of one family. `EPERM` and kin where netlink is forbidden.
pub fn tcp_listeners(family: AddressFamily) -> io::Result<Vec<Listening>> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    rustix::net::send(&socket, &request(family), SendFlags::empty())?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 32 << 10];
    loop {
        let (read, _) = rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if messages(&buffer[..read], &mut found)? {
            return Ok(found);
        }
    }
}

fn request(family: AddressFamily) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + REQUEST);
    bytes.extend(((HEADER + REQUEST) as u32).to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    bytes.extend([0; 8]); // sequence, sender
    bytes.extend([family.as_raw() as u8, IPPROTO_TCP, 0, 0]);
    bytes.extend(LISTEN.to_ne_bytes());
    bytes.resize(HEADER + REQUEST, 0); // any address
    bytes
}

/// Reads the messages of one datagram; `true`: that was the last one.
fn messages(mut bytes: &[u8], found: &mut Vec<Listening>) -> io::Result<bool> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "sock_diag answered with nonsense");
    while !bytes.is_empty() {
        let length = number(bytes, 0).ok_or_else(malformed)? as usize;
        let kind = bytes.get(4..6).ok_or_else(malformed)?;
        let message = bytes.get(HEADER..length).ok_or_else(malformed)?;
        match u16::from_ne_bytes([kind[0], kind[1]]) {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let error = number(message, 0).ok_or_else(malformed)? as i32;
                return Err(io::Error::from_raw_os_error(-error));
            }
            _ => found.push(listening(message).ok_or_else(malformed)?),
        }
        // Messages begin at multiples of four.
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// `struct inet_diag_msg`: family, state, timer, retransmissions, then the socket's identity from byte 4 on (port and
/// address in network order), four counters from byte 52 on of which the last is the uid, and the inode.
fn listening(message: &[u8]) -> Option<Listening> {
    let message: &[u8; MESSAGE] = message.get(..MESSAGE)?.try_into().ok()?;
    let port = u16::from_be_bytes([message[4], message[5]]);
    let source = <[u8; 16]>::try_from(&message[8..24]).ok()?;
    let ip: IpAddr = if i32::from(message[0]) == i32::from(AddressFamily::INET.as_raw()) {
        Ipv4Addr::new(source[0], source[1], source[2], source[3]).into()
    } else {
        Ipv6Addr::from(source).into()
    };
    Some(Listening {
        address: SocketAddr::new(ip, port),
        uid: number(message, 64)?,
        inode: number(message, 68)?.into(),
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn listeners_of_both_families_are_found_with_owner_and_inode() {
        for (address, family) in [("127.0.0.1:0", AddressFamily::INET), ("[::1]:0", AddressFamily::INET6)] {
            let socket = TcpListener::bind(address).unwrap();
            let _connection = std::net::TcpStream::connect(socket.local_addr().unwrap()).unwrap();
            let found = tcp_listeners(family).unwrap();
            let one = found.iter().find(|one| one.address == socket.local_addr().unwrap()).unwrap();
            assert_eq!(one.uid, rustix::process::getuid().as_raw());
            let link =
                std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&socket))).unwrap();
            assert_eq!(link.to_str(), Some(format!("socket:[{}]", one.inode).as_str()));
            drop(socket);
            assert!(!tcp_listeners(family).unwrap().iter().any(|other| other.inode == one.inode));
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        for bytes in [
            &[1_u8][..],
            &[200; 20],
            &[4, 0, 0, 0, 20, 0, 0, 0],
            &[20, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9],
        ] {
            assert!(messages(bytes, &mut Vec::new()).is_err(), "{bytes:?}");
        }
    }
}
