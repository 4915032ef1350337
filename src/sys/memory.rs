//! Memory that a process can do without: shims and the daemon live for months, and a quiet one needs a hundredth of what a
//! busy second touched.

use std::fs;
use std::ops::Range;

/// Sizes from which on a block is a mapping of its own, which goes back to the system when it is freed. glibc's first
/// guess; left alone it learns from each large block that is freed (a password's hash takes 19 MiB) to keep the next.
const LARGE: libc::c_int = 128 << 10;
/// Heaps that threads share. glibc's own choice, eight for each core, keeps what each of them ever needed at once.
const HEAPS: libc::c_int = 2;

/// Makes the heap give back what is free rather than keep it for the next peak. Called once, early.
pub fn keep_little() {
    // SAFETY: no preconditions; options that this libc does not know are refused and change nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    }
}

/// Gives back every page of the program's own file that can be read again from it, and what the heap no longer uses. What
/// is still needed comes back by itself, a few pages at a time. Nothing happens where `/proc` cannot be read.
pub fn give_back() {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    for (start, length) in clean_mappings(&maps, give_back as *const () as usize) {
        // SAFETY: a private mapping of the program's own file, which this process has never written to and never takes away:
        // the kernel reads the same bytes again when they are touched. The file of a running program cannot be written to
        // (ETXTBSY).
        unsafe {
            libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED);
        }
    }
    // SAFETY: no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Start and length of the mappings of the file that the code at `code` comes from, as far as no page of them is this
/// process' own: neither written to, nor swapped out (proc_pid_smaps(5)). Relocated tables look read-only and are not among
/// them. Other files are left alone: another thread may be taking one away.
fn clean_mappings(maps: &str, code: usize) -> Vec<(usize, usize)> {
    let Some(program) = maps.lines().filter_map(Mapping::of).find(|mapping| mapping.range.contains(&code)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut candidate = None;
    for line in maps.lines() {
        if let Some(mapping) = Mapping::of(line) {
            let fits =
                mapping.file == program.file && mapping.rights.starts_with("r-") && mapping.rights.ends_with('p');
            candidate = fits.then_some((mapping.range.start, mapping.range.len()));
            continue;
        }
        let mut fields = line.split_whitespace();
        let (name, zero) = (fields.next().unwrap_or_default(), fields.next() == Some("0"));
        if matches!(name, "Anonymous:" | "Swap:") && !zero {
            candidate = None;
        }
        // Swap is the last of the two.
        if name == "Swap:" {
            found.extend(candidate.take());
        }
    }
    found
}

/// The first line of what `smaps` says of a mapping.
struct Mapping<'a> {
    range: Range<usize>,
    rights: &'a str,
    /// Device and inode.
    file: (&'a str, &'a str),
}

impl<'a> Mapping<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let mut fields = line.split_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        let range = number(start)?..number(end)?;
        let rights = fields.next()?;
        Some(Self { range, rights, file: (fields.nth(1)?, fields.next()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_that_the_file_still_has_are_given_back() {
        let maps = "7f0000000000-7f0000002000 r-xp 00001000 08:01 42    /usr/bin/left4me\nSize: 8 kB\nAnonymous:      0 kB\nSwap:   0 kB\n\
            7f0000002000-7f0000003000 r--p 00003000 08:01 42    /usr/bin/left4me\nAnonymous:      4 kB\nSwap:   0 kB\n\
            7f0000003000-7f0000004000 r--p 00003000 08:01 42    /usr/bin/left4me\nAnonymous:      0 kB\nSwap:   4 kB\n\
            7f0000004000-7f0000005000 rw-p 00003000 08:01 42    /usr/bin/left4me\nAnonymous:      0 kB\nSwap:   0 kB\n\
            7f0000006000-7f0000007000 r--p 00000000 00:00 0    [vvar]\nAnonymous:      0 kB\nSwap:   0 kB\n\
            7f0000008000-7f0000009000 r--s 00000000 08:01 42    /usr/bin/left4me\nAnonymous:      0 kB\nSwap:   0 kB\n\
            7f000000a000-7f000000b000 r--p 00000000 08:01 43    /some/file\nAnonymous:      0 kB\nSwap:   0 kB\n";
        assert_eq!(clean_mappings(maps, 0x7f00_0000_0100), [(0x7f00_0000_0000, 0x2000)]);
        assert_eq!(clean_mappings(maps, 0x1000), [], "whose code runs is not known");
    }

    #[test]
    fn a_process_goes_on_as_before_after_it_gave_memory_back() {
        let before: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        give_back();
        assert_eq!(before.iter().map(|text| text.parse::<u64>().unwrap()).sum::<u64>(), 499_500);
    }
}
