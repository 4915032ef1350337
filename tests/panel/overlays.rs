//! Managed overlays in the whole product: an upload reaches the game, and its files go when nothing has them mounted.

use std::io::{Cursor, Write};

use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::support::panel::Panel;
use crate::support::{eventually, http};

/// A zip that holds one file.
fn zipped(path: &str, content: &str) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(path, SimpleFileOptions::default()).expect("an entry");
    zip.write_all(content.as_bytes()).expect("its content");
    zip.finish().expect("a zip").into_inner()
}

/// Uploads as a browser without script does: a plain form, the form token first.
fn upload(panel: &Panel, (cookie, csrf): (&str, &str), overlay: u64, archive: &[u8]) {
    let mut body =
        format!("--edge\r\ncontent-disposition: form-data; name=\"csrf_token\"\r\n\r\n{csrf}\r\n").into_bytes();
    body.extend(b"--edge\r\ncontent-disposition: form-data; name=\"file\"; filename=\"x.zip\"\r\n\r\n");
    body.extend(archive);
    body.extend(b"\r\n--edge--\r\n");
    let headers = [("cookie", cookie), ("content-type", "multipart/form-data; boundary=edge")];
    let answer = http::send(panel.address, "POST", &format!("/admin/overlays/{overlay}/files"), &headers, &body);
    assert_eq!(answer.expect(302).header("location"), Some(&*format!("/admin/overlays/{overlay}")));
}

fn managed(panel: &Panel, name: &str) -> u64 {
    panel.admin("POST", "/admin/overlays", &json!({"name": name})).expect(201).json()["id"].as_u64().expect("an id")
}

#[test]
fn an_uploaded_overlay_reaches_the_game_and_its_files_go_when_the_game_that_has_them_mounted_ends() {
    let mut panel = Panel::start();
    panel.must("/admin/install");
    let password = panel.make_admin();
    let (cookie, csrf) = panel.log_in("admin", &password);
    let (used, unused) = (managed(&panel, "used"), managed(&panel, "unused"));
    let archive = zipped("left4dead2/cfg/shared.cfg", "echo uploaded and mounted\n");
    for overlay in [used, unused] {
        upload(&panel, (&cookie, &csrf), overlay, &archive);
    }
    let blueprint = panel.blueprint("b", &["exec shared.cfg"], &[used]);
    let server = panel.server("s", blueprint);
    panel.must(&format!("/servers/{server}/start"));
    let line = |line: &Value| line["text"].as_str().is_some_and(|text| text.contains("uploaded and mounted"));
    eventually("the line of the uploaded file", || {
        let lines = panel.get(&format!("/servers/{server}/logs"));
        lines["items"].as_array()?.iter().any(line).then_some(())
    });

    panel.admin("DELETE", &format!("/admin/overlays/{unused}"), &Value::Null).expect(204);
    let folder = |overlay: u64| panel.data(&format!("managed/{overlay}"));
    eventually("the end of the unused files", || (!folder(unused).exists()).then_some(()));

    panel.admin("PATCH", &format!("/blueprints/{blueprint}"), &json!({"overlay_ids": []})).expect(200);
    panel.admin("DELETE", &format!("/admin/overlays/{used}"), &Value::Null).expect(204);
    // Another one that goes at once shows that there was a look, and that it left these alone.
    let third = managed(&panel, "third");
    upload(&panel, (&cookie, &csrf), third, &archive);
    panel.admin("DELETE", &format!("/admin/overlays/{third}"), &Value::Null).expect(204);
    eventually("the end of the third one's files", || (!folder(third).exists()).then_some(()));
    assert!(folder(used).join("1/left4dead2/cfg/shared.cfg").is_file(), "the game has it mounted");

    panel.must(&format!("/servers/{server}/stop"));
    eventually("the end of the files that the game had", || (!folder(used).exists()).then_some(()));
    panel.must(&format!("/servers/{server}/start"));
}

#[test]
fn what_an_upload_left_when_its_daemon_was_killed_goes_at_the_next_start() {
    let mut panel = Panel::start();
    let password = panel.make_admin();
    let (cookie, csrf) = panel.log_in("admin", &password);
    let overlay = managed(&panel, "maps");
    upload(&panel, (&cookie, &csrf), overlay, &zipped("left4dead2/x.txt", "x"));
    panel.kill();
    let folder = panel.data(&format!("managed/{overlay}"));
    // Placed and not published, unpacked and not placed, arrived and not unpacked; and an overlay that nobody knows.
    for name in ["2/left4dead2", "upload-1.new/left4dead2", "../999/1/left4dead2"] {
        std::fs::create_dir_all(folder.join(name)).expect("a folder");
    }
    std::fs::write(folder.join("upload-2.part"), "PK").expect("a file");
    if crate::support::panel::may_become_another() {
        let uid = crate::support::panel::UID.to_string();
        let owned = std::process::Command::new("chown").args(["-R", &uid]).arg(panel.data("managed")).status();
        assert!(owned.expect("chown").success());
    }
    panel.start_again();
    let left: Vec<String> = std::fs::read_dir(&folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(left, ["1"]);
    assert!(!folder.with_file_name("999").exists());
    let entries = panel.get(&format!("/admin/overlays/{overlay}/files?path=left4dead2"));
    assert_eq!(entries["items"][0]["name"], "x.txt");
}
