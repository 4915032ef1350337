//! SIGKILL in the middle of writing: the store opens, and nothing that was answered is lost.
//!
//! The test runs itself again as a child that writes from many threads and prints each number when it is answered.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use left4me::live::Hub;
use left4me::store::{Read, Store, Tx, tables};

/// Where the child finds its folder; not set in the parent.
const FOLDER: &str = "LEFT4ME_TEST_KILLED";
const KEY: &str = "number";

#[test]
fn what_was_answered_survives_a_kill_and_nothing_is_half_written() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return write_for_ever(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let name = concat!(module_path!(), "::what_was_answered_survives_a_kill_and_nothing_is_half_written");
    let name = name.split_once("::").unwrap().1;
    let mut last = 0;
    // The first round is killed while the store may still be in the making.
    for answers in [0, 1, 40, 300, 7] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        let mut take = |line: String| {
            if let Some(number) = line.strip_prefix("answered ") {
                last = last.max(number.parse::<u64>().unwrap());
                seen += 1;
            }
            seen
        };
        while let Some(Ok(line)) = lines.next() {
            if take(line) >= answers {
                break;
            }
        }
        child.kill().unwrap();
        // What it had printed before it died counts too. A line is one write to a pipe: none is cut.
        lines.map_while(Result::ok).for_each(|line| {
            take(line);
        });
        child.wait().unwrap();
        let store = Store::open(&folder.path().join("s.redb"), Hub::new()).unwrap();
        let read = store.read().unwrap();
        let number = |key: &str| read.get(&tables::COUNTERS, &key.to_owned()).unwrap().unwrap_or(0);
        assert!(number(KEY) >= last, "{last} was answered, {} is there", number(KEY));
        assert_eq!(number(KEY), number("other half"));
    }
    assert!(last >= 300);
}

fn write_for_ever(folder: &Path) {
    let store = Store::open(&folder.join("s.redb"), Hub::new()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let number = store
                        .write(|tx: &mut Tx| {
                            tx.next_number("other half")?;
                            tx.next_number(KEY)
                        })
                        .unwrap();
                    let mut out = std::io::stdout().lock();
                    // The parent may be gone already.
                    if writeln!(out, "answered {number}").and_then(|()| out.flush()).is_err() {
                        return;
                    }
                }
            });
        }
    });
}
