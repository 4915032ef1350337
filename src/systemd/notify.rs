//! State for the service manager (`Type=notify`, sd_notify(3)): ready, reloading, stopping, a status line, the watchdog.
//!
//! Called by `daemon`. Without `NOTIFY_SOCKET` every call is a no-op; a manager that cannot be told is logged, never fatal.

use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use sd_notify::NotifyState;

/// The service is ready; `status` is what `systemctl status` shows.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// What `systemctl status` shows from now on.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// The configuration is being read again; [`ready`] ends it. `Type=notify-reload` asks for the clock beside it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => log::warn!("the monotonic clock cannot be read: {error}"),
    }
}

/// The service is on its way down.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// How often the service must say that it works ([`watchdog`]): half of what the unit allows. `None`: no watchdog waits.
pub fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// The service works. Call it only after looking.
pub fn watchdog() {
    tell(&[NotifyState::Watchdog]);
}

/// Descriptors that the manager hands over, with their names (sd_listen_fds(3)): sockets of `left4me.socket`, and what an
/// earlier daemon asked to [`keep`]. Whoever takes one owns it; each is there once.
pub fn handed_over() -> Vec<(RawFd, String)> {
    match sd_notify::listen_fds_with_names() {
        Ok(found) => found.collect(),
        Err(error) => {
            log::warn!("what the service manager hands over cannot be read: {error}");
            Vec::new()
        }
    }
}

/// Asks the manager to hold a copy of a descriptor and to hand it to the next daemon. Forgotten when the service is
/// stopped for good.
pub fn keep(name: &str, descriptor: BorrowedFd<'_>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    if let Err(error) = sd_notify::notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(name)], &[descriptor]) {
        log::warn!("the service manager could not be told: {error}");
    }
}

/// Asks the manager to let go of what it keeps under this name.
pub fn forget(name: &str) {
    tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
}

fn tell(state: &[NotifyState<'_>]) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("the service manager could not be told: {error}");
    }
}
