//! What changed: notes that leave after the commit that they speak of.
//!
//! An event only wakes its readers; they read the truth from the store.

use super::id::{JobId, OverlayId, ServerId, TokenId, UserId};

/// Something that a page or a driver may want to look at again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A server was made, changed, or deleted.
    Server(ServerId),
    /// A job changed its state or progress.
    Job(JobId),
    /// Lines up to and with `last_seq` are stored.
    JobLines {
        /// The job.
        job: JobId,
        /// Newest stored sequence number.
        last_seq: u64,
    },
    /// The runner has work.
    JobQueued(JobId),
    /// A running job should end.
    JobCancel(JobId),
    /// Sessions of this user ended (streams must too).
    SessionsEnded(UserId),
    /// A token was revoked.
    TokenRevoked(TokenId),
    /// An overlay was deleted: its files go when nothing has them mounted.
    OverlayGone(OverlayId),
    /// Port claims or reservations changed.
    Ports,
    /// The supervisor should look at this server's desired state.
    Desired(ServerId),
}
