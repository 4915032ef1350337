//! A daemon meets shims of other versions, and sockets that nobody answers: what is adopted, what is removed, what is left
//! alone. The other side is played here, at the level of the socket.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use left4me::host::shim::client::{self, Adoption, Event};
use left4me::host::shim::protocol::{FRAME_MAX, FromShim, PROTOCOL_VERSION, ToShim, frame, take_frame};
use left4me::host::shim::state::{Identity, lock_path, socket_path};
use left4me::sys::fs::try_lock;
use serde_json::json;

use crate::support::{PATIENCE, Place, adopted, await_exit, server, tests};

/// A shim of another version, played by this process: its lock, its state, its socket.
struct Other {
    folder: std::path::PathBuf,
    listener: Option<UnixListener>,
    lock: Option<std::os::fd::OwnedFd>,
}

impl Drop for Other {
    fn drop(&mut self) {
        // It names this process, which the place's end would kill.
        let _ = fs::remove_file(self.folder.join("state"));
    }
}

impl Other {
    /// `state`: what it wrote, with keys of its own time.
    fn new(place: &Place, state: serde_json::Value) -> Self {
        let folder = place.paths.run(server(5));
        fs::create_dir_all(&folder).unwrap();
        let lock = try_lock(&lock_path(&folder)).unwrap().unwrap();
        let me = Identity::of(std::process::id() as i32).unwrap();
        let me = json!({ "pid": me.pid, "start_time": me.start_time });
        let mut whole = json!({
            "left4me": "0.0.0", "boot_id": "another", "shim": me, "init": me, "program": me, "started_at": 1,
        });
        whole.as_object_mut().unwrap().extend(state.as_object().unwrap().clone());
        fs::write(folder.join("state"), whole.to_string()).unwrap();
        let listener = UnixListener::bind(socket_path(&folder)).unwrap();
        Self { folder, listener: Some(listener), lock: Some(lock) }
    }

    /// Takes a daemon's connection, says hello in these words and answers what the daemon said first.
    fn meet(&self, hello: &[u8]) -> (UnixStream, Option<ToShim>) {
        let (mut socket, _) = self.listener.as_ref().unwrap().accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(hello).unwrap();
        let said = heard(&mut socket);
        (socket, said)
    }
}

fn heard(socket: &mut UnixStream) -> Option<ToShim> {
    let (mut buffer, mut piece) = (Vec::new(), [0; 256]);
    loop {
        if let Some((tag, payload)) = take_frame(&mut buffer, FRAME_MAX).unwrap() {
            return ToShim::decode(tag, &payload);
        }
        let n = socket.read(&mut piece).unwrap();
        assert!(n > 0, "the daemon left");
        buffer.extend_from_slice(&piece[..n]);
    }
}

/// A daemon adopts it, types, hears what it knows of what is said, and is told of the end.
async fn is_adopted(place: &Place, state: serde_json::Value, hello: serde_json::Value, strange: Vec<u8>) {
    let other = Other::new(place, state);
    let hello = frame(1, hello.to_string().as_bytes());
    let shim = std::thread::spawn(move || {
        let (mut socket, said) = other.meet(&hello);
        assert_eq!(said, Some(ToShim::Subscribe));
        socket.write_all(&strange).unwrap();
        socket.write_all(&FromShim::Output(7).encode()).unwrap();
        assert_eq!(heard(&mut socket), Some(ToShim::Line("status".into())));
        // The end, with a word that this version does not know.
        let exit = json!({ "code": 3, "asked": true, "at": 5, "mood": "calm" });
        socket.write_all(&frame(3, exit.to_string().as_bytes())).unwrap();
    });
    let Adoption::Running(mut client) = adopted(&place.paths, 5).await else { panic!("it is not adopted") };
    assert_eq!(client.pid(), 4711);
    assert_eq!(client.next_event().await, Event::Output(7));
    client.send_line("status").await.unwrap();
    let status = await_exit(&mut client).await;
    assert_eq!((status.code, status.asked, status.out_of_memory), (Some(3), true, false));
    shim.join().unwrap();
}

tests! {
    fn a_shim_of_a_newer_version_is_adopted_and_what_it_says_beyond_ours_is_passed_over() {
        let place = Place::with_game("exit 0");
        let newer = PROTOCOL_VERSION + 1;
        let strange = [frame(200, b"what nobody knows yet"), frame(5, &[0xff; 300]), frame(1, b"{}")].concat();
        is_adopted(
            &place,
            json!({ "protocol": newer, "left4me": "99.0.0", "colour": ["new"] }),
            json!({ "version": newer, "pid": 4711, "start_time": 1, "features": ["x"] }),
            strange,
        )
        .await;
    }

    fn a_shim_of_the_first_version_is_adopted() {
        let place = Place::with_game("exit 0");
        is_adopted(&place, json!({ "protocol": 1 }), json!({ "version": 1, "pid": 4711, "start_time": 1 }), Vec::new()).await;
    }

    fn who_answers_without_having_written_the_state_is_not_adopted_and_not_removed() {
        let place = Place::with_game("exit 0");
        // The state names another process than the one that answers.
        let other = Other::new(&place, json!({ "protocol": 1, "shim": { "pid": 1, "start_time": 1 } }));
        let shim = std::thread::spawn(move || {
            let hello = frame(1, json!({ "version": 1, "pid": 1, "start_time": 1 }).to_string().as_bytes());
            let (mut socket, _) = other.listener.as_ref().unwrap().accept().unwrap();
            let _ = socket.write_all(&hello);
            other
        });
        let error = client::adopt(&place.paths, server(5)).await.unwrap_err().to_string();
        assert!(error.contains("is not the one that wrote the state"), "{error}");
        assert!(socket_path(&place.paths.run(server(5))).exists());
        drop(shim.join().unwrap());
    }

    fn a_socket_is_probed_before_it_is_removed() {
        let place = Place::with_game("exit 0");
        let folder = place.paths.run(server(5));
        let mut other = Other::new(&place, json!({ "protocol": 1 }));
        // Nobody listens any more, and the lock is held: a shim that is starting or ending. It is waited for, not removed.
        other.listener = None;
        let waited = tokio::time::timeout(Duration::from_millis(300), client::adopt(&place.paths, server(5))).await;
        assert!(waited.is_err() && socket_path(&folder).exists());
        // The lock is free as well: what is left is of nobody.
        other.lock = None;
        assert!(matches!(adopted(&place.paths, 5).await, Adoption::Gone));
        assert!(!socket_path(&folder).exists());
    }

    fn a_game_plays_on_although_its_daemon_never_comes_back() {
        let place = Place::with_game("i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo \"line $i\"; sleep 0.05; done; read -r line; echo \"got $line\"");
        // The one daemon that it ever had leaves at once; nobody reads, nobody asks.
        let client = place.start(&place.launch(5)).await;
        let pid = client.pid();
        drop(client);
        crate::support::eventually("it prints to its end", || place.console(5).contains("line 30\n"));
        let Adoption::Running(mut client) = adopted(&place.paths, 5).await else { panic!("it ended with its daemon") };
        assert_eq!(client.pid(), pid);
        client.send_line("hello").await.unwrap();
        assert_eq!(await_exit(&mut client).await.code, Some(0));
        let expected: Vec<String> = (1..=30).map(|i| format!("line {i}")).collect();
        assert_eq!(place.console(5), expected.join("\n") + "\ngot hello\n");
    }
}
