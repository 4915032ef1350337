//! Pseudo-terminals, set up so that what a program prints arrives byte for byte and what is typed is not echoed.

use std::io;
use std::os::fd::OwnedFd;

use rustix::pty::OpenptFlags;
use rustix::termios::{InputModes, LocalModes, OptionalActions, OutputModes, Winsize};

/// Both ends of a pseudo-terminal.
#[derive(Debug)]
pub struct Pty {
    /// Our end. Non-blocking.
    pub master: OwnedFd,
    /// The program's end.
    pub slave: OwnedFd,
}

/// Opens a pseudo-terminal.
///
/// Echo is off, so a typed line shows once, as the program answers it; output is left as it is (no CR before LF); control
/// characters in typed text raise no signals. Lines stay lines (ICANON), hence at most 4,095 bytes each.
pub fn open() -> io::Result<Pty> {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    let slave =
        rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    let mut modes = rustix::termios::tcgetattr(&slave)?;
    modes.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ISIG | LocalModes::IEXTEN);
    modes.output_modes.remove(OutputModes::OPOST);
    modes.input_modes.remove(InputModes::IXON | InputModes::IXOFF | InputModes::ICRNL | InputModes::INLCR);
    rustix::termios::tcsetattr(&slave, OptionalActions::Now, &modes)?;
    // Wide enough that no program breaks its lines for us.
    rustix::termios::tcsetwinsize(&slave, Winsize { ws_row: 50, ws_col: 500, ws_xpixel: 0, ws_ypixel: 0 })?;
    rustix::io::ioctl_fionbio(&master, true)?;
    Ok(Pty { master, slave })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_line_arrives_and_is_not_echoed_and_output_keeps_its_line_ends() {
        let pty = open().unwrap();
        rustix::io::write(&pty.master, b"status\n").unwrap();
        let mut buffer = [0_u8; 64];
        let n = rustix::io::read(&pty.slave, &mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"status\n");
        rustix::io::write(&pty.slave, b"a\nb\n").unwrap();
        let n = rustix::io::read(&pty.master, &mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"a\nb\n");
    }
}
