//! The real binary and its configuration: exit codes, places, remedies; help.

use assert_cmd::Command;

fn left4me() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_left4me"));
    command.env_clear();
    command
}

/// Runs `doctor` on a configuration; answers exit code and standard error.
fn doctor_with(text: &str, variables: &[(&str, &str)]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, text).unwrap();
    let output = left4me().args(["doctor", "--config"]).arg(&file).envs(variables.iter().copied()).output().unwrap();
    let shown = String::from_utf8(output.stderr).unwrap().replace(&*file.to_string_lossy(), "FILE");
    (output.status.code().unwrap(), shown)
}

#[test]
fn an_unknown_key_ends_with_two_and_names_file_line_and_remedy() {
    let (code, text) = doctor_with("# comment\nlisten: 127.0.0.1:1\nport_rang: 1-2\n", &[]);
    assert_eq!((code, text.as_str()), (2, "left4me: FILE:3: unknown key `port_rang`: did you mean `port_range`?\n"));
}

#[test]
fn a_bad_value_ends_with_two_and_names_file_line_and_remedy() {
    let (code, text) = doctor_with("listen: 127.0.0.1:1\nmemory_max: much\n", &[]);
    assert_eq!(code, 2);
    assert!(text.starts_with("left4me: FILE:2: memory_max: `much` is not a size: write it as 2G"), "{text}");
}

#[test]
fn a_bad_variable_ends_with_two_and_is_named() {
    let (code, text) = doctor_with("", &[("LEFT4ME_JOB_WORKERS", "none")]);
    assert_eq!(code, 2);
    assert!(text.starts_with("left4me: environment variable LEFT4ME_JOB_WORKERS: "), "{text}");
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn a_configuration_that_is_not_there_ends_with_two() {
    left4me().args(["serve", "--config", "/nonexistent/config.yaml"]).assert().code(2);
}

#[test]
fn no_arguments_print_help_and_wrong_words_end_with_two() {
    let help = left4me().assert().code(0);
    let text = String::from_utf8_lossy(&help.get_output().stdout).into_owned();
    for word in [
        "serve",
        "demo",
        "--reset-admin",
        "promote-admin",
        "ports",
        "servers",
        "install",
        "doctor",
        "backup",
        "restore",
    ] {
        assert!(text.contains(word), "{word}");
    }
    left4me().arg("nonsense").assert().code(2);
    left4me().args(["promote-admin"]).assert().code(2);
}

#[test]
fn completions_and_manual_are_made_from_the_parser() {
    let bash = left4me().args(["completions", "bash"]).assert().code(0);
    assert!(String::from_utf8_lossy(&bash.get_output().stdout).contains("promote-admin"));
    let man = left4me().arg("man").assert().code(0);
    let text = String::from_utf8_lossy(&man.get_output().stdout).into_owned();
    assert!(text.contains(".TH left4me") && text.contains("COMMAND PORTS") && text.contains(".SH FILES"), "{text}");
}
