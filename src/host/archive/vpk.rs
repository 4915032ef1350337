//! VPK archives, version 1, as Left 4 Dead 2 packs its addons: a directory, then the files as they are.
//!
//! The game reads an addon from `left4dead2/addons/<name>.vpk`, so one is kept whole there, once everything in it was
//! checked; what lies in it is shown without unpacking it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use super::tree::Tree;
use super::{names, refused};
use crate::model::machine::FilesError;

/// What a VPK begins with.
const SIGNATURE: u32 = 0x55aa_1234;
/// Signature, version, length of the directory.
const HEADER: u64 = 12;
/// Most bytes of a directory: it is held in memory.
const DIRECTORY_MAX: u64 = 64 << 20;
/// The number of "this file" among the parts of a VPK.
const THIS_FILE: u16 = 0x7fff;
/// Ends an entry.
const END: u16 = 0xffff;
/// Where the game looks for addons.
const ADDONS: &str = "left4dead2/addons";
/// Most characters of an addon's name.
const NAME_MAX: usize = 100;
/// Most files of an addon that is shown.
const SHOWN_MAX: u64 = 100_000;

/// One file of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    path: String,
    crc: u32,
    /// Its first bytes, which stand in the directory.
    preload: Vec<u8>,
    part: u16,
    /// From the end of the directory.
    offset: u32,
    length: u32,
}

/// What is left of the directory.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], FilesError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn text(&mut self) -> Result<&'a [u8], FilesError> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or_else(cut)?;
        let text = self.take(end)?;
        self.take(1)?;
        Ok(text)
    }

    fn u16(&mut self) -> Result<u16, FilesError> {
        let bytes = self.take(2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, FilesError> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

fn cut() -> FilesError {
    refused("the VPK is cut off")
}

/// Reads the directory: extension, folder, name, each ended by an empty text; a space stands for "none".
fn directory(bytes: &[u8], most: u64) -> Result<Vec<Item>, FilesError> {
    let mut rest = Rest(bytes);
    let mut items = Vec::new();
    loop {
        let extension = rest.text()?;
        if extension.is_empty() {
            return Ok(items);
        }
        loop {
            let folder = rest.text()?;
            if folder.is_empty() {
                break;
            }
            loop {
                let name = rest.text()?;
                if name.is_empty() {
                    break;
                }
                if items.len() as u64 >= most {
                    return Err(refused(format!("the VPK holds more than {most} files")));
                }
                items.push(item(&mut rest, extension, folder, name)?);
            }
        }
    }
}

fn item(rest: &mut Rest, extension: &[u8], folder: &[u8], name: &[u8]) -> Result<Item, FilesError> {
    let mut path = Vec::new();
    if folder != b" " {
        path.extend_from_slice(folder);
        path.push(b'/');
    }
    if name != b" " {
        path.extend_from_slice(name);
    }
    if extension != b" " {
        path.push(b'.');
        path.extend_from_slice(extension);
    }
    let path = names::clean(&path)?;
    if path.is_empty() {
        return Err(refused("the VPK holds a file without a name"));
    }
    let crc = rest.u32()?;
    let preload = rest.u16()?;
    let (part, offset, length) = (rest.u16()?, rest.u32()?, rest.u32()?);
    if rest.u16()? != END {
        return Err(refused(format!("the directory of the VPK is damaged at \"{path}\"")));
    }
    Ok(Item { path, crc, preload: rest.take(preload.into())?.to_vec(), part, offset, length })
}

/// Reads header and directory; answers the items and where their content begins.
fn items(file: &mut (impl Read + Seek), size: u64, most: u64) -> Result<(Vec<Item>, u64), FilesError> {
    let mut header = [0; HEADER as usize];
    file.read_exact(&mut header).map_err(|_| cut())?;
    let mut head = Rest(&header);
    let (signature, version, length) = (head.u32()?, head.u32()?, u64::from(head.u32()?));
    if signature != SIGNATURE {
        return Err(refused("this is no VPK"));
    }
    if version != 1 {
        return Err(refused(format!("this is a VPK of version {version}; Left 4 Dead 2 reads version 1")));
    }
    if length > DIRECTORY_MAX {
        return Err(refused("the directory of the VPK is too large"));
    }
    let data = HEADER + length;
    if data > size {
        return Err(cut());
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact(&mut bytes).map_err(|_| cut())?;
    Ok((directory(&bytes, most)?, data))
}

/// Paths and sizes of the files in a VPK of `size` bytes.
pub fn entries(mut file: impl Read + Seek, size: u64) -> Result<Vec<(String, u64)>, FilesError> {
    let (items, _) = items(&mut file, size, SHOWN_MAX)?;
    Ok(items.into_iter().map(|item| (item.path, item.preload.len() as u64 + u64::from(item.length))).collect())
}

/// At most `most` bytes of the file `path` in a VPK of `size` bytes; `None`: it has no such file.
pub fn content(mut file: impl Read + Seek, size: u64, path: &str, most: u64) -> Result<Option<Vec<u8>>, FilesError> {
    let wrong = |error: io::Error| refused(format!("the VPK cannot be read: {error}"));
    let (items, data) = items(&mut file, size, SHOWN_MAX)?;
    let Some(item) = items.into_iter().find(|item| item.path == path) else { return Ok(None) };
    if item.part != THIS_FILE && item.length > 0 {
        return Err(refused(format!("\"{path}\" lies in another part of this VPK")));
    }
    file.seek(SeekFrom::Start(data + u64::from(item.offset))).map_err(wrong)?;
    let mut bytes = Vec::new();
    item.preload.chain(file.take(item.length.into())).take(most).read_to_end(&mut bytes).map_err(wrong)?;
    Ok(Some(bytes))
}

/// The name of the addon that a file called `upload` becomes: without folders and ending, and without more dots, for the
/// game does not recognise files that have several.
fn addon_name(upload: &str) -> String {
    let name = upload.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let fits = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let stem: String = stem.chars().take(NAME_MAX).map(fits).collect();
    if stem.is_empty() { "addon".into() } else { stem }
}

/// Keeps it whole, under the name that it was uploaded with.
pub fn keep(mut file: File, size: u64, upload: &str, tree: &mut Tree) -> Result<(), FilesError> {
    let wrong = |error: io::Error| refused(format!("the VPK cannot be read: {error}"));
    let (items, data) = items(&mut file, size, tree.entries_max())?;
    // Nothing comes out of it here, but whoever checks it reads all of it: many entries may name the same bytes.
    let total = items.iter().map(|item| item.preload.len() as u64 + u64::from(item.length)).sum();
    tree.expect(items.len() as u64, total)?;
    if items.is_empty() {
        return Err(refused("the VPK holds no files"));
    }
    let addon = format!("{ADDONS}/{}.vpk", addon_name(upload));
    let mut seen = HashSet::new();
    for item in &items {
        if !seen.insert(item.path.as_str()) {
            return Err(refused(format!("the VPK holds \"{}\" twice", item.path)));
        }
        if item.part != THIS_FILE && item.length > 0 {
            return Err(refused(format!("\"{}\" lies in another part of this VPK: pack it as one file", item.path)));
        }
        let start = data + u64::from(item.offset);
        if item.length > 0 && start + u64::from(item.length) > size {
            return Err(cut());
        }
        file.seek(SeekFrom::Start(start)).map_err(wrong)?;
        let body = item.preload.as_slice().chain((&mut file).take(item.length.into()));
        let mut body = flate2::CrcReader::new(body);
        tree.inside(&format!("{addon}/{}", item.path), &mut body).map_err(wrong)?;
        if body.crc().sum() != item.crc {
            return Err(refused(format!("\"{}\" in the VPK is damaged: its check sum is wrong", item.path)));
        }
    }
    file.rewind().map_err(wrong)?;
    tree.file(&addon, size, &mut file)
}

/// A small VPK for tests of other modules: extension, folder, name and content of each file.
#[cfg(test)]
pub fn sample(files: &[(&str, &str, &str, &[u8])]) -> Vec<u8> {
    let (mut directory, mut data) = (Vec::new(), Vec::new());
    for (extension, folder, name, content) in files {
        for text in [extension, folder, name] {
            directory.extend(text.as_bytes());
            directory.push(0);
        }
        directory.extend([0; 6]);
        directory.extend(THIS_FILE.to_le_bytes());
        directory.extend((data.len() as u32).to_le_bytes());
        directory.extend((content.len() as u32).to_le_bytes());
        directory.extend(END.to_le_bytes());
        directory.extend([0, 0]);
        data.extend(*content);
    }
    directory.push(0);
    let head = [SIGNATURE, 1, directory.len() as u32].map(u32::to_le_bytes).concat();
    [head, directory, data].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(bytes: &mut Vec<u8>, text: &str) {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }

    /// A directory with each file under an extension and a folder of its own.
    fn written(items: &[Item]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for item in items {
            let (folder, name) = item.path.rsplit_once('/').unwrap();
            let (name, extension) = name.rsplit_once('.').unwrap();
            text(&mut bytes, extension);
            text(&mut bytes, folder);
            text(&mut bytes, name);
            bytes.extend(item.crc.to_le_bytes());
            bytes.extend((item.preload.len() as u16).to_le_bytes());
            bytes.extend(item.part.to_le_bytes());
            bytes.extend(item.offset.to_le_bytes());
            bytes.extend(item.length.to_le_bytes());
            bytes.extend(END.to_le_bytes());
            bytes.extend(&item.preload);
            bytes.extend([0, 0]);
        }
        bytes.push(0);
        bytes
    }

    prop_compose! {
        fn any_item()(folder in "[a-z]{1,8}(/[a-z0-9_]{1,8}){0,3}", name in "[a-z0-9_]{1,12}", extension in "[a-z]{1,4}",
            crc in any::<u32>(), preload in proptest::collection::vec(any::<u8>(), 0..40), offset in any::<u32>(),
            length in any::<u32>()) -> Item {
            Item { path: format!("{folder}/{name}.{extension}"), crc, preload, part: THIS_FILE, offset, length }
        }
    }

    proptest! {
        #[test]
        fn a_directory_reads_back_and_any_shorter_one_is_refused(items in proptest::collection::vec(any_item(), 0..12), cut in 0.0..1.0_f64) {
            let bytes = written(&items);
            prop_assert_eq!(directory(&bytes, 100).unwrap(), items);
            let shorter = (bytes.len() as f64 * cut) as usize;
            prop_assert!(directory(&bytes[..shorter], 100).is_err());
        }

        #[test]
        fn no_bytes_make_the_reader_fail_otherwise_than_by_a_refusal(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Err(error) = directory(&bytes, 100) {
                prop_assert!(matches!(error, FilesError::Refused(_)));
            }
        }
    }

    #[test]
    fn an_addon_is_named_so_that_the_game_recognises_it() {
        for (upload, name) in [
            ("Helms Deep.vpk", "Helms_Deep"),
            ("my.map.v2.VPK", "my_map_v2"),
            ("..\\..\\evil.vpk", "evil"),
            ("/etc/x.vpk", "x"),
            ("é.vpk", "_"),
            (".vpk", "addon"),
            ("..", "_"),
            ("", "addon"),
        ] {
            assert_eq!(addon_name(upload), name, "{upload}");
        }
        assert_eq!(addon_name(&"x".repeat(500)).len(), NAME_MAX);
    }

    #[test]
    fn names_that_lead_out_of_the_tree_and_too_many_files_are_refused() {
        let item =
            |path: &str| Item { path: path.into(), crc: 0, preload: vec![], part: THIS_FILE, offset: 0, length: 0 };
        assert!(directory(&written(&[item("../up/x.txt")]), 100).is_err());
        assert!(directory(&written(&[item("/etc/x.txt")]), 100).is_err());
        let many: Vec<Item> = (0..5).map(|number| item(&format!("a/{number}.txt"))).collect();
        assert!(directory(&written(&many), 4).is_err());
    }
}
