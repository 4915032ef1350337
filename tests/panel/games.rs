//! Games of a few lines, written in Perl, in place of the simulated one: path overlays that hold another `srcds_linux`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::panel::Panel;

/// What each begins with: unbuffered, and ready on its port. `line()` waits so many seconds for a line of the console.
const HEAD: &str = r##"#!/usr/bin/perl
$| = 1;
my ($port) = "@ARGV" =~ /-port (\d+)/;
print "#Console initialized.\nNetwork: IP 0.0.0.0, mode MP, dedicated Yes, ports $port SV / 0 CL\n";
my $typed = '';
sub line {
    my ($wait) = @_;
    if ($typed !~ /\n/) {
        my $ready = ''; vec($ready, fileno(STDIN), 1) = 1;
        return undef unless select($ready, undef, undef, $wait) > 0;
        sysread(STDIN, $typed, 4096, length $typed) or exit 0;
    }
    return $typed =~ s/^([^\n]*)\n// ? $1 : undef;
}
"##;

/// A blueprint whose game runs `body` once it is ready. The simulated game must be installed.
pub fn blueprint(panel: &Panel, name: &str, body: &str) -> u64 {
    panel.overlay_file(name, "srcds_linux", &format!("{HEAD}{body}"));
    let program = panel.data("overlays").join(name).join("srcds_linux");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("permissions");
    let overlay =
        panel.admin("POST", "/admin/overlays", &json!({"name": name, "path": panel.data("overlays").join(name)}));
    let overlay = overlay.expect(201).json()["id"].as_u64().expect("an id");
    panel.blueprint(name, &[], &[overlay])
}

/// Types a line into a game.
#[track_caller]
pub fn type_line(panel: &Panel, server: u64, line: &str) {
    panel.admin("POST", &format!("/servers/{server}/console"), &json!({ "line": line })).expect(204);
}

/// All that a game printed.
#[track_caller]
pub fn console(panel: &Panel, server: u64) -> String {
    panel.admin("GET", &format!("/servers/{server}/logs?download=1"), &Value::Null).expect(200).body
}

/// What the panel knows of a server.
#[track_caller]
pub fn state(panel: &Panel, server: u64) -> Value {
    panel.get(&format!("/servers/{server}"))
}
