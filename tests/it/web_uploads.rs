//! Uploads into managed overlays: what is accepted, what is refused, and that a refusal leaves nothing on the disk.

use std::io::{Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flate2::write::GzEncoder;
use flate2::{Compress, Compression, FlushCompress};
use http_body_util::BodyExt;
use serde_json::json;
use tar::{EntryType, Header};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::harness::{Client, Got, Site};

/// A multipart body with the file, and before it the form token if there is one.
fn body(name: &str, content: &[u8], csrf: Option<&str>) -> Bytes {
    let mut body = Vec::new();
    if let Some(csrf) = csrf {
        write!(body, "--edge\r\ncontent-disposition: form-data; name=\"csrf_token\"\r\n\r\n{csrf}\r\n").unwrap();
    }
    write!(body, "--edge\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n").unwrap();
    body.extend_from_slice(content);
    body.extend_from_slice(b"\r\n--edge--\r\n");
    body.into()
}

async fn send(client: &Client, overlay: u64, headers: &[(&str, &str)], body: Bytes) -> Got {
    let mut all = vec![("content-type", "multipart/form-data; boundary=edge")];
    all.extend_from_slice(headers);
    let response = client.open_bytes("POST", &format!("/admin/overlays/{overlay}/files"), &all, body).await;
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Got { status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&bytes).into_owned() }
}

/// As a program on a cookie does it.
async fn upload(client: &Client, overlay: u64, name: &str, content: &[u8]) -> Got {
    let headers = [("x-csrf-token", client.csrf.as_str()), ("accept", "application/json")];
    send(client, overlay, &headers, body(name, content, None)).await
}

async fn managed(client: &Client) -> u64 {
    let made = client.json("POST", "/admin/overlays", json!({ "name": "maps" })).await.is(201);
    made.json()["id"].as_u64().unwrap()
}

fn everything_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(everything_below(&path));
        }
        found.push(path);
    }
    found
}

fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A tar entry whose name and target are written as they are, which the library's own builder would refuse.
fn entry(kind: EntryType, name: &[u8], target: &[u8], content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target);
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o4755);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn gzipped(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    for entry in entries {
        gz.write_all(entry).unwrap();
    }
    gz.write_all(&[0; 1024]).unwrap();
    gz.finish().unwrap()
}

fn file(name: &[u8], content: &[u8]) -> Vec<u8> {
    entry(EntryType::Regular, name, b"", content)
}

/// A VPK of one file, `x.nav` in a folder.
fn vpk(folder: &str, content: &[u8], crc: Option<u32>) -> Vec<u8> {
    packed(&[("nav", folder, b"x", content)], crc)
}

/// A VPK of files: extension, folder, name, content.
fn packed(files: &[(&str, &str, &[u8], &[u8])], crc: Option<u32>) -> Vec<u8> {
    let (mut tree, mut data) = (Vec::new(), Vec::new());
    for (extension, folder, name, content) in files {
        let mut sum = flate2::Crc::new();
        sum.update(content);
        tree.extend(format!("{extension}\0{folder}\0").into_bytes());
        tree.extend_from_slice(name);
        tree.push(0);
        tree.extend(crc.unwrap_or(sum.sum()).to_le_bytes());
        tree.extend([0, 0, 0xff, 0x7f]);
        tree.extend((data.len() as u32).to_le_bytes());
        tree.extend((content.len() as u32).to_le_bytes());
        tree.extend([0xff, 0xff, 0, 0]);
        data.extend_from_slice(content);
    }
    tree.push(0);
    let mut bytes = [0x34, 0x12, 0xaa, 0x55, 1, 0, 0, 0].to_vec();
    bytes.extend((tree.len() as u32).to_le_bytes());
    bytes.extend(tree);
    bytes.extend(data);
    bytes
}

/// An archive with some of its bytes changed, wherever they stand.
fn with_bytes(mut archive: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> =
        archive.windows(from.len()).enumerate().filter(|(_, window)| *window == from).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    for at in places {
        archive[at..at + to.len()].copy_from_slice(to);
    }
    archive
}

/// A zip whose only entry says that it is a device.
fn zipped_device() -> Vec<u8> {
    let mut zip = zipped(&[("left4dead2/x.txt", b"x")]);
    let entry = zip.windows(4).rposition(|bytes| bytes == b"PK\x01\x02").unwrap();
    // "Made by": Unix, which makes the upper half of the attributes a mode: a character device.
    zip[entry + 5] = 3;
    zip[entry + 40..entry + 42].copy_from_slice(&0o020_666_u16.to_le_bytes());
    zip
}

fn zipped_link(target: &str) -> Vec<u8> {
    let mut zip = ZipWriter::new_append(Cursor::new(zipped(&[("left4dead2/x.txt", b"x")]))).unwrap();
    zip.add_symlink("left4dead2/evil", target, SimpleFileOptions::default()).unwrap();
    zip.finish().unwrap().into_inner()
}

#[tokio::test]
async fn a_zip_a_tar_gz_and_a_vpk_become_revisions_of_plain_files() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let id = managed(&admin).await;
    let link = entry(EntryType::Symlink, b"left4dead2/maps/y.bsp", b"x.bsp", b"");
    let twin = entry(EntryType::Link, b"left4dead2/maps/z.bsp", b"left4dead2/maps/x.bsp", b"");
    for (number, name, content) in [
        (1, "maps.zip", zipped(&[("left4dead2/maps/x.bsp", b"bsp"), ("left4dead2/cfg/a.cfg", b"sv_x 1\n")])),
        (2, "maps.tar.gz", gzipped(&[file(b"left4dead2/maps/x.bsp", b"bsp"), link, twin])),
        (3, "maps.vpk", vpk("maps", b"nav", None)),
    ] {
        let got = upload(&admin, id, name, &content).await.is(201).json();
        assert_eq!((&got["id"], &got["warnings"], &got["upload_name"]), (&json!(number), &json!([]), &json!(name)));
    }
    let folder = site.folder.path().join(format!("managed/{id}"));
    assert_eq!(std::fs::read(folder.join("1/left4dead2/maps/x.bsp")).unwrap(), b"bsp");
    assert_eq!(std::fs::read(folder.join("2/left4dead2/maps/y.bsp")).unwrap(), b"bsp");
    assert_eq!(std::fs::read(folder.join("2/left4dead2/maps/z.bsp")).unwrap(), b"bsp");
    let addon = folder.join("3/left4dead2/addons/maps.vpk");
    assert_eq!(std::fs::read(addon).unwrap(), vpk("maps", b"nav", None), "an addon is kept whole");
    let mode = |path: &str| std::fs::metadata(folder.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("2/left4dead2/maps/x.bsp"), mode("2/left4dead2/maps")), (0o644, 0o755));
    let left = everything_below(&folder);
    assert!(!left.iter().any(|path| path.to_string_lossy().contains("upload-")), "{left:?}");
}

#[tokio::test]
async fn a_form_uploads_with_the_token_in_its_first_part_and_comes_to_the_overlays_page() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let id = managed(&admin).await;
    let zip = zipped(&[("left4dead2/x.txt", b"x")]);
    let got = send(&admin, id, &[], body("x.zip", &zip, Some(&admin.csrf))).await.is(302);
    assert_eq!(got.header("location"), format!("/admin/overlays/{id}"));
    let page = admin.get(&format!("/admin/overlays/{id}")).await.is(200).body;
    assert!(page.contains("x.zip") && page.contains("current"), "{page}");
    let got = send(&admin, id, &[], body("x.zip", b"nonsense", Some(&admin.csrf))).await.is(400);
    assert!(got.body.contains("this file is no .zip") && got.body.contains("maps"), "{}", got.body);
}

#[tokio::test]
async fn only_admins_with_the_form_token_upload_and_only_into_managed_overlays() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let user = site.user("user").await;
    let id = managed(&admin).await;
    let zip = zipped(&[("left4dead2/x.txt", b"x")]);
    upload(&user, id, "x.zip", &zip).await.is(403);
    send(&site.guest(), id, &[("accept", "application/json")], body("x.zip", &zip, None)).await.is(401);
    send(&site.guest(), id, &[], body("x.zip", &zip, None)).await.is(400);
    send(&admin, id, &[], body("x.zip", &zip, None)).await.is(400);
    send(&admin, id, &[], body("x.zip", &zip, Some("wrong"))).await.is(400);
    upload(&admin, 99, "x.zip", &zip).await.is(404);
    admin.json("POST", &format!("/admin/overlays/{id}/files"), json!({})).await.is(415);
    std::fs::create_dir(site.folder.path().join("overlays/hand")).unwrap();
    let path = site.folder.path().join("overlays/hand").display().to_string();
    let made = admin.json("POST", "/admin/overlays", json!({ "name": "hand", "path": path })).await.is(201);
    upload(&admin, made.json()["id"].as_u64().unwrap(), "x.zip", &zip).await.is(409);
    assert_eq!(everything_below(&site.folder.path().join("managed")), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_hostile_archive_is_400_with_the_reason_and_nothing_of_it_stays() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let id = managed(&admin).await;
    let good = file(b"left4dead2/x.txt", b"x");
    let whole = zipped(&[("left4dead2/x.txt", &[b'x'; 4000]), ("left4dead2/y.txt", b"y")]);
    let tar = gzipped(&[file(b"left4dead2/x.txt", &(0..=255).cycle().take(40_000).collect::<Vec<u8>>())]);
    let special = |kind, target: &[u8]| gzipped(&[good.clone(), entry(kind, b"left4dead2/evil", target, b"")]);
    let long_name = {
        let mut header = entry(EntryType::GNULongName, b"././@LongLink", b"", &vec![b'x'; 200_000]);
        header.extend(good.clone());
        gzipped(&[header])
    };
    let mut damaged = whole.clone();
    damaged[50] ^= 0x55;
    for (what, archive, reason) in [
        ("a path that climbs, in a zip", zipped(&[("left4dead2/ok", b"x"), ("../../evil", b"x")]), "leaves the tree"),
        ("a path that climbs, in a tar", gzipped(&[good.clone(), file(b"a/../../evil", b"x")]), "leaves the tree"),
        ("a path that climbs, in a VPK", vpk("../../evil", b"x", None), "leaves the tree"),
        ("an absolute path, in a zip", zipped(&[("/tmp/left4me-evil", b"x")]), "absolute"),
        ("an absolute path, in a tar", gzipped(&[file(b"/tmp/left4me-evil", b"x")]), "absolute"),
        ("backslashes that climb", zipped(&[("..\\evil", b"x")]), "leaves the tree"),
        ("a symlink that climbs", special(EntryType::Symlink, b"../../evil"), "out of the tree"),
        ("an absolute symlink", special(EntryType::Symlink, b"/etc/passwd"), "out of the tree"),
        ("a symlink that climbs behind a name", special(EntryType::Symlink, b"x/../../.."), "out of the tree"),
        ("a hard link that climbs", special(EntryType::Link, b"../../../etc/passwd"), "leaves the tree"),
        ("an absolute hard link", special(EntryType::Link, b"/etc/passwd"), "absolute"),
        ("a character device", special(EntryType::Char, b""), "no file, folder or link"),
        ("a block device", special(EntryType::Block, b""), "no file, folder or link"),
        ("a pipe", special(EntryType::Fifo, b""), "no file, folder or link"),
        (
            "a file through a symlink",
            gzipped(&[entry(EntryType::Symlink, b"l", b"left4dead2", b""), file(b"l/x.txt", b"x"), good.clone()]),
            "twice",
        ),
        ("the same file twice", gzipped(&[good.clone(), good.clone()]), "twice"),
        ("a name that is not UTF-8", gzipped(&[file(b"left4dead2/\xff\xfe", b"x")]), "not UTF-8"),
        ("a name with a line break", gzipped(&[file(b"left4dead2/a\nb", b"x")]), "control characters"),
        ("a name that is not UTF-8, in a zip", with_bytes(whole.clone(), b"2/x.txt", b"2/\xff\xfe.t."), "not UTF-8"),
        ("a name that is not UTF-8, in a VPK", packed(&[("nav", "maps", b"\xff\xfe", b"x")], None), "not UTF-8"),
        ("a device, in a zip", zipped_device(), "no file, folder or link"),
        ("a symlink that climbs, in a zip", zipped_link("../../evil"), "out of the tree"),
        ("an absolute symlink, in a zip", zipped_link("/etc/passwd"), "out of the tree"),
        ("an absolute path, in a VPK", vpk("/etc", b"x", None), "absolute"),
        (
            "the same file twice, in a VPK",
            packed(&[("nav", "maps", b"x", b"1"), ("nav", "maps", b"x", b"2")], None),
            "twice",
        ),
        ("a VPK in parts", with_bytes(vpk("maps", b"x", None), b"\xff\x7f\0\0", b"\x01\0\0\0"), "another part"),
        ("a VPK without files", packed(&[], None), "no files"),
        ("a VPK of version 2", with_bytes(vpk("maps", b"x", None), b"\xaa\x55\x01", b"\xaa\x55\x02"), "version 1"),
        ("a long name of 200 kB", long_name, "too long"),
        ("a zip that is cut off", whole[..whole.len() - 60].to_vec(), "cannot be read"),
        ("a zip that is damaged", damaged, "in the archive"),
        ("a tar.gz that is cut off", tar[..tar.len() / 2].to_vec(), "archive"),
        ("a VPK that is cut off", vpk("maps", b"abcdef", None)[..45].to_vec(), "cut off"),
        ("a VPK that is damaged", vpk("maps", b"abcdef", Some(1)), "check sum"),
        ("an archive without files", gzipped(&[entry(EntryType::Directory, b"left4dead2/", b"", b"")]), "no files"),
        ("something else", b"hello".to_vec(), "no .zip, .tar.gz or .vpk"),
        ("nothing", Vec::new(), "no .zip, .tar.gz or .vpk"),
    ] {
        let got = upload(&admin, id, "evil.zip", &archive).await;
        assert_eq!(got.status, 400, "{what}: {}", got.body);
        let body = got.json();
        let error = body["error"].as_str().unwrap();
        assert!(error.contains(reason) && body["field"] == "file", "{what}: {error}");
        let left = everything_below(&site.folder.path().join(format!("managed/{id}")));
        assert_eq!(left, Vec::<PathBuf>::new(), "{what} left something");
    }
    assert!(!Path::new("/tmp/left4me-evil").exists());
    assert_eq!(admin.get_json(&format!("/admin/overlays/{id}/revisions")).await.json()["items"], json!([]));
}

/// Bytes of zeros in one piece of a bomb.
const PIECE: u64 = 16 << 20;
/// So many pieces are 10 GiB; each takes 16 kB.
const PIECES: usize = 640;

/// Ten gigabytes of zeros as deflate writes them. Pieces end on a byte and copy from zeros before them, so one piece
/// can be repeated instead of compressing them all.
fn deflated_zeros() -> Vec<u8> {
    let mut deflate = Compress::new(Compression::best(), false);
    let zeros = vec![0; PIECE as usize];
    let mut piece = |flush| {
        let mut out = Vec::with_capacity(1 << 20);
        deflate.compress_vec(if flush == FlushCompress::Sync { &zeros } else { &[] }, &mut out, flush).unwrap();
        out
    };
    let (first, more, end) = (piece(FlushCompress::Sync), piece(FlushCompress::Sync), piece(FlushCompress::Finish));
    [first, more.repeat(PIECES - 1), end].concat()
}

/// A zip of ten gigabytes of zeros that says `size` of itself.
fn zipped_zeros(size: u64) -> Vec<u8> {
    let (name, data) = ("left4dead2/zeros", deflated_zeros());
    assert!(data.len() < 12 << 20, "{}", data.len());
    let sizes = |bytes: &mut Vec<u8>| {
        bytes.extend([0; 4]);
        bytes.extend((data.len() as u32).to_le_bytes());
        bytes.extend(u32::MAX.to_le_bytes());
        bytes.extend((name.len() as u16).to_le_bytes());
        // The size is in the extra field of ZIP64.
        bytes.extend(12_u16.to_le_bytes());
    };
    let extra = [&[1, 0, 8, 0][..], &size.to_le_bytes()].concat();
    let mut zip = b"PK\x03\x04\x2d\0\0\0\x08\0\0\0\x21\0".to_vec();
    sizes(&mut zip);
    zip.extend(name.bytes());
    // The local one must hold both sizes.
    zip.extend(&extra);
    zip.extend(&data);
    let directory = zip.len();
    zip.extend(b"PK\x01\x02\x2d\x03\x2d\0\0\0\x08\0\0\0\x21\0");
    sizes(&mut zip);
    zip.extend([0; 6]);
    zip.extend((0o100_644_u32 << 16).to_le_bytes());
    zip.extend([0; 4]);
    zip.extend(name.bytes());
    zip.extend(&extra);
    let length = zip.len() - directory;
    zip.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    zip.extend((length as u32).to_le_bytes());
    zip.extend((directory as u32).to_le_bytes());
    zip.extend([0; 2]);
    zip
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::best());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

/// A tar.gz whose header says `size`, and then ten gigabytes of zeros: members of gzip follow each other as they like.
fn gzipped_zeros(size: u64) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.set_path("left4dead2/zeros").unwrap();
    header.set_size(size);
    header.set_entry_type(EntryType::Regular);
    header.set_cksum();
    [gz(header.as_bytes()), gz(&vec![0; PIECE as usize]).repeat(PIECES)].concat()
}

#[tokio::test]
async fn bombs_of_bytes_and_of_entries_are_400_and_leave_nothing() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let id = managed(&admin).await;
    let ten = PIECE * PIECES as u64;
    let folder = entry(EntryType::Directory, b"d/", b"", b"");
    let entries_in_tar = gz(&folder.repeat(1000)).repeat(1000);
    let mut entries_in_zip = whole_of_one();
    entries_in_zip.extend(b"PK\x01\x02".repeat(1_000_000));
    let mut directory = b"nav\0maps\0".to_vec();
    directory.extend(b"x\0\0\0\0\0\0\0\xff\x7f\0\0\0\0\0\0\0\0\xff\xff".repeat(1_000_000));
    let mut entries_in_vpk = b"\x34\x12\xaa\x55\x01\0\0\0".to_vec();
    entries_in_vpk.extend((directory.len() as u32 + 3).to_le_bytes());
    entries_in_vpk.extend(directory);
    entries_in_vpk.extend([0; 3]);
    for (what, archive, reason) in [
        ("10 GB of zeros in 10 MB of tar.gz", gzipped_zeros(ten), "times its own size"),
        ("10 GB of zeros behind a small file in a tar.gz", gzipped_zeros(512), "than an archive of its size may hold"),
        ("10 GB of zeros in 10 MB of zip", zipped_zeros(ten), "times its own size"),
        ("10 GB of zeros in a zip that says less", zipped_zeros(1000), "larger than"),
        ("a million folders in a tar.gz", entries_in_tar, "100000 entries"),
        ("a million entries in a zip", entries_in_zip, "100000 entries"),
        ("a million files in a VPK", entries_in_vpk, "100000 files"),
    ] {
        let got = upload(&admin, id, "bomb.zip", &archive).await;
        assert_eq!(got.status, 400, "{what}: {}", got.body);
        assert!(got.body.contains(reason), "{what}: {}", got.body);
        let left = everything_below(&site.folder.path().join(format!("managed/{id}")));
        assert_eq!(left, Vec::<PathBuf>::new(), "{what} left something");
    }
}

#[tokio::test]
async fn an_addon_is_kept_whole_under_a_name_that_the_game_knows_and_can_be_looked_into() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let id = managed(&admin).await;
    let addon = packed(
        &[
            ("txt", " ", b"addoninfo", b"addonTitle x"),
            ("bsp", "maps", b"c1m1_x", b"bsp!"),
            ("cfg", "cfg", b"server", b"rcon_password x"),
        ],
        None,
    );
    let got = upload(&admin, id, "My Map v1.2.vpk", &addon).await.is(201).json();
    assert_eq!((&got["files"], &got["bytes"]), (&json!(1), &json!(addon.len())));
    let warnings = got["warnings"].to_string();
    assert!(warnings.contains("replaces this file: left4dead2/addons/My_Map_v1_2.vpk/cfg/server.cfg"), "{warnings}");
    assert!(warnings.contains("set rcon_password"), "{warnings}");
    let files = format!("/admin/overlays/{id}/files?path=left4dead2/addons");
    let got = admin.get_json(&files).await.is(200).json();
    assert_eq!(got["items"], json!([{ "name": "My_Map_v1_2.vpk", "kind": "file", "bytes": addon.len() }]));
    let inside = format!("{files}/My_Map_v1_2.vpk");
    assert_eq!(
        admin.get_json(&inside).await.is(200).json()["items"],
        json!([
            { "name": "cfg", "kind": "folder", "bytes": 0 },
            { "name": "maps", "kind": "folder", "bytes": 0 },
            { "name": "addoninfo.txt", "kind": "file", "bytes": 12 },
        ])
    );
    let got = admin.get_json(&format!("{inside}/maps")).await.is(200).json();
    assert_eq!(got["items"], json!([{ "name": "c1m1_x.bsp", "kind": "file", "bytes": 4 }]));
    for bad in ["nothing", "maps/c1m1_x.bsp", "map", "maps/../../.."] {
        admin.get_json(&format!("{inside}/{bad}")).await.is(404);
    }
    let page = admin.get(&files).await.is(200).body;
    let link = "path=left4dead2%2Faddons%2FMy_Map_v1_2.vpk";
    assert!(page.contains(link), "{page}");
    let page = admin.get(&inside).await.is(200).body;
    assert!(page.contains("addoninfo.txt") && page.contains(&format!("{link}%2Fmaps")), "{page}");
}

fn whole_of_one() -> Vec<u8> {
    zipped(&[("left4dead2/x.txt", b"x")])
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_leaves_nothing() {
    use tokio::io::AsyncWriteExt;
    let site = Site::start().await;
    let admin = site.admin().await;
    let id = managed(&admin).await;
    let mut stream = tokio::net::TcpStream::connect(site.address).await.unwrap();
    let head = format!(
        "POST /admin/overlays/{id}/files HTTP/1.1\r\nhost: x\r\ncookie: {}\r\nx-csrf-token: {}\r\ncontent-length: 9000\r\n\
         content-type: multipart/form-data; boundary=edge\r\n\r\n",
        admin.cookie.as_deref().unwrap(),
        admin.csrf
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body("x.zip", &[b'x'; 2000], None)[..1000]).await.unwrap();
    let folder = site.folder.path().join(format!("managed/{id}"));
    let wait = async |wanted: bool| {
        let deadline = tokio::time::Instant::now() + crate::harness::DEADLINE;
        while everything_below(&folder).is_empty() == wanted {
            assert!(tokio::time::Instant::now() < deadline, "{:?}", everything_below(&folder));
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    wait(true).await;
    drop(stream);
    wait(false).await;
}

#[tokio::test]
async fn an_upload_over_the_limit_is_413_before_it_is_read() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let site = Site::start().await;
    let admin = site.admin().await;
    let id = managed(&admin).await;
    let mut stream = tokio::net::TcpStream::connect(site.address).await.unwrap();
    let head = format!(
        "POST /admin/overlays/{id}/files HTTP/1.1\r\nhost: x\r\ncookie: {}\r\nx-csrf-token: {}\r\naccept: application/json\r\n\
         content-length: 3000000000\r\ncontent-type: multipart/form-data; boundary=edge\r\n\r\n",
        admin.cookie.as_deref().unwrap(),
        admin.csrf
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(crate::harness::DEADLINE, stream.read(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn what_will_surprise_is_said_with_the_revision() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let id = managed(&admin).await;
    let zip = zipped(&[
        ("left4dead2/Maps/a.bsp", b""),
        ("left4dead2/maps/a.bsp", b""),
        ("left4dead2/addons/my.map.vpk", b""),
        ("left4dead2/cfg/server.cfg", "hostname \"é\"\nrcon_password secret\n".as_bytes()),
        ("readme.txt", b""),
    ]);
    let got = upload(&admin, id, "x.zip", &zip).await.is(201).json();
    let warnings = got["warnings"].to_string();
    assert_eq!(got["warnings"].as_array().unwrap().len(), 6, "{warnings}");
    for part in ["only in case", "several dots", "blueprint replaces", "not ASCII", "rcon_password", "outside"] {
        assert!(warnings.contains(part), "{part}: {warnings}");
    }
    assert!(!warnings.contains("secret"), "{warnings}");
}

#[tokio::test]
async fn an_earlier_revision_is_made_current_again_and_its_files_are_shown() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let id = managed(&admin).await;
    for name in ["one", "two"] {
        let path = format!("left4dead2/maps/{name}.bsp");
        upload(&admin, id, &format!("{name}.zip"), &zipped(&[(&path, b"bsp")])).await.is(201);
    }
    let list = admin.get_json(&format!("/admin/overlays/{id}/revisions")).await.is(200).json();
    assert_eq!((&list["items"][0]["number"], &list["items"][1]["number"]), (&json!(2), &json!(1)));
    let files = format!("/admin/overlays/{id}/files");
    let got = admin.get_json(&format!("{files}?path=left4dead2/maps")).await.is(200).json();
    assert_eq!(got["items"], json!([{ "name": "two.bsp", "kind": "file", "bytes": 3 }]));
    let path = format!("/admin/overlays/{id}/revisions");
    assert_eq!(admin.json("POST", &path, json!({ "number": 1 })).await.is(200).json()["revision"], 1);
    let got = admin.get_json(&format!("{files}?path=left4dead2/maps")).await.is(200).json();
    assert_eq!(got["items"][0]["name"], "one.bsp");
    assert!(admin.get(&format!("{files}?path=left4dead2")).await.is(200).body.contains("maps/"));
    admin.form(&path, &[("number", "2")]).await.is(302);
    admin.json("POST", &path, json!({ "number": 9 })).await.is(404);
    admin.json("POST", &path, json!({})).await.is(400);
    for bad in ["../..", "/etc", "nothing", "left4dead2/maps/one.bsp"] {
        admin.get_json(&format!("{files}?path={bad}")).await.is(404);
    }
    admin.get_json(&format!("{files}?revision=9")).await.is(404);
    site.user("user").await.get_json(&files).await.is(403);
}
