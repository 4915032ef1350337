//! `spec.yaml`: the whole input of the machine side for one instance.
//!
//! Written by the initialize, start and restart jobs from the latest blueprint; restarts after a crash or a reboot use
//! it as it is. It holds no display name but the one inside `server.cfg`, which is content of a file, never a path,
//! an argument or an environment variable.

use serde::{Deserialize, Serialize};

use super::id::{LayerId, OverlayId, ServerId};
use super::time::Timestamp;

/// Newest form of the file.
pub const SPEC_VERSION: u32 = 1;

/// What an instance is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceSpec {
    /// Form of this file: [`SPEC_VERSION`].
    pub version: u32,
    /// Which server.
    pub server_id: ServerId,
    /// UDP game and TCP RCON port.
    pub port: u16,
    /// SourceTV port, passed as `+tv_port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tv_port: Option<u16>,
    /// Layers of the game, newest first.
    pub game: Vec<LayerId>,
    /// Overlays, highest first: the first listed wins.
    pub overlays: Vec<SpecOverlay>,
    /// Words of the blueprint's argument lines.
    pub arguments: Vec<String>,
    /// Lines of the generated `server.cfg`, the host name first.
    pub config: Vec<String>,
    /// When it was written.
    pub written_at: Timestamp,
}

/// One overlay of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecOverlay {
    /// Which overlay.
    pub id: OverlayId,
    /// The folder of a path overlay, absolute, under the overlay root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The revision of a managed overlay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// The first line of a generated `server.cfg`: quotes, semicolons and control characters of the name removed.
pub fn hostname_line(display_name: &str) -> String {
    let name: String = display_name.chars().filter(|c| !c.is_control() && !matches!(c, '"' | ';')).collect();
    format!("hostname \"{name}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_display_name_cannot_leave_the_quotes_of_its_hostname_line() {
        assert_eq!(hostname_line("My \"; quit\n Practice"), "hostname \"My  quit Practice\"");
    }

    #[test]
    fn a_spec_reads_back_from_yaml_and_refuses_unknown_keys() {
        let spec = InstanceSpec {
            version: SPEC_VERSION,
            server_id: ServerId(42),
            port: 27015,
            tv_port: None,
            game: vec![LayerId(2), LayerId(1)],
            overlays: vec![SpecOverlay { id: OverlayId(3), path: Some("/srv/o".into()), revision: None }],
            arguments: vec!["+map".into(), "c1m1_hotel".into()],
            config: vec![hostname_line("x")],
            written_at: Timestamp(0),
        };
        let text = serde_yaml::to_string(&spec).unwrap();
        assert_eq!(serde_yaml::from_str::<InstanceSpec>(&text).unwrap(), spec);
        assert!(serde_yaml::from_str::<InstanceSpec>(&format!("{text}nonsense: 1\n")).is_err());
    }
}
