//! What a command of the command line said, and what a test expects of it.

use std::process::Command;

use serde_json::Value;

/// A command that has ended.
pub struct Said {
    /// Exit code; `None`: a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Runs a command to its end, without a terminal.
    pub fn by(mut command: Command) -> Self {
        let output = command.stdin(std::process::Stdio::null()).output().expect("the command line");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// What it printed; fails the test unless it succeeded without a complaint.
    #[track_caller]
    pub fn done(&self) -> &str {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{}", self.out);
        &self.out
    }

    /// What it printed, as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.done()).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    /// The one line in which it said why it did nothing.
    #[track_caller]
    pub fn refused(&self) -> &str {
        assert_eq!((self.code, self.out.as_str()), (Some(1), ""), "{}", self.err);
        assert_eq!(self.err.lines().count(), 1, "{}", self.err);
        self.err.strip_prefix("left4me: ").expect("our name before it").trim_end()
    }
}
