//! Where the page is listened on: sockets that the service manager hands over, else one of our own, which the manager
//! keeps over restarts. Called by `daemon` once, before the page is served.
//!
//! ```text
//!   left4me.socket is active ──▶ its sockets, whatever `listen` says
//!   the socket kept by the daemon before has the address `listen` ──▶ that one: nobody was refused meanwhile
//!   else ──▶ a new one on `listen`, given to the manager to keep
//! ```
//!
//! The kept socket stays open in PID 1 while one daemon ends and the next begins: who connects then waits in its queue
//! and is not refused (sd_notify(3), `FDSTORE=1`; `FileDescriptorStoreMax=` of the unit allows it).

use std::io;
use std::net::{SocketAddr, TcpListener as Socket};
use std::os::fd::AsFd;

use tokio::net::TcpListener;

use super::DaemonError;
use crate::sys::process::take_descriptor;
use crate::systemd::notify;

/// Name under which the manager keeps the page's socket.
const PAGE: &str = "page";

/// The sockets of the page; at least one.
pub(super) fn page(listen: SocketAddr) -> Result<Vec<TcpListener>, DaemonError> {
    let wrong = |error| DaemonError::Listen { what: "listen", address: listen.to_string(), error };
    let (mut kept, mut activated) = (Vec::new(), Vec::new());
    for (number, name) in notify::handed_over() {
        match take(number) {
            Ok(socket) if name == PAGE => kept.push(socket),
            Ok(socket) => activated.push(socket),
            Err(error) => log::warn!("the descriptor {name} of the service manager is of no use here: {error}"),
        }
    }
    let sockets = if activated.is_empty() {
        vec![own(kept, listen).map_err(wrong)?]
    } else {
        if !activated.iter().any(|socket| socket.local_addr().is_ok_and(|address| address == listen)) {
            log::info!("left4me.socket decides where the page is; `listen` ({listen}) does not count");
        }
        activated
    };
    sockets.into_iter().map(TcpListener::from_std).collect::<io::Result<_>>().map_err(wrong)
}

fn take(number: i32) -> io::Result<Socket> {
    let socket = Socket::from(take_descriptor(number)?);
    // Fails for what is no TCP socket.
    socket.local_addr()?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn own(kept: Vec<Socket>, listen: SocketAddr) -> io::Result<Socket> {
    let stale = !kept.is_empty();
    for socket in kept {
        if socket.local_addr()? == listen {
            return Ok(socket);
        }
    }
    if stale {
        // `listen` was changed: the old address is not listened on any more.
        notify::forget(PAGE);
    }
    let socket = Socket::bind(listen)?;
    socket.set_nonblocking(true)?;
    notify::keep(PAGE, socket.as_fd());
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_socket_is_used_while_listen_names_its_address() {
        let socket = Socket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let again = own(vec![socket.try_clone().unwrap()], address).unwrap();
        // Bound anew it would be refused: the first one still listens.
        assert_eq!(again.local_addr().unwrap(), address);
        assert!(own(Vec::new(), address).is_err());
        let other = own(vec![socket], "127.0.0.1:0".parse().unwrap()).unwrap();
        assert_ne!(other.local_addr().unwrap(), address);
    }

    #[test]
    fn a_descriptor_that_is_no_socket_is_refused() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let number = std::os::fd::IntoRawFd::into_raw_fd(file);
        assert!(take(number).is_err());
        assert!(take_descriptor(-1).is_err());
    }
}
