//! Why an operation was refused, typed. HTTP status and wording for pages are chosen in one place above (web).

use crate::model::FieldError;
use crate::store::StoreError;

/// Result of every operation of the domain.
pub type Result<T> = std::result::Result<T, Refusal>;

/// Why an operation was refused. Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// One field is wrong. 400.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The request makes no sense. 400.
    #[error("{0}")]
    Invalid(String),
    /// Wrong name, password, second factor, or a disabled user. 401.
    #[error("wrong username or password")]
    WrongPassword,
    /// The password was right; the code of the second factor is missing. 401.
    #[error("enter the code of your second factor")]
    SecondFactorNeeded,
    /// The actor may not. 403.
    #[error("{0}")]
    Forbidden(String),
    /// Nobody may sign up. 403.
    #[error("signup is closed: ask an admin of this box for an account")]
    SignupClosed,
    /// No such object. 404.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// The name is in use. 409.
    #[error("name already in use")]
    NameTaken,
    /// The port is in use. 409.
    #[error("port already in use")]
    PortTaken {
        /// Which.
        port: u16,
        /// Who holds it, where the asker may know.
        holder: Option<String>,
    },
    /// No free port is left: the whole text of contract §4. 409.
    #[error("{0}")]
    PortsExhausted(String),
    /// Other objects use it. 409.
    #[error("in use by {what}: {}", names.join(", "))]
    InUse {
        /// What they are: `blueprints`, `servers`.
        what: &'static str,
        /// Their names.
        names: Vec<String>,
    },
    /// The server is being deleted. 409.
    #[error("being deleted")]
    BeingDeleted,
    /// The user has as many servers as they may have. 409.
    #[error("you have {max} servers, the most that one user may have here: delete one, or ask an admin")]
    Quota {
        /// The limit.
        max: u32,
    },
    /// The last enabled admin must stay. 409.
    #[error("the last enabled admin can be neither demoted, disabled nor deleted: make another admin first")]
    LastAdmin,
    /// The state of things forbids it. 409.
    #[error("{0}")]
    Conflict(String),
    /// Too many failed attempts. 429.
    #[error("too many failed attempts: try again in {retry_after} seconds")]
    TooMany {
        /// Seconds until the next attempt may succeed.
        retry_after: u64,
    },
    /// Too many sign-ups from one address. 429.
    #[error("too many accounts were asked for from this address: try again in {retry_after} seconds")]
    TooManySignUps {
        /// Seconds until the next one may succeed.
        retry_after: u64,
    },
    /// The store failed. 503.
    #[error(transparent)]
    Store(#[from] StoreError),
}
