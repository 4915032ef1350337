//! Refusals become HTTP here and nowhere else: status, text, field, and the headers that go with them.
//!
//! Handlers return a [`Fault`]; `service` turns it into JSON, a page or a fragment, because only there is it known what
//! the client reads. Nothing here knows a route.

use std::borrow::Cow;

use warp::http::{HeaderValue, StatusCode};
use warp::reply::{Reply, Response};

use crate::domain::Refusal;
use crate::model::FieldError;
use crate::model::machine::{ConsoleError, FilesError, ResetError};

/// What a handler answers.
pub type Answer = Result<Response, Fault>;

/// Why a request is not answered as asked.
#[derive(Debug, Clone)]
pub struct Fault {
    /// HTTP status.
    pub status: StatusCode,
    /// What, why and the remedy, for people.
    pub message: String,
    /// The field that is wrong.
    pub field: Option<&'static str>,
    /// Names of what stands in the way.
    pub names: Vec<String>,
    /// The port that is taken.
    pub port: Option<u16>,
    /// The code of a second factor is asked for.
    pub wants_code: bool,
    /// Seconds to wait.
    pub retry_after: Option<u64>,
    /// Methods that this path takes.
    pub allow: Option<Box<str>>,
    /// Where a page goes after signing in: this is an invitation, not an error.
    pub login_next: Option<Box<str>>,
}

impl Fault {
    /// A fault with a text.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            field: None,
            names: Vec::new(),
            port: None,
            wants_code: false,
            retry_after: None,
            allow: None,
            login_next: None,
        }
    }

    /// 400 without a field.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 400 about a field.
    pub fn field(field: &'static str, message: impl Into<String>) -> Self {
        Self { field: Some(field), ..Self::new(StatusCode::BAD_REQUEST, message) }
    }

    /// 400 of a form whose token is missing or wrong.
    pub fn csrf() -> Self {
        Self::bad_request(
            "this request carries no valid form token: your session may have ended. Sign in, reload the page and try again",
        )
    }

    /// 404 of a path that is no route.
    pub fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "page not found")
    }

    /// 401 of a program without session and token.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "sign in, or send a token as Authorization: Bearer")
    }

    /// 302 to the sign-in page.
    pub fn sign_in(next: String) -> Self {
        Self { login_next: Some(next.into()), ..Self::unauthorized() }
    }

    /// 403.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 413.
    pub fn too_large(limit: u64) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit} bytes"))
    }

    /// 408.
    pub fn late() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")
    }

    /// 415.
    pub fn media_type() -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json or application/x-www-form-urlencoded")
    }

    /// 429.
    pub fn too_many(message: impl Into<String>, retry_after: u64) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(StatusCode::TOO_MANY_REQUESTS, message) }
    }

    /// 500: a bug of ours, logged where it was met.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "left4me met a bug; its journal says more")
    }

    /// Whether the person can mend it in the form that they sent.
    pub fn is_about_the_form(&self) -> bool {
        matches!(self.status, StatusCode::BAD_REQUEST | StatusCode::CONFLICT)
            || (self.status == StatusCode::NOT_FOUND && self.field.is_some())
    }

    /// An object that a form names and that is not there, told beside the form's field.
    pub fn beside_its_choice(self, field: &'static str, message: &str) -> Self {
        if self.status == StatusCode::NOT_FOUND && self.message == message {
            Self { field: Some(field), ..self }
        } else {
            self
        }
    }

    /// The text beside `field`, when this fault is about it. Who holds a port is a part of it.
    pub fn beside(&self, field: &str) -> Option<Cow<'_, str>> {
        if self.field != Some(field) {
            None
        } else if self.names.is_empty() {
            Some(Cow::Borrowed(&self.message))
        } else {
            Some(Cow::Owned(format!("{}: {}", self.message, self.names.join(", "))))
        }
    }

    /// The one JSON shape of errors.
    pub fn to_json(&self) -> serde_json::Value {
        // A clash is told in the contract's own words; the field stands beside it.
        let text = if self.status == StatusCode::CONFLICT { self.message.clone() } else { self.text() };
        let mut body = serde_json::json!({ "error": text });
        if let Some(field) = self.field {
            body["field"] = field.into();
        }
        if !self.names.is_empty() {
            body["names"] = self.names.clone().into();
        }
        if let Some(port) = self.port {
            body["port"] = port.into();
        }
        if let Some(seconds) = self.retry_after {
            body["retry_after"] = seconds.into();
        }
        if self.wants_code {
            body["second_factor"] = true.into();
        }
        body
    }

    /// The whole text, the field named.
    pub fn text(&self) -> String {
        match self.field {
            Some(field) => format!("{field}: {}", self.message),
            None => self.message.clone(),
        }
    }

    /// Puts the headers that go with the status on a response.
    pub fn decorate(&self, response: &mut Response) {
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert("retry-after", HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
            headers.insert("allow", allow);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert("www-authenticate", HeaderValue::from_static("Bearer realm=\"left4me\""));
        }
    }
}

impl Reply for Fault {
    /// A bare status that carries the fault; `service` renders it.
    fn into_response(self) -> Response {
        let mut response = Response::default();
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

impl From<FieldError> for Fault {
    fn from(error: FieldError) -> Self {
        Self::field(error.field, error.message)
    }
}

impl From<ConsoleError> for Fault {
    fn from(error: ConsoleError) -> Self {
        match error {
            ConsoleError::NotRunning => Self::new(StatusCode::CONFLICT, error.to_string()),
            ConsoleError::Machine(text) => Self::new(StatusCode::SERVICE_UNAVAILABLE, text),
        }
    }
}

impl From<FilesError> for Fault {
    fn from(error: FilesError) -> Self {
        match error {
            FilesError::Refused(text) => Self::field("file", text),
            FilesError::Missing => Self::new(StatusCode::NOT_FOUND, error.to_string()),
            FilesError::Machine(text) => {
                log::error!("files of an overlay: {text}");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
            }
        }
    }
}

impl From<ResetError> for Fault {
    fn from(error: ResetError) -> Self {
        match error {
            ResetError::Running => Self::new(StatusCode::CONFLICT, error.to_string()),
            ResetError::Machine(text) => {
                log::error!("what a game wrote: {text}");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
            }
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let conflict = |message: String| Self::new(StatusCode::CONFLICT, message);
        match refusal {
            Refusal::Field(error) => error.into(),
            Refusal::Invalid(message) => Self::bad_request(message),
            Refusal::WrongPassword => Self::new(StatusCode::UNAUTHORIZED, "wrong username, password or code"),
            Refusal::SecondFactorNeeded => {
                Self { wants_code: true, ..Self::new(StatusCode::UNAUTHORIZED, "enter the code of your second factor") }
            }
            Refusal::Forbidden(message) => Self::forbidden(message),
            Refusal::SignupClosed => Self::forbidden("sign-up is closed; ask an admin of this box for an account"),
            Refusal::NotFound(noun) => Self::new(StatusCode::NOT_FOUND, format!("{noun} not found")),
            Refusal::NameTaken => Self { field: Some("name"), ..conflict("name already in use".into()) },
            Refusal::PortTaken { port, holder } => {
                let names: Vec<String> = holder.into_iter().collect();
                Self { port: Some(port), names, field: Some("port"), ..conflict("port already in use".into()) }
            }
            Refusal::PortsExhausted(text) => conflict(text),
            Refusal::InUse { what, names } => {
                Self { names: names.clone(), ..conflict(format!("in use by {what} {}", names.join(", "))) }
            }
            Refusal::BeingDeleted => conflict("being deleted".into()),
            Refusal::Quota { max } => conflict(format!(
                "you have {max} servers, which is all that a user may have here; delete one or ask an admin"
            )),
            Refusal::LastAdmin => conflict("this is the last admin of the box; make another one an admin first".into()),
            Refusal::Conflict(message) => conflict(message),
            Refusal::TooMany { retry_after } => Self::too_many(
                format!("too many failed attempts; try again in {} minutes", retry_after.div_ceil(60)),
                retry_after,
            ),
            Refusal::TooManySignUps { retry_after } => Self::too_many(
                format!(
                    "too many accounts were asked for from your address; try again in {} minutes",
                    retry_after.div_ceil(60)
                ),
                retry_after,
            ),
            Refusal::Store(error) => {
                log::error!("the store does not work: {error}");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, format!("the store does not work: {error}"))
            }
        }
    }
}
