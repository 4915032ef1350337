//! What went wrong at the kernel, in words for people, with the remedy. One place, so that a start, a probe and `doctor`
//! say the same.

use std::fs;
use std::io;

use rustix::io::Errno;

use super::sandbox::Step;

/// A step of the sandbox failed.
pub fn step_failed(step: &Step, error: &io::Error) -> String {
    let errno = Errno::from_io_error(error);
    let denied = matches!(errno, Some(Errno::PERM | Errno::ACCESS));
    if errno == Some(Errno::NOSYS) {
        return format!("the kernel is too old for the sandbox ({step:?}): Linux 5.12 or newer is needed");
    }
    match step {
        Step::MapIds | Step::MakeMountsPrivate | Step::Root(_) if denied => user_namespaces(error),
        Step::Overlay { lowers, .. } => overlay(*lowers, error),
        Step::Proc(_) if denied => "a fresh /proc may not be mounted here: something covers parts of the box's /proc. In a \
             container start it with its /proc unmasked; in a systemd unit leave out ProtectKernelTunables=, ProtectProc= \
             and ProcSubset="
            .into(),
        Step::Bind(bind) => format!("{} cannot be shown to the program: {error}", bind.from.display()),
        Step::Pin { to, .. } if matches!(errno, Some(Errno::LOOP | Errno::NOTDIR | Errno::ISDIR)) => format!(
            "{} cannot be put in place ({error}): the game left something else there; reset what the server wrote, then \
             start it again",
            to.display()
        ),
        Step::Pin { from, .. } => format!("the generated {} cannot be put in place: {error}", from.display()),
        Step::Upper { upper, .. } => {
            format!("the instance's folder {} cannot be opened: {error}; initialize the server again", upper.display())
        }
        Step::FilterCalls => format!(
            "the system call filter cannot be set ({error}): the kernel lacks CONFIG_SECCOMP_FILTER or a filter above \
             forbids it"
        ),
        Step::MapIds
        | Step::MakeMountsPrivate
        | Step::Root(_)
        | Step::Folder(_)
        | Step::Text(..)
        | Step::Link(..)
        | Step::Layer(..)
        | Step::Memory { .. }
        | Step::Proc(_)
        | Step::Terminals(_)
        | Step::Device(_)
        | Step::System(_)
        | Step::Setting(_)
        | Step::HostName(_)
        | Step::EnterRoot
        | Step::Resources { .. }
        | Step::DropCapabilities
        | Step::NoNewPrivileges
        | Step::Fence { .. } => format!("the sandbox failed at {step:?}: {error}"),
    }
}

fn overlay(lowers: usize, error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::NODEV) => "the kernel has no overlayfs: load the module (modprobe overlay) or install the \
             distribution's kernel"
            .into(),
        Some(Errno::PERM) => "the kernel does not allow overlayfs in user namespaces: Linux 5.11 or newer is needed".into(),
        Some(Errno::INVAL) if lowers > 500 => format!("{lowers} layers: the kernel takes 500 at most"),
        Some(Errno::INVAL) => "the kernel refuses the overlay: the data folder must lie on a real file system (ext4, XFS, \
             Btrfs, tmpfs since Linux 6.6), not on another overlay, and nothing may be mounted inside an overlay's folder. \
             In a container mount a volume at the data folder"
            .into(),
        _ => format!("the overlay of {lowers} layers cannot be mounted: {error}"),
    }
}

/// Making the namespaces failed.
pub fn user_namespaces(error: &io::Error) -> String {
    let setting = |name: &str| {
        fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).map(|text| text.trim().to_owned())
    };
    match Errno::from_io_error(error) {
        // Not a full disk: the count of namespaces is used up or zero (user_namespaces(7)).
        Some(Errno::NOSPC | Errno::USERS) => {
            let names = ["user.max_user_namespaces", "user.max_mnt_namespaces", "user.max_pid_namespaces"];
            let zero: Vec<_> = names.iter().filter(|name| setting(name).is_ok_and(|value| value == "0")).collect();
            match zero.first() {
                Some(name) => format!("user namespaces are switched off ({name} is 0): sysctl -w {name}=10000"),
                None => "no more user namespaces may be made: sysctl -w user.max_user_namespaces=10000".into(),
            }
        }
        Some(Errno::PERM | Errno::ACCESS) => {
            if setting("kernel.unprivileged_userns_clone").is_ok_and(|value| value == "0") {
                return "user namespaces are switched off for users: sysctl -w kernel.unprivileged_userns_clone=1"
                    .into();
            }
            if setting("kernel.apparmor_restrict_unprivileged_userns").is_ok_and(|value| value == "1") {
                return "AppArmor forbids user namespaces to this program: install left4me from its package, which brings \
                        the profile /etc/apparmor.d/left4me, or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
                    .into();
            }
            format!(
                "user namespaces are refused ({error}): look for RestrictNamespaces= in the unit, the container's seccomp \
                 profile, or a security module"
            )
        }
        _ => format!("the sandbox's namespaces cannot be made: {error}"),
    }
}
