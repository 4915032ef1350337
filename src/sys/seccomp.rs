//! The system call filter of the sandbox.
//!
//! A deny list: the game is an old 32-bit binary that nobody can audit, so calls that only an attacker needs are refused
//! (EPERM) and all else is left alone. Both conventions that a program may use have a branch; x32 and strangers have none.
//! `clone3` answers ENOSYS: its flags lie in memory where a filter cannot look, and every libc falls back to `clone`, whose
//! flags are checked for namespaces.
//!
//! Each branch is a search tree: the kernel walks the filter once for every call that there is when it is set
//! (seccomp_cache_prepare), and a list of tests made that the longest step of a start (*measured*).

use std::io;

use libc::sock_filter;

const AUDIT_ARCH_I386: u32 = 0x4000_0003;
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
/// Set in the numbers of the x32 calling convention, which reaches the same calls under other numbers.
const X32: u32 = 0x4000_0000;
/// New namespaces by clone or unshare (sched.h), without CLONE_NEWTIME, whose bit is part of clone's exit signal.
const NEW_NAMESPACES: u32 = 0x7e02_0000;

/// Refused, by x86_64 and i386 number (arch/x86/entry/syscalls). `None`: not on that architecture.
const DENIED: &[(Option<u32>, Option<u32>)] = &[
    (Some(165), Some(21)),  // mount
    (None, Some(22)),       // umount
    (Some(166), Some(52)),  // umount2
    (Some(155), Some(217)), // pivot_root
    (Some(161), Some(61)),  // chroot
    (Some(428), Some(428)), // open_tree
    (Some(429), Some(429)), // move_mount
    (Some(430), Some(430)), // fsopen
    (Some(431), Some(431)), // fsconfig
    (Some(432), Some(432)), // fsmount
    (Some(433), Some(433)), // fspick
    (Some(442), Some(442)), // mount_setattr
    (Some(101), Some(26)),  // ptrace
    (Some(310), Some(347)), // process_vm_readv
    (Some(311), Some(348)), // process_vm_writev
    (Some(312), Some(349)), // kcmp
    (Some(438), Some(438)), // pidfd_getfd
    (Some(246), Some(283)), // kexec_load
    (Some(320), None),      // kexec_file_load
    (Some(175), Some(128)), // init_module
    (Some(313), Some(350)), // finit_module
    (Some(176), Some(129)), // delete_module
    (Some(321), Some(357)), // bpf
    (Some(248), Some(286)), // add_key
    (Some(249), Some(287)), // request_key
    (Some(250), Some(288)), // keyctl
    (Some(272), Some(310)), // unshare
    (Some(308), Some(346)), // setns
    (Some(323), Some(374)), // userfaultfd
    (Some(298), Some(336)), // perf_event_open
    (Some(425), Some(425)), // io_uring_setup
    (Some(426), Some(426)), // io_uring_enter
    (Some(427), Some(427)), // io_uring_register
    (Some(303), Some(341)), // name_to_handle_at
    (Some(304), Some(342)), // open_by_handle_at
    (Some(169), Some(88)),  // reboot
    (Some(167), Some(87)),  // swapon
    (Some(168), Some(115)), // swapoff
    (Some(163), Some(51)),  // acct
    (Some(179), Some(131)), // quotactl
    (Some(443), Some(443)), // quotactl_fd
    (Some(103), Some(103)), // syslog
    (Some(170), Some(74)),  // sethostname
    (Some(171), Some(121)), // setdomainname
    (Some(164), Some(79)),  // settimeofday
    (None, Some(25)),       // stime
    (Some(227), Some(264)), // clock_settime
    (None, Some(404)),      // clock_settime64
    (Some(159), Some(124)), // adjtimex
    (Some(305), Some(343)), // clock_adjtime
    (Some(172), Some(110)), // iopl
    (Some(173), Some(101)), // ioperm
    (None, Some(113)),      // vm86old
    (None, Some(166)),      // vm86
    (Some(153), Some(111)), // vhangup
    (Some(279), Some(317)), // move_pages
    (Some(256), Some(294)), // migrate_pages
];
const CLONE: (u32, u32) = (56, 120);
const CLONE3: u32 = 435;

// Parts of classic BPF that linux/filter.h names.
const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_GREATER_EQUAL: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const JUMP_SET: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const RETURN: u16 = 0x06; // BPF_RET | BPF_K
// Offsets in struct seccomp_data.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const EPERM: u32 = 0x0005_0000 | libc::EPERM as u32;
const ENOSYS: u32 = 0x0005_0000 | libc::ENOSYS as u32;

fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

fn jump(code: u16, k: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter { code, jt: yes, jf: no, k }
}

/// What becomes of one call.
#[derive(Clone, Copy)]
enum Verdict {
    Refused(u32),
    /// Refused with new namespaces only.
    ByFlags,
}

/// Tests the loaded number against `calls` (sorted), half by half; what is not among them is allowed.
fn search(calls: &[(u32, Verdict)]) -> Vec<sock_filter> {
    let [(number, verdict)] = *calls else {
        let (lower, upper) = calls.split_at(calls.len() / 2);
        let (first, below, above) = (upper[0].0, search(lower), search(upper));
        // Half of a branch stays within the 255 instructions that a jump reaches; a test of the whole runs through it.
        let mut program = vec![jump(JUMP_GREATER_EQUAL, first, below.len() as u8, 0)];
        program.extend(below.into_iter().chain(above));
        return program;
    };
    match verdict {
        Verdict::Refused(with) => {
            vec![jump(JUMP_EQUAL, number, 0, 1), statement(RETURN, with), statement(RETURN, ALLOW)]
        }
        Verdict::ByFlags => vec![
            jump(JUMP_EQUAL, number, 0, 3),
            // The kernel looks at the lower half of the flags only, also where they have 64 bits.
            statement(LOAD, FIRST_ARGUMENT),
            jump(JUMP_SET, NEW_NAMESPACES, 0, 1),
            statement(RETURN, EPERM),
            statement(RETURN, ALLOW),
        ],
    }
}

/// The branch of one convention: what it denies, and the number of its `clone`.
fn branch(denied: impl Iterator<Item = u32>, clone: u32) -> Vec<sock_filter> {
    let mut calls: Vec<(u32, Verdict)> = denied.map(|number| (number, Verdict::Refused(EPERM))).collect();
    calls.extend([(CLONE3, Verdict::Refused(ENOSYS)), (clone, Verdict::ByFlags)]);
    calls.sort_by_key(|(number, _)| *number);
    let mut program = vec![statement(LOAD, NUMBER)];
    program.extend(search(&calls));
    program
}

/// The whole filter: i386, then x86_64 without x32 (nothing of the game uses it), and no other.
fn program() -> Vec<sock_filter> {
    let i386 = branch(DENIED.iter().filter_map(|(_, i386)| *i386), CLONE.1);
    let x86_64 = branch(DENIED.iter().filter_map(|(x86_64, _)| *x86_64), CLONE.0);
    let mut whole = vec![
        statement(LOAD, ARCHITECTURE),
        // A conditional jump reaches 255 instructions only: leave the branch by one that reaches further.
        jump(JUMP_EQUAL, AUDIT_ARCH_I386, 1, 0),
        statement(JUMP, i386.len() as u32),
    ];
    whole.extend(i386);
    whole.extend([
        jump(JUMP_EQUAL, AUDIT_ARCH_X86_64, 1, 0),
        statement(RETURN, KILL),
        statement(LOAD, NUMBER),
        jump(JUMP_GREATER_EQUAL, X32, 0, 1),
        statement(RETURN, ENOSYS),
    ]);
    whole.extend(x86_64);
    whole
}

/// Puts the filter on this process and whatever it executes. Needs `no_new_privs`.
///
/// By prctl(2), not seccomp(2): systemd 252 does not count the latter to `@system-service`, so under the shim's unit it is
/// refused (*measured*).
pub fn apply() -> io::Result<()> {
    let mut program = program();
    let length = u16::try_from(program.len()).map_err(io::Error::other)?;
    let whole = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    // SAFETY: `whole` and the instructions that it points to outlive the call; the kernel copies and checks them.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const whole) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    fn verdict(architecture: u32, number: u32, argument: u64) -> u32 {
        let mut data = [0_u8; 64];
        data[0..4].copy_from_slice(&number.to_le_bytes());
        data[4..8].copy_from_slice(&architecture.to_le_bytes());
        data[16..24].copy_from_slice(&argument.to_le_bytes());
        let program = program();
        let (mut at, mut accumulator) = (0_usize, 0_u32);
        loop {
            let step = &program[at];
            at += 1;
            let compare = |yes: bool| if yes { usize::from(step.jt) } else { usize::from(step.jf) };
            match step.code {
                LOAD => {
                    let k = step.k as usize;
                    accumulator = u32::from_le_bytes(data[k..k + 4].try_into().unwrap());
                }
                JUMP_EQUAL => at += compare(accumulator == step.k),
                JUMP_GREATER_EQUAL => at += compare(accumulator >= step.k),
                JUMP_SET => at += compare(accumulator & step.k != 0),
                JUMP => at += step.k as usize,
                RETURN => return step.k,
                code => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    #[test]
    fn a_32_bit_program_may_do_everything_but_what_is_denied() {
        for number in 0..460 {
            let denied = DENIED.iter().any(|(_, i386)| *i386 == Some(number));
            let expected = if denied {
                EPERM
            } else if number == CLONE3 {
                ENOSYS
            } else {
                ALLOW
            };
            assert_eq!(verdict(AUDIT_ARCH_I386, number, 0), expected, "{number}");
        }
    }

    #[test]
    fn a_64_bit_program_may_do_everything_but_what_is_denied() {
        for number in 0..460 {
            let denied = DENIED.iter().any(|(x86_64, _)| *x86_64 == Some(number));
            let expected = if denied {
                EPERM
            } else if number == CLONE3 {
                ENOSYS
            } else {
                ALLOW
            };
            assert_eq!(verdict(AUDIT_ARCH_X86_64, number, 0), expected, "{number}");
        }
    }

    #[test]
    fn threads_and_children_are_allowed_and_new_namespaces_are_not() {
        let thread = 0x003d_0f00;
        for (architecture, clone) in [(AUDIT_ARCH_X86_64, CLONE.0), (AUDIT_ARCH_I386, CLONE.1)] {
            assert_eq!(verdict(architecture, clone, thread), ALLOW);
            assert_eq!(verdict(architecture, clone, libc::SIGCHLD as u64), ALLOW);
            for flag in [libc::CLONE_NEWUSER, libc::CLONE_NEWNS, libc::CLONE_NEWNET, libc::CLONE_NEWPID] {
                assert_eq!(verdict(architecture, clone, flag as u64 | 0x11), EPERM, "{flag:#x}");
            }
        }
    }

    #[test]
    fn no_number_takes_a_long_way_and_no_jump_leaves_the_program() {
        let program = program();
        assert!(program.len() < 512, "{}", program.len());
        for (at, step) in program.iter().enumerate() {
            assert!(at + 1 + usize::from(step.jt.max(step.jf)) < program.len() || step.code == RETURN, "{at}");
        }
        assert_eq!(verdict(0xc000_00b7 /* AUDIT_ARCH_AARCH64 */, 1, 0), KILL);
        assert_eq!(verdict(AUDIT_ARCH_I386, u32::MAX, 0), ALLOW);
    }

    #[test]
    fn the_x32_convention_is_no_way_round() {
        assert_eq!(verdict(AUDIT_ARCH_X86_64, X32 | 0xa5, 0), ENOSYS);
    }
}
