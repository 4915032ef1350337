//! What a game may write: whether what it wrote is within it, for the look at one that runs and before one starts.

use std::path::Path;

use crate::host::usage;

/// How what a game wrote goes beyond what it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    /// It has more bytes than these.
    Bytes(u64),
    /// Its folders are nested too deep: nobody knows how many bytes it has.
    Depth,
}

impl Excess {
    /// What it is, to follow "it wrote" or "it holds".
    pub(super) fn what(self) -> String {
        match self {
            Self::Bytes(most) => format!("more than the {} that disk_max allows", size(most)),
            Self::Depth => "folders nested too deep to be measured, which disk_max takes for too much".into(),
        }
    }

    /// What helps, beside throwing the layer away.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::Bytes(_) => "raise disk_max",
            Self::Depth => "set disk_max to none",
        }
    }
}

/// Judges what was measured (`None`: nested too deep). Without `disk_max` nothing is too much.
pub(super) fn excess(measured: Option<u64>, disk_max: Option<u64>) -> Option<Excess> {
    let most = disk_max?;
    match measured {
        Some(bytes) if bytes <= most => None,
        Some(_) => Some(Excess::Bytes(most)),
        None => Some(Excess::Depth),
    }
}

/// Whether the game may write at all: one that was ended for what it wrote would only be ended again. Blocks.
pub(super) fn has_room(upper: &Path, disk_max: Option<u64>) -> Result<(), String> {
    let Some(most) = disk_max else { return Ok(()) };
    match usage::upper_bytes(upper, most) {
        Ok(measured) => excess(measured, disk_max).map_or(Ok(()), |excess| {
            Err(format!("its own layer holds {}: reset it, or {}", excess.what(), excess.remedy()))
        }),
        Err(error) => Err(format!("{} cannot be measured: {error}", upper.display())),
    }
}

/// Bytes in words: `10 GiB`.
fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let text = format!("{value:.1}");
    format!("{} {}", text.trim_end_matches(".0"), units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_nested_too_deep_count_only_where_there_is_a_limit_and_have_a_text_of_their_own() {
        let upper = tempfile::tempdir().unwrap();
        let deep: std::path::PathBuf = std::iter::repeat_n("d", 80).collect();
        std::fs::create_dir_all(upper.path().join(deep)).unwrap();
        let measured = usage::upper_bytes(upper.path(), u64::MAX).unwrap();
        assert_eq!((excess(measured, None), has_room(upper.path(), None)), (None, Ok(())));
        let refused = has_room(upper.path(), Some(1 << 30)).unwrap_err();
        assert!(refused.contains("nested too deep") && refused.ends_with("or set disk_max to none"), "{refused}");
        assert!(!refused.contains("more than"), "{refused}");
        assert_eq!(excess(measured, Some(1 << 30)), Some(Excess::Depth));
    }

    #[test]
    fn what_is_more_than_the_limit_names_it() {
        assert_eq!(excess(Some(64 << 20), Some(64 << 20)), None);
        let more = excess(Some((64 << 20) + 1), Some(64 << 20)).unwrap();
        assert_eq!(more.what(), "more than the 64 MiB that disk_max allows");
    }

    #[test]
    fn sizes_are_said_in_the_words_of_the_configuration() {
        for (bytes, text) in [(10 << 30, "10 GiB"), (1536 << 20, "1.5 GiB"), (64 << 10, "64 KiB"), (5 << 40, "5 TiB")] {
            assert_eq!(size(bytes), text);
        }
    }
}
