//! User namespaces and the rights of a process inside.

use std::fs;
use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets};

/// The namespaces of a sandbox: user, mount, PID, IPC, host name. The network stays the host's.
pub const SANDBOX: libc::c_int =
    libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

/// Maps one user and one group of the namespace that the caller has just been made in: `inner` inside is `uid`, `gid`
/// outside. `setgroups` has to be denied first where the caller is nobody special (user_namespaces(7)).
pub fn map_ids(inner: u32, uid: u32, gid: u32) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{inner} {uid} 1\n"))?;
    fs::write("/proc/self/gid_map", format!("{inner} {gid} 1\n"))
}

/// Whether the kernel counts the processes of a user in each user namespace by itself (Linux 5.14). Before, a limit would
/// count all servers of the box together.
pub fn counts_processes() -> bool {
    at_least(&rustix::system::uname().release().to_string_lossy(), (5, 14))
}

fn at_least(release: &str, wanted: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= wanted
}

/// Gives up every capability, for this process and whatever it executes.
pub fn drop_capabilities() -> io::Result<()> {
    for number in 0..64_u64 {
        let Some(capability) = CapabilitySet::from_bits(1 << number) else { continue };
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // EINVAL: the kernel does not know it; nothing to give up.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    rustix::thread::clear_ambient_capability_set()?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    Ok(rustix::thread::set_capabilities(None, none)?)
}

/// Which version of Landlock's rules the kernel holds; `None`: none, for it was built or booted without (landlock(7)).
pub fn landlock_version() -> Option<u32> {
    const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: with this flag nothing is read and nothing is made; the answer is a number.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0, LANDLOCK_CREATE_RULESET_VERSION)
    };
    u32::try_from(version).ok().filter(|version| *version > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_compared_by_number() {
        for (release, expected) in
            [("5.14.0-70.el9", true), ("6.1.0-13-amd64", true), ("5.4.0", false), ("5", false), ("", false)]
        {
            assert_eq!(at_least(release, (5, 14)), expected, "{release}");
        }
    }
}
