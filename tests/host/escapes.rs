//! A hostile program in the game's place, compiled here: each way out that it tries has a name, and none is one.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Command;

use left4me::host::shim::state::socket_path;
use left4me::host::written;
use left4me::model::id::{HostId, ServerId};
use left4me::model::machine::WrittenKind;

use crate::support::{Place, adopted, await_exit, eventually, server, tests};

/// What each of the programs begins with.
const HEAD: &str = r#"
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
/* A way out must fail; what the kernel said is shown for those who read the log. */
static void tried(const char *what, long result) {
    printf("%s: %s\n", what, result >= 0 ? "WORKS" : strerror(errno));
    fflush(stdout);
}
"#;

/// A place whose game is this program; nothing where no C compiler is.
fn hostile(body: &str) -> Option<Place> {
    let place = Place::with_game("exit 1");
    let source = place.paths.data_dir.join("hostile.c");
    let binary = place.paths.data_dir.join("hostile");
    fs::write(&source, format!("{HEAD}{body}")).unwrap();
    match Command::new("gcc").args(["-O1", "-static", "-o"]).arg(&binary).arg(&source).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            println!("SKIP: gcc is not there ({error}): apt install gcc libc6-dev");
            return None;
        }
    }
    place.program(1, "srcds_linux", &fs::read(&binary).unwrap());
    Some(place)
}

/// Runs it with these arguments; every way out that it tried must have failed, and it must have tried so many.
async fn all_refused(place: &Place, arguments: &[&str], count: usize) -> String {
    let mut launch = place.launch(5);
    launch.arguments = arguments.iter().map(ToString::to_string).collect();
    let (status, console) = place.run(&launch).await;
    assert_eq!(status.code, Some(0), "{console}");
    assert!(!console.contains("WORKS"), "{console}");
    assert_eq!(console.lines().filter(|line| line.contains(": ")).count(), count, "{console}");
    console
}

tests! {
    fn the_store_cannot_be_read() {
        let Some(place) = hostile(r#"
static int seen;
static int look(const char *path, const struct stat *s, int kind, struct FTW *f) {
    (void)s; (void)kind; (void)f;
    if (strstr(path, "left4me.redb") || strstr(path, "spec.yaml")) { printf("%s is seen: WORKS\n", path); seen = 1; }
    return 0;
}
int main(int argc, char **argv) {
    (void)argc;
    char path[4096];
    tried("by its path", open(argv[1], O_RDONLY));
    snprintf(path, sizeof path, "/proc/1/root%s", argv[1]);
    tried("through init's root", open(path, O_RDONLY));
    snprintf(path, sizeof path, "/proc/1/cwd/../../left4me.redb");
    tried("through init's folder", open(path, O_RDONLY));
    snprintf(path, sizeof path, "/game/../../left4me.redb");
    tried("upwards from the game", open(path, O_RDONLY));
    long opened = -1;
    for (int fd = 3; fd < 1024; fd++) {
        if (fcntl(fd, F_GETFD) >= 0) { printf("descriptor %d was inherited\n", fd); opened = fd; }
        if (openat(fd, "../left4me.redb", O_RDONLY) >= 0) opened = fd;
    }
    errno = EBADF;
    tried("through an inherited descriptor", opened);
    struct { struct file_handle h; char room[128]; } handle;
    handle.h.handle_bytes = 128;
    int mount;
    tried("by a handle", name_to_handle_at(AT_FDCWD, "/game", &handle.h, &mount, 0));
    nftw("/", look, 64, FTW_PHYS);
    errno = ENOENT;
    tried("by looking everywhere", seen ? 0 : -1);
    return 0;
}
"#) else { return };
        let store = place.paths.data_dir.join("left4me.redb");
        fs::write(&store, "secret").unwrap();
        all_refused(&place, &[store.to_str().unwrap()], 7).await;
    }

    fn processes_outside_cannot_be_listed_signalled_or_traced() {
        let Some(place) = hostile(r#"
int main(int argc, char **argv) {
    (void)argc;
    int highest = 0;
    DIR *proc = opendir("/proc");
    for (struct dirent *e; (e = readdir(proc)); ) if (atoi(e->d_name) > highest) highest = atoi(e->d_name);
    if (highest > 4) printf("process %d is seen: WORKS\n", highest);
    for (int i = 1; i < 3; i++) {
        int pid = atoi(argv[i]);
        char path[64], byte;
        tried("signal", kill(pid, 0));
        tried("ptrace", ptrace(PTRACE_ATTACH, pid, 0, 0));
        struct iovec here = { &byte, 1 }, there = { (void *)0x400000, 1 };
        tried("read memory", process_vm_readv(pid, &here, 1, &there, 1, 0));
        tried("pidfd", syscall(SYS_pidfd_open, pid, 0));
        snprintf(path, sizeof path, "/proc/%d/mem", pid);
        tried("open memory", open(path, O_RDWR));
    }
    /* Everybody that it may signal: nobody but itself is left to be told. */
    tried("signal all", kill(-1, SIGKILL));
    return 0;
}
"#) else { return };
        // A sibling: another instance of the same user, and this test, which stands for the daemon.
        place.program(1, "sibling", b"#!/bin/sh\necho ready; read -r line; exit 4\n");
        let mut launch = place.launch(6);
        launch.program = "/game/sibling".into();
        let mut sibling = place.start(&launch).await;
        place.await_console(&mut sibling, 6, "ready").await;
        let (us, them) = (std::process::id().to_string(), sibling.pid().to_string());
        all_refused(&place, &[&us, &them], 11).await;
        sibling.send_line("go").await.unwrap();
        assert_eq!(await_exit(&mut sibling).await.code, Some(4), "the sibling played on");
    }

    fn nothing_can_be_mounted_by_any_call() {
        let Some(place) = hostile(r#"
int main(void) {
    tried("mount", mount("none", "/tmp", "tmpfs", 0, ""));
    tried("bind", mount("/usr", "/tmp", 0, MS_BIND, ""));
    tried("remount", mount(0, "/usr", 0, MS_REMOUNT | MS_BIND, ""));
    tried("propagation", mount(0, "/", 0, MS_SHARED, ""));
    tried("umount", umount2("/game", MNT_DETACH));
    tried("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
    tried("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
    tried("move_mount", syscall(SYS_move_mount, AT_FDCWD, "/game", AT_FDCWD, "/tmp", 0));
    tried("mount_setattr", syscall(442, AT_FDCWD, "/usr", 0, 0, 0));
    tried("pivot_root", syscall(SYS_pivot_root, "/tmp", "/tmp"));
    tried("chroot", chroot("/tmp"));
    return 0;
}
"#) else { return };
        let console = all_refused(&place, &[], 11).await;
        assert_eq!(console.matches("Operation not permitted").count(), 11, "{console}");
    }

    fn no_namespace_can_be_made_or_entered_again() {
        let Some(place) = hostile(r#"
static int child(void *nothing) { (void)nothing; return 0; }
int main(void) {
    static char stack[65536];
    const int flags[] = { CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP };
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
        tried("unshare", unshare(flags[i]));
        tried("clone", clone(child, stack + sizeof stack, flags[i] | SIGCHLD, 0));
    }
    struct { unsigned long long flags, rest[10]; } arguments = { CLONE_NEWUSER, { 0 } };
    tried("clone3", syscall(SYS_clone3, &arguments, sizeof arguments));
    const char *names[] = { "user", "mnt", "pid", "net", "ipc", "uts" };
    for (int i = 0; i < 6; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/ns/%s", names[i]);
        int fd = open(path, O_RDONLY);
        tried("setns", setns(fd, 0));
    }
    tried("uid 0", setuid(0));
    return 0;
}
"#) else { return };
        all_refused(&place, &[], 22).await;
    }

    fn the_shims_socket_lock_and_log_cannot_be_reached() {
        let Some(place) = hostile(r#"
static long reach(const char *path, size_t length) {
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    if (length > sizeof to.sun_path) { errno = ENAMETOOLONG; return -1; }
    memcpy(to.sun_path, path, length);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    return connect(s, (struct sockaddr *)&to, offsetof(struct sockaddr_un, sun_path) + length);
}
int main(int argc, char **argv) {
    (void)argc;
    char path[4096];
    const char *names[] = { "shim.sock", "lock", "state", "exit", "console/0.log" };
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%s", argv[1], names[i]);
        tried(names[i], open(path, O_RDWR));
    }
    snprintf(path, sizeof path, "%s/shim.sock", argv[1]);
    tried("connect", reach(path, strlen(path) + 1));
    tried("connect through init", reach("/proc/1/root/shim.sock", 22));
    tried("the journal", reach("/run/systemd/journal/socket", 27));
    path[0] = 0;
    strcpy(path + 1, argv[2]);
    errno = 0;
    long abstract = reach(path, 1 + strlen(argv[2]));
    printf("abstract socket = %s\n", abstract >= 0 ? "reached" : strerror(errno));
    /* Its parent's descriptors lie behind a process that may not be looked into. */
    tried("init's descriptors", opendir("/proc/1/fd") ? 0 : -1);
    tried("init's memory", open("/proc/1/mem", O_RDWR));
    return 0;
}
"#) else { return };
        let folder = place.paths.run(server(5));
        // What a desktop or another service of the box listens on has no path that the mounts could hide.
        let name = format!("left4me-test-{}", std::process::id());
        let outside = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let console = all_refused(&place, &[folder.to_str().unwrap(), &name], 10).await;
        if landlock_abi() >= 6 {
            assert!(console.contains("abstract socket = Operation not permitted"), "{console}");
        } else {
            println!("SKIP: this kernel's Landlock does not fence abstract sockets: Linux 6.12 does");
        }
        drop(outside);
    }

    fn nothing_outside_the_games_own_folders_can_be_written_or_run_as_another() {
        let Some(place) = hostile(r#"
int main(void) {
    const char *paths[] = { "/usr/bin/x", "/lib/x", "/etc/x", "/x", "/run/x", "/var/x", "/proc/sys/kernel/hostname", "/dev/mem", "/dev/kmsg" };
    for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) tried(paths[i], open(paths[i], O_RDWR | (strncmp(paths[i], "/dev/", 5) ? O_CREAT : 0), 0755));
    tried("device", mknod("/tmp/disk", S_IFBLK | 0600, 0x800));
    tried("unlink", unlink("/usr/bin/env"));
    tried("rename", rename("/etc/passwd", "/etc/q"));
    tried("chmod", chmod("/usr/bin/env", 0777));
    if (open("/game/mine", O_RDWR | O_CREAT, 0644) < 0 || mkdir("/game/folder", 0755) || rename("/game/mine", "/game/folder/moved"))
        perror("the game cannot write its own");
    return 0;
}
"#) else { return };
        let console = all_refused(&place, &[], 13).await;
        assert!(!console.contains("cannot write its own"), "{console}");
        assert!(place.paths.upper(HostId::of(ServerId(5))).join("folder/moved").is_file());
    }

    fn a_process_that_hides_from_its_parents_ends_with_the_stop() {
        let Some(place) = hostile(r#"
int main(void) {
    for (int i = 0; i < 3; i++) {
        if (fork() == 0) {
            if (fork() != 0) _exit(0);
            setsid();
            prctl(PR_SET_PDEATHSIG, 0);
            prctl(PR_SET_NAME, "hidden");
            for (int s = 1; s < 65; s++) signal(s, SIG_IGN);
            for (int fd = 0; fd < 64; fd++) close(fd);
            for (;;) pause();
        }
        wait(0);
    }
    printf("ready\n");
    fflush(stdout);
    char line[64];
    if (!fgets(line, sizeof line, stdin)) return 1;
    return 0;
}
"#) else { return };
        let mut client = place.start(&place.launch(5)).await;
        place.await_console(&mut client, 5, "ready").await;
        let before = crate::death::processes_of(&place);
        assert_eq!(before.len(), 5, "init, the game and three that hide");
        client.stop().await.unwrap();
        assert_eq!(await_exit(&mut client).await.code, Some(0));
        eventually("every process ends", || before.iter().all(|process| !process.is_alive()));
        assert!(matches!(adopted(&place.paths, 5).await, left4me::host::shim::client::Adoption::Exited(_)));
    }

    fn a_link_that_the_game_left_in_its_folder_leads_the_panel_nowhere() {
        let Some(place) = hostile(r#"
int main(int argc, char **argv) {
    (void)argc;
    if (symlink(argv[1], "out") || symlink("../../..", "up") || symlink("/", "root") || mkdir("inside", 0755) || symlink("../inside", "inside/loop"))
        return 1;
    /* A folder that becomes a link while somebody looks. */
    if (mkdir("swapped", 0755) || rmdir("swapped") || symlink(argv[1], "swapped")) return 2;
    return 0;
}
"#) else { return };
        let store = place.paths.data_dir.to_str().unwrap().to_owned();
        let mut launch = place.launch(5);
        launch.arguments = vec![store];
        assert_eq!(place.run(&launch).await.0.code, Some(0));
        let host = HostId::of(ServerId(5));
        let listed = written::list(&place.paths, host, "").unwrap();
        let links: Vec<_> = listed.entries.iter().filter(|entry| entry.kind == WrittenKind::Link).map(|entry| entry.name.as_str()).collect();
        assert_eq!(links, ["out", "root", "swapped", "up"]);
        for path in ["out", "up", "root", "swapped", "out/instances", "up/instances", "root/etc", "../../.."] {
            assert!(written::list(&place.paths, host, path).is_err(), "{path}");
        }
        // One that stays inside is not followed either: no page leads there.
        assert!(written::list(&place.paths, host, "inside/loop").is_err());
        assert_eq!(written::list(&place.paths, host, "inside").unwrap().entries.len(), 1);
    }

    fn a_fork_bomb_is_held_to_its_limit_and_ends_with_the_stop() {
        if rustix::system::uname().release().to_string_lossy().starts_with("5.1") {
            println!("SKIP: before Linux 5.14 processes are not counted in each user namespace");
            return;
        }
        let Some(place) = hostile(r#"
int main(void) {
    for (int i = 0; i < 2000; i++) {
        int pid = fork();
        if (pid < 0) { printf("refused after %d\n", i); fflush(stdout); break; }
        if (pid == 0) for (;;) pause();
    }
    for (;;) pause();
}
"#) else { return };
        let mut launch = place.launch(5);
        launch.limits.pids_max = Some(40);
        (launch.stop.line_ms, launch.stop.interrupt_ms) = (100, 20_000);
        let mut client = place.start(&launch).await;
        place.await_console(&mut client, 5, "refused after").await;
        let before = crate::death::processes_of(&place);
        assert!((20..=40).contains(&before.len()), "{}", before.len());
        client.stop().await.unwrap();
        assert_eq!(await_exit(&mut client).await.signal, Some(2), "SIGINT ends what does not read its console");
        assert!(!socket_path(&place.paths.run(server(5))).exists());
        eventually("every process ends", || before.iter().all(|process| !process.is_alive()));
    }
}

/// Which rules of Landlock the kernel knows; below 1: none (landlock_create_ruleset(2)).
/// The kernel's own word.
pub fn landlock_abi() -> i32 {
    let script = "import ctypes; print(ctypes.CDLL(None).syscall(444, None, 0, 1))";
    let said = Command::new("python3").args(["-c", script]).output();
    said.ok().and_then(|output| String::from_utf8_lossy(&output.stdout).trim().parse().ok()).unwrap_or(0)
}
