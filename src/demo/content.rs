//! The files of the simulated game: believable names, tiny contents.
//!
//! Written by the simulated SteamCMD ([`super::steamcmd`]) and by the seed of the demo ([`super::seed`]); read by the
//! simulated game.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What the game says its version is.
pub const GAME_VERSION: &str = "2.2.4.3";
/// Build number in the application manifest.
pub const BUILD_ID: u64 = 15_936_424;

/// First maps of the official campaigns, and the rest of the first one.
pub const MAPS: [&str; 17] = [
    "c1m1_hotel",
    "c1m2_streets",
    "c1m3_mall",
    "c1m4_atrium",
    "c2m1_highway",
    "c3m1_plankcountry",
    "c4m1_milltown_a",
    "c5m1_waterfront",
    "c6m1_riverbank",
    "c7m1_docks",
    "c8m1_apartment",
    "c9m1_alleys",
    "c10m1_caves",
    "c11m1_greenhouse",
    "c12m1_hilltop",
    "c13m1_alpinecreek",
    "c14m1_junkyard",
];

const GAMEINFO: &str = "\"GameInfo\"\n{\n\tgame\t\"Left 4 Dead 2\"\n\ttype\tmultiplayer_only\n\tFileSystem\n\t{\n\t\tSteamAppId\t550\n\t\tToolsAppId\t563\n\t\tSearchPaths\n\t\t{\n\t\t\tGame\t|gameinfo_path|.\n\t\t\tGame\tleft4dead2_dlc3\n\t\t\tGame\thl2\n\t\t}\n\t}\n}\n";
const SRCDS_RUN: &str = "#!/bin/sh\n# Starts the dedicated server from its own folder.\ncd \"$(dirname \"$0\")\" || exit 1\nexec ./srcds_linux \"$@\"\n";

/// Writes the game below `root`: its program (a copy of this one), its wrapper, maps and settings.
///
/// # Errors
/// What the file system said.
pub fn write_game(root: &Path) -> io::Result<()> {
    let game = root.join("left4dead2");
    for folder in ["addons", "cfg", "maps", "logs"] {
        std::fs::create_dir_all(game.join(folder))?;
    }
    std::fs::create_dir_all(root.join("bin"))?;
    std::fs::create_dir_all(root.join("steamapps"))?;
    write_program(&root.join("srcds_linux"))?;
    write(&root.join("srcds_run"), SRCDS_RUN)?;
    std::fs::set_permissions(root.join("srcds_run"), PermissionsExt::from_mode(0o755))?;
    write(&game.join("gameinfo.txt"), GAMEINFO)?;
    write(&game.join("steam.inf"), &format!("PatchVersion={GAME_VERSION}\nProductName=left4dead2\nappID=550\n"))?;
    write(&game.join("maplist.txt"), &(MAPS.join("\n") + "\n"))?;
    write(&game.join("motd.txt"), "A simulated server: the same shell, sandbox and layers as the real game.\n")?;
    write(&game.join("cfg/valve.rc"), "exec autoexec.cfg\n")?;
    write(&game.join("cfg/autoexec.cfg"), "// runs once, before the first map\nlog on\n")?;
    write(&game.join("cfg/server.cfg"), "hostname \"Left 4 Dead 2\"\n")?;
    for map in MAPS {
        // The head of a compiled map: "VBSP" and its version.
        std::fs::write(game.join(format!("maps/{map}.bsp")), b"VBSP\x15\0\0\0")?;
    }
    write(
        &root.join("steamapps/appmanifest_222860.acf"),
        &format!(
            "\"AppState\"\n{{\n\t\"appid\"\t\t\"222860\"\n\t\"name\"\t\t\"Left 4 Dead 2 Dedicated Server\"\n\t\"StateFlags\"\t\t\"4\"\n\t\"installdir\"\t\t\"Left 4 Dead 2 Dedicated Server\"\n\t\"buildid\"\t\t\"{BUILD_ID}\"\n}}\n"
        ),
    )
}

/// A package of the game's archive format (VPK version 1) that holds these files in its directory, each with its
/// content beside its entry.
pub fn vpk(files: &[(&str, &str, &str, &[u8])]) -> Vec<u8> {
    let mut tree = Vec::new();
    for (extension, folder, name, content) in files {
        for part in [extension, folder, name] {
            tree.extend(part.bytes());
            tree.push(0);
        }
        let mut checksum = flate2::Crc::new();
        checksum.update(content);
        tree.extend(checksum.sum().to_le_bytes());
        tree.extend((content.len() as u16).to_le_bytes());
        tree.extend(0x7fff_u16.to_le_bytes()); // the content lies in this file
        tree.extend([0; 8]);
        tree.extend(0xffff_u16.to_le_bytes());
        tree.extend_from_slice(content);
        tree.extend([0, 0]); // no more names here, no more folders of this extension
    }
    tree.push(0);
    let mut out = 0x55aa_1234_u32.to_le_bytes().to_vec();
    out.extend(1u32.to_le_bytes());
    out.extend((tree.len() as u32).to_le_bytes());
    out.extend(tree);
    out
}

/// Copies this very program to `path`, executable. A link would do, but the folder may lie on another file system and
/// may be shared with programs of other users.
pub fn write_program(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut from = std::fs::File::open("/proc/self/exe")?;
    let mut to = std::fs::File::create(path)?;
    io::copy(&mut from, &mut to)?;
    to.set_permissions(PermissionsExt::from_mode(0o755))
}

/// Writes a text, over whatever is there.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, text)
}
