//! Rules about the tree that people forget, as tests: layers, file headers, sizes, unfinished work, `unsafe`.
//!
//! Each checker looks at one file's text, so that a counter-test can show that it finds what it is for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Most lines of code in a file, its tests not counted.
const CODE_LINES_MAX: usize = 500;

/// Which modules of the crate a module may name: the table of `src/lib.rs`.
const LAYERS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("sys", &["model"]),
    ("query", &["model"]),
    ("live", &["model"]),
    ("blocking", &[]),
    ("systemd", &["model"]),
    ("config", &["model"]),
    ("store", &["live", "model"]),
    ("host", &["sys", "model"]),
    ("domain", &["store", "model"]),
    ("web", &["domain", "live", "blocking", "model"]),
    ("jobs", &["domain", "live", "blocking", "model", "host"]),
    ("supervise", &["domain", "live", "blocking", "model", "host", "query"]),
    (
        "daemon",
        &[
            "web",
            "jobs",
            "supervise",
            "domain",
            "host",
            "store",
            "sys",
            "query",
            "live",
            "blocking",
            "systemd",
            "config",
            "model",
        ],
    ),
    (
        "cli",
        &[
            "web", "daemon", "demo", "domain", "host", "store", "sys", "query", "live", "blocking", "systemd",
            "config", "model",
        ],
    ),
    ("demo", &["daemon", "domain", "host", "store", "sys", "query", "live", "blocking", "systemd", "config", "model"]),
    ("main", &["cli", "demo", "host"]),
    ("lib", &[]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files under some folders whose names end in one of `endings`.
fn files(folders: &[&str], endings: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !matches!(name.as_str(), "target" | "vendor" | "node_modules") {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

fn rust_files() -> Vec<(PathBuf, String)> {
    files(&["src", "tests", "packaging"], &[".rs"])
}

/// Runs a checker over files and fails with everything that it found.
fn hold(files: Vec<(PathBuf, String)>, check: impl Fn(&Path, &str) -> Vec<String>) {
    assert!(!files.is_empty(), "there is something to look at");
    let wrong: Vec<String> = files
        .iter()
        .flat_map(|(path, text)| check(path, text).into_iter().map(|what| format!("{}: {what}", path.display())))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Code without comments and without the contents of strings, line by line.
fn bare_lines(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(|line| {
        let mut bare = String::new();
        let mut chars = line.chars().peekable();
        let mut in_string = false;
        while let Some(c) = chars.next() {
            match c {
                '\\' if in_string => {
                    chars.next();
                }
                '"' => in_string = !in_string,
                '/' if !in_string && chars.peek() == Some(&'/') => break,
                c if !in_string => bare.push(c),
                _ => {}
            }
        }
        bare
    })
}

/// The words that stand right after `prefix`, braces unfolded: `crate::{a::b, c}` names `a` and `c`.
fn named_after(prefix: &str, code: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            found.insert(word(rest));
            continue;
        };
        let (mut depth, mut item) = (0, String::new());
        for c in list.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    found.insert(word(item.trim()));
                    item.clear();
                }
                c => item.push(c),
            }
        }
        found.insert(word(item.trim()));
    }
    found.retain(|name| name.chars().next().is_some_and(char::is_lowercase));
    found
}

/// The module of the crate that a file of `src` belongs to.
fn module_of(path: &Path) -> String {
    let first = path.components().nth(1).expect("under src").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn check_layers(path: &Path, text: &str) -> Vec<String> {
    let module = module_of(path);
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
        return vec![format!("module {module} is in no layer: add it to the table of src/lib.rs and to this test")];
    };
    let code: String = bare_lines(text).collect::<Vec<_>>().join("\n");
    let prefix = if module == "main" { "left4me::" } else { "crate::" };
    named_after(prefix, &code)
        .into_iter()
        .filter(|name| *name != module && !allowed.contains(&name.as_str()) && LAYERS.iter().any(|(m, _)| m == name))
        .map(|name| format!("{module} must not import {name}"))
        .collect()
}

fn check_header(_: &Path, text: &str) -> Vec<String> {
    if text.starts_with("//! ") { vec![] } else { vec!["does not open with //! and its purpose".into()] }
}

/// Counts lines of code, `#[cfg(test)]` items left out.
fn code_lines(text: &str) -> usize {
    let mut count = 0;
    // `Some(depth)`: inside a test item; it ends when its braces are closed again.
    let mut inside: Option<i32> = None;
    let mut opened = false;
    for (line, bare) in text.lines().zip(bare_lines(text)) {
        if inside.is_none() && line.trim() == "#[cfg(test)]" {
            inside = Some(0);
            opened = false;
            continue;
        }
        if let Some(depth) = &mut inside {
            *depth += bare.matches('{').count() as i32 - bare.matches('}').count() as i32;
            opened |= bare.contains('{');
            if (opened && *depth <= 0) || (!opened && bare.trim_end().ends_with(';')) {
                inside = None;
            }
        } else if !bare.trim().is_empty() {
            count += 1;
        }
    }
    count
}

fn check_size(_: &Path, text: &str) -> Vec<String> {
    let count = code_lines(text);
    if count > CODE_LINES_MAX {
        vec![format!("has {count} lines of code; at most {CODE_LINES_MAX} are allowed: split it")]
    } else {
        vec![]
    }
}

/// Marks of unfinished work, put together so that this file holds none.
fn marks() -> [String; 4] {
    [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["to", "do!"].concat(), ["unimple", "mented!"].concat()]
}

fn check_marks(_: &Path, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for mark in marks() {
            let found = line.match_indices(&mark).any(|(at, _)| {
                !line[..at].ends_with(char::is_alphanumeric)
                    && (mark.ends_with('!') || !line[at + mark.len()..].starts_with(char::is_alphanumeric))
            });
            if found {
                wrong.push(format!("line {}: {mark}", number + 1));
            }
        }
    }
    wrong
}

fn check_unsafe(path: &Path, text: &str) -> Vec<String> {
    let word = ["un", "safe"].concat();
    if path.starts_with("src/sys") || !path.starts_with("src") {
        return vec![];
    }
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    bare_lines(text)
        .enumerate()
        .filter(|(_, line)| {
            line.match_indices(&word)
                .any(|(at, _)| !line[..at].ends_with(is_part) && !line[at + word.len()..].starts_with(is_part))
        })
        .map(|(number, _)| format!("line {}: {word} belongs into src/sys", number + 1))
        .collect()
}

/// Paths that exist on somebody's machine only.
fn check_paths(_: &Path, text: &str) -> Vec<String> {
    let homes = [["/ho", "me/"].concat(), ["/Us", "ers/"].concat(), ["/ro", "ot/"].concat()];
    let mut wrong = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for home in &homes {
            let found = line.match_indices(home.as_str()).any(|(at, _)| {
                let inside_a_path = line[..at].ends_with(|c: char| c.is_alphanumeric() || "_-.}/".contains(c));
                let rest = &line[at + home.len()..];
                let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || "_-.".contains(*c)).collect();
                // The folder of a person is meant, not a file that lies beside those folders.
                !inside_a_path && !name.is_empty() && rest[name.len()..].starts_with('/')
            });
            if found {
                wrong.push(format!("line {}: a path of one machine", number + 1));
            }
        }
    }
    wrong
}

#[test]
fn imports_point_down_only() {
    hold(files(&["src"], &[".rs"]), check_layers);
}

#[test]
fn an_import_that_points_up_is_found() {
    let check = |path: &str, text: &str| check_layers(Path::new(path), text);
    assert_eq!(check("src/store/mod.rs", "use crate::domain::Domain;"), ["store must not import domain"]);
    assert_eq!(
        check("src/web/x.rs", "use crate::{\n    model::id,\n    jobs::{run, x},\n};"),
        ["web must not import jobs"]
    );
    assert_eq!(check("src/jobs/x.rs", "fn f() { crate::supervise::wake(); }"), ["jobs must not import supervise"]);
    assert_eq!(check("src/main.rs", "left4me::store::open();"), ["main must not import store"]);
    assert_eq!(check("src/new.rs", "").len(), 1, "a module without a layer");
    assert!(check("src/web/x.rs", "// crate::jobs\nuse crate::domain::Page; use crate::web::state;").is_empty());
}

#[test]
fn the_table_here_names_the_modules_of_the_crate() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    for line in lib.lines() {
        if let Some(name) = line.strip_prefix("pub mod ") {
            let name = name.trim_end_matches(';');
            assert!(LAYERS.iter().any(|(module, _)| *module == name), "{name}");
            assert!(lib.contains(&format!("[`{name}`]")), "{name} is on the map");
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    hold(rust_files(), check_header);
}

#[test]
fn a_file_that_does_not_say_it_is_found() {
    assert_eq!(check_header(Path::new("x.rs"), "use std::fs;").len(), 1);
    assert_eq!(check_header(Path::new("x.rs"), "// comment").len(), 1);
}

#[test]
fn no_file_is_too_long() {
    hold(files(&["src", "packaging"], &[".rs"]), check_size);
}

#[test]
fn a_file_that_is_too_long_is_found_and_tests_do_not_count() {
    let long = "let x = 1;\n".repeat(CODE_LINES_MAX + 1);
    assert_eq!(check_size(Path::new("x.rs"), &long).len(), 1);
    let tests = format!("//! x\n\nfn f() {{}}\n#[cfg(test)]\nmod tests {{\n{long}}}\nfn g() {{}}\n");
    assert_eq!(code_lines(&tests), 2);
    assert_eq!(code_lines("#[cfg(test)]\nuse x;\nfn f() {}\n"), 1);
    assert_eq!(code_lines("fn f() {\n\n    // why\n    1 // \"{\n}\n"), 3);
}

#[test]
fn nothing_is_left_for_later() {
    hold(
        files(&["src", "tests", "packaging", "assets"], &[".rs", ".js", ".css", ".yaml", ".toml", ".sh"]),
        check_marks,
    );
}

#[test]
fn what_is_left_for_later_is_found() {
    for mark in marks() {
        assert_eq!(check_marks(Path::new("x.rs"), &format!("    // {mark} later")).len(), 1, "{mark}");
    }
    assert_eq!(check_marks(Path::new("x.rs"), &format!("{}(\"x\")", marks()[2])).len(), 1);
    assert!(check_marks(Path::new("x.rs"), "let todos = STODOLA;").is_empty());
}

#[test]
fn only_sys_steps_outside_the_rules() {
    hold(rust_files(), check_unsafe);
}

#[test]
fn stepping_outside_the_rules_elsewhere_is_found() {
    let word = ["un", "safe"].concat();
    let block = format!("let x = {word} {{ f() }};");
    assert_eq!(check_unsafe(Path::new("src/host/x.rs"), &block).len(), 1);
    assert!(check_unsafe(Path::new("src/sys/x.rs"), &block).is_empty());
    let harmless = format!("// {word}\nlet s = \"{word}\"; #![deny({word}_code)]");
    assert!(check_unsafe(Path::new("src/host/x.rs"), &harmless).is_empty());
}

#[test]
fn no_path_of_somebodys_machine_is_in_the_tree() {
    hold(
        files(
            &["src", "tests", "packaging", "assets", ".ci", ".cargo"],
            &[".rs", ".js", ".css", ".yaml", ".toml", ".md"],
        ),
        check_paths,
    );
}

#[test]
fn a_path_of_somebodys_machine_is_found() {
    let home = ["/ho", "me/bob/left4me"].concat();
    assert_eq!(check_paths(Path::new("x.rs"), &format!("open(\"{home}\")")).len(), 1);
    assert_eq!(check_paths(Path::new("x.rs"), &["/ro", "ot/.cargo/bin"].concat()).len(), 1);
    assert!(check_paths(Path::new("x.rs"), "/srv/home/x/y and {data}/root/a/b").is_empty());
}
