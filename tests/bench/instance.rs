//! Row 9: a new instance on an install of 9 GB and 20,000 files, from its spec to the exec of its program: time and disk,
//! beside copies of the install, and beside an install of one file.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use left4me::host::instance;
use left4me::model::id::LayerId;

use crate::host::{Place, await_exit};
use crate::table::{Goal, Row, median};

const FILES: u64 = 20_000;
const BYTES: u64 = 9 << 30;
/// Of each file so many bytes are written, the rest is a hole: the disk of the machine need not hold 9 GB.
const WRITTEN: usize = 4096;
const ROUNDS: u64 = 15;

/// Measures the row.
pub fn measure() -> Vec<Row> {
    let (large, small) = (place(), place());
    let install = large.paths.layer(LayerId(1));
    for number in 0..FILES {
        let folder = install.join(format!("left4dead2/{:03}", number / 100));
        if number % 100 == 0 {
            fs::create_dir_all(&folder).expect("a folder");
        }
        let mut file = File::create(folder.join(format!("{number}.bin"))).expect("a file");
        file.write_all(&[number as u8; WRITTEN]).expect("space");
        file.set_len(BYTES / FILES).expect("a hole");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (mut times, mut of_small, mut disk) = (Vec::new(), Vec::new(), Vec::new());
    for id in 1..=ROUNDS {
        of_small.push(runtime.block_on(new_instance(&small, id)).0);
        let (time, bytes) = runtime.block_on(new_instance(&large, id));
        times.push(time);
        disk.push(bytes);
    }
    let (time, bytes) = (median(&times), median(&disk));
    let copies = [("cp -a", vec!["-a"]), ("cp --reflink=auto", vec!["-a", "--reflink=auto"])].map(|(name, words)| {
        let to = large.paths.data_dir.join("copy");
        let begun = Instant::now();
        let status = Command::new("cp").args(&words).arg(&install).arg(&to).status().expect("cp");
        assert!(status.success(), "{name}");
        let found = (name, begun.elapsed().as_secs_f64() * 1e3, used(&to));
        left4me::sys::fs::remove_tree(&to).expect("a copy that goes");
        found
    });
    let mut rows = vec![
        Row::new(9, "new instance, 9 GB and 20,000 files, to exec", "ms", time, Goal::RatioAtMost(1.2))
            .beside(median(&of_small), "on an install of one file"),
        Row::new(9, "disk of that instance", "MiB", bytes, Goal::AtMost(1.0)),
    ];
    for (name, took, bytes_of_copy) in copies {
        rows.push(Row::new(9, "time of that instance", "ms", time, Goal::RatioAtMost(1.0)).beside(took, name));
        rows.push(
            Row::new(9, "disk of that instance", "MiB", bytes, Goal::RatioAtMost(1.0)).beside(bytes_of_copy, name),
        );
    }
    rows
}

fn place() -> Place {
    Place::with_game("read -r line")
}

/// Milliseconds from the spec to the exec of a server that was never there, and the MiB that it has on the disk then.
async fn new_instance(place: &Place, id: u64) -> (f64, f64) {
    let begun = Instant::now();
    instance::write_spec(&place.paths, &place.spec(id, vec![])).expect("a spec");
    let mut client = place.start(&place.launch(id)).await;
    let took = begun.elapsed().as_secs_f64() * 1e3;
    let host = left4me::model::id::HostId::of(left4me::model::id::ServerId(id));
    let run = left4me::host::paths::Run::Server(host);
    let disk = used(&place.paths.instance(host)) + used(&place.paths.run(run));
    client.kill().await.expect("a shim that listens");
    await_exit(&mut client).await;
    (took, disk)
}

/// MiB on the disk below a folder.
fn used(folder: &Path) -> f64 {
    let own = fs::symlink_metadata(folder).map_or(0, |metadata| metadata.blocks() * 512) as f64 / f64::from(1 << 20);
    let Ok(entries) = fs::read_dir(folder) else { return own };
    own + entries.flatten().map(|entry| used(&entry.path())).sum::<f64>()
}
