//! Who listens on this box, read from `/proc`, and whether a port can be taken now.
//!
//! The daemon takes the snapshot before a transaction; the supervisor probes just before a start. Nothing is decided here.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::model::port::{Listener, ListenerOwner, Listeners, Protocol};
use crate::sys::diag::{self, Listening};
use crate::sys::process;

/// Whose sockets are not foreign.
#[derive(Debug, Clone, Default)]
pub struct Ours {
    /// Processes of our games (any process below them counts, too).
    pub pids: HashSet<i32>,
    /// Ports on which our games are known to listen.
    pub ports: HashSet<u16>,
}

/// A process that holds a socket: number and name; `None`: we may not look.
type Owner = Option<(i32, String)>;

/// Whose sockets are known from an earlier look, by the socket. To find it out takes a walk through the descriptors of every
/// process of the box, and most sockets are there for days.
#[derive(Debug, Default)]
pub struct Owners(Mutex<HashMap<Listening, Owner>>);

/// Every foreign listener: TCP sockets that listen, UDP sockets that are bound. Whose they are is found out for the ports
/// that `named` wants only, where `owners` does not know it: most listeners concern nobody here.
pub fn snapshot(ours: &Ours, owners: &Owners, named: impl Fn(u16) -> bool) -> Listeners {
    let mut rows = Vec::new();
    for file in ["udp", "udp6"] {
        rows.extend(table(file, None).map(|row| (Protocol::Udp, row)));
    }
    for (family, file) in [(AddressFamily::INET, "tcp"), (AddressFamily::INET6, "tcp6")] {
        match diag::tcp_listeners(family) {
            Ok(found) => rows.extend(found.into_iter().map(|row| (Protocol::Tcp, row))),
            // Netlink may be forbidden to us: the slow way says the same.
            Err(_) => rows.extend(table(file, Some("0A")).map(|row| (Protocol::Tcp, row))),
        }
    }
    rows.retain(|(_, row)| !ours.ports.contains(&row.address.port()));
    let owners = owners.of(rows.iter().map(|(_, row)| *row).filter(|row| named(row.address.port())));
    let mut listeners = Vec::new();
    for (protocol, row) in rows {
        let owner = match owners.get(&row) {
            Some(Some((pid, _))) if is_ours(*pid, ours) => continue,
            Some(Some((pid, program))) => ListenerOwner::Process { pid: *pid as u32, program: program.clone() },
            Some(None) | None => ListenerOwner::Uid(row.uid),
        };
        listeners.push(Listener { address: row.address, protocol, owner });
    }
    Listeners(listeners)
}

impl Owners {
    /// The owners of these sockets. What is known of others is forgotten.
    fn of(&self, rows: impl Iterator<Item = Listening>) -> HashMap<Listening, Owner> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = HashMap::new();
        let mut unknown = HashSet::new();
        for row in rows {
            match known.get(&row) {
                Some(owner) if still_holds(&row, owner) => {
                    found.insert(row, owner.clone());
                }
                Some(_) | None => {
                    unknown.insert(row);
                }
            }
        }
        let mut looked_up = look_up(&unknown.iter().map(|row| row.inode).collect());
        found.extend(unknown.into_iter().map(|row| (row, looked_up.remove(&row.inode))));
        known.clone_from(&found);
        found
    }
}

/// Whether what was found out about a socket is still so: its process lives, or we may not look at it now either.
fn still_holds(row: &Listening, owner: &Owner) -> bool {
    match owner {
        Some((pid, program)) => program_of(*pid) == *program,
        None => row.uid != rustix::process::geteuid().as_raw(),
    }
}

fn program_of(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// Sockets of `/proc/net/{udp,tcp}{,6}`, those in `state` or all.
fn table(file: &str, state: Option<&str>) -> impl Iterator<Item = Listening> {
    // A box without IPv6 has no such file.
    let text = fs::read_to_string(format!("/proc/net/{file}")).unwrap_or_default();
    let rows: Vec<Listening> = text.lines().skip(1).filter_map(|line| parse_row(line, state)).collect();
    rows.into_iter()
}

/// Whether a process is one of our games or below one.
fn is_ours(pid: i32, ours: &Ours) -> bool {
    ours.pids.contains(&pid) || process::parents(pid).any(|parent| ours.pids.contains(&parent))
}

/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …` (proc(5)).
fn parse_row(line: &str, state: Option<&str>) -> Option<Listening> {
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let _remote = fields.next()?;
    if state.is_some_and(|wanted| fields.clone().next() != Some(wanted)) {
        return None;
    }
    let uid = fields.nth(4)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some(Listening { address: parse_address(local)?, uid, inode })
}

/// `0100007F:1F90`: each group of four bytes is a number in the order of the machine.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    if !address.is_ascii() || address.len() % 8 != 0 {
        return None;
    }
    let mut bytes = Vec::new();
    for at in (0..address.len()).step_by(8) {
        bytes.extend(u32::from_str_radix(&address[at..at + 8], 16).ok()?.to_ne_bytes());
    }
    let ip: IpAddr = match bytes.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Process and program of each socket inode, as far as we may look: the descriptors of other users' processes are closed
/// to us.
fn look_up(inodes: &HashSet<u64>) -> HashMap<u64, (i32, String)> {
    let mut found = HashMap::new();
    if inodes.is_empty() {
        return found;
    }
    for pid in process::all() {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for link in descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()) {
            let inode =
                link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok());
            if let Some(inode) = inode.filter(|inode| inodes.contains(inode)) {
                found.entry(inode).or_insert_with(|| (pid, program_of(pid)));
            }
        }
    }
    found
}

/// Whether the game can bind this port now, UDP and TCP, on every address. `Err`: somebody holds it, in words; named as
/// far as the owner may be read.
///
/// Nothing stays bound. TCP with SO_REUSEADDR, as the game does it: connections of a server that has just stopped, which
/// linger in TIME_WAIT, are no obstacle; a listener is.
pub fn probe(port: u16) -> Result<(), String> {
    for (protocol, kind) in [(Protocol::Udp, SocketType::DGRAM), (Protocol::Tcp, SocketType::STREAM)] {
        for address in
            [SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))]
        {
            match bind(address, kind) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(taken(port, protocol)),
                // No IPv6 on this box.
                Err(_) if address.is_ipv6() => {}
                Err(error) => return Err(format!("port {port}/{} cannot be bound: {error}", protocol.word())),
            }
        }
    }
    Ok(())
}

fn bind(address: SocketAddr, kind: SocketType) -> io::Result<()> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if kind == SocketType::STREAM {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    if kind == SocketType::STREAM {
        // With SO_REUSEADDR two may bind; only one may listen.
        rustix::net::listen(&socket, 1)?;
    }
    Ok(())
}

fn taken(port: u16, protocol: Protocol) -> String {
    let listeners = snapshot(&Ours::default(), &Owners::default(), |named| named == port);
    let holder = listeners.0.iter().find(|listener| listener.address.port() == port && listener.protocol == protocol);
    match holder {
        Some(listener) => format!("{listener}: end it, or give the server another port"),
        None => format!("{port}/{} is in use: end what holds it, or give the server another port", protocol.word()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    #[test]
    fn a_row_of_proc_is_read_and_a_connection_is_no_listener() {
        let line = "  1: 0100007F:6989 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0";
        let row = parse_row(line, Some("0A")).unwrap();
        assert_eq!(row, Listening { address: "127.0.0.1:27017".parse().unwrap(), uid: 1000, inode: 4711 });
        assert_eq!(parse_row(&line.replace(" 0A ", " 01 "), Some("0A")), None);
        assert_eq!(parse_address("00000000000000000000000001000000:0050"), Some("[::1]:80".parse().unwrap()));
        for bad in ["", ":", "x:y", "0100:0050", "ééééé:0050", "0100007F0100007F:0050"] {
            assert_eq!(parse_address(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_table_of_proc_and_the_kernel_itself_name_the_same_listeners() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let mine = |row: &Listening| row.address == socket.local_addr().unwrap();
        let slow: Vec<Listening> = table("tcp", Some("0A")).filter(mine).collect();
        let quick: Vec<Listening> =
            diag::tcp_listeners(AddressFamily::INET).unwrap().into_iter().filter(mine).collect();
        assert_eq!((slow.len(), &slow), (1, &quick));
    }

    #[test]
    fn a_foreign_listener_is_found_and_named_and_our_own_is_not() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = TcpListener::bind("[::]:0").unwrap();
        let me = std::process::id();
        let all = snapshot(&Ours::default(), &Owners::default(), |_| true);
        for port in [udp.local_addr().unwrap().port(), tcp.local_addr().unwrap().port()] {
            let listener = all.on(port).unwrap();
            assert!(matches!(&listener.owner, ListenerOwner::Process { pid, .. } if *pid == me), "{listener}");
        }
        let port = udp.local_addr().unwrap().port();
        // Nobody asked: that somebody is there is known, who it is was not looked up.
        let unnamed = snapshot(&Ours::default(), &Owners::default(), |_| false);
        assert!(matches!(unnamed.on(port).unwrap().owner, ListenerOwner::Uid(_)));
        let ours = Ours { pids: [me as i32].into(), ports: HashSet::new() };
        assert!(snapshot(&ours, &Owners::default(), |_| true).on(port).is_none());
        let ours = Ours { pids: HashSet::new(), ports: [port].into() };
        assert!(snapshot(&ours, &Owners::default(), |_| true).on(port).is_none());
    }

    #[test]
    fn who_holds_a_socket_is_looked_up_once_and_again_when_it_is_held_by_another() {
        let owners = Owners::default();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        let look = || snapshot(&Ours::default(), &owners, |named| named == port);
        let first = look();
        assert_eq!(look().on(port).unwrap().owner, first.on(port).unwrap().owner);
        let known: Vec<(Listening, Owner)> = owners.0.lock().unwrap().clone().into_iter().collect();
        assert_eq!(known.len(), 1, "{known:?}");
        let me = known[0].1.clone();
        assert_eq!(me.as_ref().map(|(pid, _)| *pid as u32), Some(std::process::id()));
        // Somebody who has gone, and one of our own that nobody was found for: both are looked up anew.
        for stale in [Some((i32::MAX, "gone".to_owned())), None] {
            owners.0.lock().unwrap().insert(known[0].0, stale);
            look();
            assert_eq!(owners.0.lock().unwrap()[&known[0].0], me);
        }
        drop(tcp);
        look();
        assert!(owners.0.lock().unwrap().is_empty(), "what is gone is forgotten");
    }

    #[test]
    fn a_port_that_somebody_holds_is_refused_with_the_name_of_the_holder() {
        let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = udp.local_addr().unwrap().port();
        let text = probe(port).unwrap_err();
        assert!(text.starts_with(&format!("{port}/udp is held by ")) && text.contains("(pid "), "{text}");
        drop(udp);

        let tcp = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        assert!(probe(port).unwrap_err().starts_with(&format!("{port}/tcp is held by ")));
    }

    #[test]
    fn connections_that_linger_are_no_obstacle() {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (server, _) = listener.accept().unwrap();
        // The side that closes first lingers in TIME_WAIT.
        drop(server);
        drop(client);
        drop(listener);
        assert_eq!(probe(port), Ok(()));
    }
}
