//! Row 6: from the request to the first step of the program, which says the time itself: through a shim, beside a bare clone
//! with the same namespaces, an overlay, a `/proc`, pivot_root and exec, written in C. In turn, on the same folder.

use std::fs;
use std::process::Command;

use left4me::host::shim::client::{Client, Event};

use crate::host::{Place, await_exit};
use crate::table::{Goal, Row, quantile};

const ROUNDS: usize = 100;

/// With a folder: makes a sandbox in it so many times and prints how many microseconds each took to its program's exec.
/// Without: that program.
const BARE: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static void put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) { perror(path); _exit(1); }
    close(fd);
}
static void must(int result, const char *what) { if (result) { perror(what); _exit(1); } }
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e6 + t.tv_nsec / 1e3; }
int main(int argc, char **argv) {
    if (argc != 3) { char byte; printf("exec %.0f\n", now()); fflush(stdout); return read(0, &byte, 1) < 0; }
    char map[64], text[64];
    must(chdir(argv[1]), argv[1]);
    for (int i = 0; i < atoi(argv[2]); i++) {
        int ready[2];
        must(pipe2(ready, O_CLOEXEC), "pipe");
        snprintf(map, sizeof map, "1000 %d 1", geteuid());
        snprintf(text, sizeof text, "1000 %d 1", getegid());
        double begun = now();
        long pid = syscall(SYS_clone, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | SIGCHLD, 0, 0, 0, 0);
        if (pid == 0) {
            put("/proc/self/setgroups", "deny"); put("/proc/self/uid_map", map); put("/proc/self/gid_map", text);
            must(mount(0, "/", 0, MS_REC | MS_PRIVATE, 0), "private");
            must(mount("none", "root", "tmpfs", 0, "size=4m"), "tmpfs");
            must(mkdir("root/game", 0755), "game"); must(mkdir("root/proc", 0755), "proc");
            must(mount("overlay", "root/game", "overlay", 0, "lowerdir=lower,upperdir=upper,workdir=work,userxattr,xino=off"), "overlay");
            must(mount("proc", "root/proc", "proc", 0, 0), "proc");
            must(chdir("root"), "root");
            must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
            must(umount2(".", MNT_DETACH), "umount");
            execl("/game/program", "program", (char *)0);
            perror("exec");
            _exit(1);
        }
        close(ready[1]);
        char byte;
        if (read(ready[0], &byte, 1) < 0) perror("read");
        printf("%.0f\n", now() - begun);
        close(ready[0]);
        kill(pid, SIGKILL);
        waitpid(pid, 0, 0);
    }
    return 0;
}
"#;

/// Microseconds of the clock that the program looks at, too.
fn now() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// When the program of this start began, as it says in its console after those of `before` earlier starts.
async fn exec_of(place: &Place, client: &mut Client, before: usize) -> f64 {
    loop {
        let console = place.console(1);
        let said = console.lines().filter_map(|line| line.trim().strip_prefix("exec ")?.parse().ok()).nth(before);
        match said {
            Some(at) => return at,
            None => assert!(matches!(client.next_event().await, Event::Output(_)), "the program began: {console}"),
        }
    }
}

/// Measures the row.
pub fn measure() -> Vec<Row> {
    let place = Place::with_game("exit 1");
    let folder = place.paths.data_dir.join("bare");
    for name in ["lower", "upper", "work", "root"] {
        fs::create_dir_all(folder.join(name)).expect("a folder");
    }
    let (source, program) = (folder.join("bare.c"), folder.join("lower/program"));
    fs::write(&source, BARE).expect("a file");
    match Command::new("gcc").args(["-O2", "-static", "-o"]).arg(&program).arg(&source).output() {
        Ok(output) if output.status.success() => {}
        other => {
            let why = format!("no static C program can be made: apt-get install gcc libc6-dev: {other:?}");
            return vec![Row::not_measured(6, "request to exec", why)];
        }
    }
    place.program(1, "srcds_linux", &fs::read(&program).expect("the program"));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let launch = place.launch(1);
    let (mut ours, mut limits) = (Vec::new(), Vec::new());
    // In turn, ten at a time: what else the box does meets both alike.
    for _ in 0..ROUNDS / 10 {
        let output = Command::new(&program).arg(&folder).arg("10").output().expect("the bare one");
        assert!(output.status.success(), "{output:?}");
        limits.extend(String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.parse::<f64>().ok()));
        for _ in 0..10 {
            runtime.block_on(async {
                let begun = now();
                let mut client = place.start(&launch).await;
                ours.push(exec_of(&place, &mut client, ours.len()).await - begun);
                client.kill().await.expect("a shim that listens");
                await_exit(&mut client).await;
            });
        }
    }
    let row = |(name, part): (&str, f64)| {
        Row::new(6, format!("request to exec, {name}"), "ms", quantile(&ours, part) / 1e3, Goal::RatioAtMost(3.0))
            .beside(quantile(&limits, part) / 1e3, "bare clone, mounts, exec")
    };
    [("p50", 0.5), ("p99", 0.99)].map(row).into()
}
