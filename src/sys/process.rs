//! Processes: making one in new namespaces, signals as data, start times. For the shim and its init, which are
//! single-threaded; [`clone`] refuses to run in a process that has threads.

use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// On which side of a [`clone`] the caller is.
#[derive(Debug)]
pub enum Cloned {
    /// The new process.
    Child,
    /// The process that asked, with the child's number and a descriptor that stands for it.
    Parent {
        /// Number in the caller's PID namespace.
        pid: Pid,
        /// Readable once the child has ended.
        pidfd: OwnedFd,
    },
}

/// Makes a child as `fork` does, in the new namespaces of `flags` (`libc::CLONE_NEW…`). Descriptors are inherited.
///
/// Errors: `EINVAL` kinds where the caller has threads (the child would hold locks of threads that it lacks), else what
/// clone(2) says.
pub fn clone(flags: libc::c_int) -> io::Result<Cloned> {
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "only a single-threaded process may clone itself"));
    }
    let mut pidfd: RawFd = -1;
    let flags = libc::c_long::from(flags | libc::CLONE_PIDFD | libc::SIGCHLD);
    // SAFETY: no CLONE_VM: the child gets a copy of this single-threaded process, as with fork. `pidfd` outlives the
    // call, and the kernel writes one int there in the parent only.
    let result = unsafe { libc::syscall(libc::SYS_clone, flags, 0, &raw mut pidfd, 0, 0) };
    match result {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        pid => {
            let pid = Pid::from_raw(pid as i32).ok_or_else(|| io::Error::other("clone answered no process"))?;
            // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent { pid, pidfd })
        }
    }
}

/// Waits in the background for a child that need not end with us, so that no zombie stays. Within a runtime; without one, or
/// without a descriptor left, the zombie stays as long as we do.
pub fn collect(mut child: Child) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    runtime.spawn(async move {
        let Some(pid) = Pid::from_raw(child.id() as i32) else { return };
        let Ok(process) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else { return };
        // SAFETY: the descriptor is ours, and stays open for as long as it is registered.
        if let Ok(process) = unsafe { AsyncFd::register_with_interest(process, Interest::READABLE) }
            && process.readable().await.is_ok()
        {
            let _ = child.wait();
        }
    });
}

/// Ends the process without running destructors or exit handlers: those of a cloned child belong to its parent.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions and does not return.
    unsafe { libc::_exit(code) }
}

fn signal_set(signals: Option<&[Signal]>) -> libc::sigset_t {
    // SAFETY: sigset_t is plain data; sigemptyset, sigfillset and sigaddset initialise it and take valid numbers.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        match signals {
            None => {
                libc::sigfillset(&raw mut set);
            }
            Some(signals) => {
                libc::sigemptyset(&raw mut set);
                for signal in signals {
                    libc::sigaddset(&raw mut set, signal.as_raw());
                }
            }
        }
        set
    }
}

/// Holds signals back, so that they wait to be read: these, or all with `None`.
pub fn block_signals(signals: Option<&[Signal]>) -> io::Result<()> {
    let set = signal_set(signals);
    // SAFETY: `set` is initialised; the old mask is not asked for.
    match unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// No signal held back, each with its usual effect: what a program expects to be started with. `exec` keeps both the mask
/// and what is ignored, and so does std's `Command`.
pub fn usual_signals() -> io::Result<()> {
    // Past SIGRTMAX of the kernel there is nothing.
    for signal in 1..=64 {
        // The kernel itself: libc keeps 32 and 33 for its threads and refuses to touch them, and a parent may ignore those, too.
        // SAFETY: all zero is `struct sigaction` with SIG_DFL, no flags and an empty mask (8 bytes of it are looked at).
        unsafe {
            let action = [0_u64; 4];
            // KILL and STOP refuse, and have their usual effect.
            libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), std::ptr::null_mut::<u64>(), 8);
        }
    }
    block_signals(Some(&[]))
}

/// Waits for any signal that is held back and takes it. The number is raw: real-time signals have no name.
pub fn wait_signal() -> io::Result<i32> {
    let set = signal_set(None);
    loop {
        // SAFETY: `set` is initialised; no siginfo is asked for.
        let signal = unsafe { libc::sigwaitinfo(&raw const set, std::ptr::null_mut()) };
        if signal > 0 {
            return Ok(signal);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Sends a raw signal number to a process group (`group` of the caller's PID namespace).
pub fn signal_group(group: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: kill takes any numbers and reports bad ones.
    match unsafe { libc::kill(-group.as_raw_nonzero().get(), signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A descriptor from which held-back signals are read. Non-blocking, closed on exec.
pub fn signal_descriptor(signals: &[Signal]) -> io::Result<OwnedFd> {
    let set = signal_set(Some(signals));
    // SAFETY: `set` is initialised; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes the next signal of a [`signal_descriptor`]; `None` when there is none.
pub fn next_signal(descriptor: &OwnedFd) -> io::Result<Option<u32>> {
    // Size of struct signalfd_siginfo; its first field is the number (signalfd(2)).
    let mut info = [0_u8; 128];
    match rustix::io::read(descriptor, &mut info) {
        Ok(128) => Ok(Some(u32::from_ne_bytes([info[0], info[1], info[2], info[3]]))),
        Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Closes every descriptor from `first` on. Only for a process that has just begun and owns none of them.
pub fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: callers own no descriptor at or above `first` yet: whatever is there was inherited.
    match unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Takes ownership of a descriptor that another program left open for this one, by its number. Closed on exec from now on.
///
/// The number must be one that nothing else in this process owns: one of those that the service manager names.
pub fn take_descriptor(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: fcntl takes any number and reports those that are not open.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, as fcntl has just said, and by the contract above nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Every process of the box that can be seen here.
pub fn all() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// `/proc/<pid>/stat` from its third field on, the state (proc(5)).
pub fn facts(pid: i32) -> io::Result<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The program's name is in brackets and may hold anything: what counts comes after the last bracket.
    stat.rsplit_once(')').map(|(_, rest)| rest.to_owned()).ok_or_else(|| malformed(pid))
}

fn malformed(pid: i32) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is not as proc(5) says"))
}

/// When a process started, in clock ticks since boot: field 22 of `/proc/<pid>/stat`. With the boot id it names one
/// process for ever, which the number alone does not.
pub fn start_time(pid: i32) -> io::Result<u64> {
    facts(pid)?.split_whitespace().nth(19).and_then(|field| field.parse().ok()).ok_or_else(|| malformed(pid))
}

/// How long ago a process started, given its [`start_time`]; `None` where the clock of the box cannot be read.
pub fn age(start: u64) -> Option<Duration> {
    let uptime: f64 = fs::read_to_string("/proc/uptime").ok()?.split(' ').next()?.parse().ok()?;
    let started = start as f64 / rustix::param::clock_ticks_per_second() as f64;
    Some(Duration::from_secs_f64((uptime - started).max(0.0)))
}

/// Parents of a process, nearest first, without PID 1. A table that changes under us must not turn this into a circle:
/// it ends after 64.
pub fn parents(pid: i32) -> impl Iterator<Item = i32> {
    let parent = |pid: &i32| facts(*pid).ok()?.split_whitespace().nth(1)?.parse().ok().filter(|parent| *parent > 1);
    std::iter::successors(parent(&pid), parent).take(64)
}

/// Whether the process that started at `start_time` still runs. One that has ended and waits to be collected does not.
pub fn runs(pid: i32, start: u64) -> bool {
    let zombie = || facts(pid).is_ok_and(|facts| matches!(facts.trim_start().chars().next(), Some('Z' | 'X')));
    start_time(pid).is_ok_and(|found| found == start) && !zombie()
}

/// Which boot of the machine this is.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_one_start_time() {
        let me = std::process::id() as i32;
        assert_eq!(start_time(me).unwrap(), start_time(me).unwrap());
        assert!(start_time(i32::MAX).is_err());
    }

    #[test]
    fn a_process_has_parents_and_an_age() {
        let me = std::process::id() as i32;
        assert_eq!(parents(me).next(), Some(std::os::unix::process::parent_id() as i32).filter(|parent| *parent > 1));
        assert!(parents(i32::MAX).next().is_none());
        assert!(age(start_time(me).unwrap()).unwrap() < Duration::from_hours(1));
    }

    #[test]
    fn a_process_with_threads_is_not_cloned() {
        // The test harness runs each test on a thread of its own.
        assert_eq!(clone(0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
