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
