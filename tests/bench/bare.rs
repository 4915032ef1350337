//! The limit of pages: a warp server that does nothing but hand out the same bytes, in a process of its own.
//!
//! `/page` is put together by maud from its pieces, `/json` written by serde from a value that is there already: what is
//! left is the cost of the tools.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;

use maud::{PreEscaped, html};
use warp::Filter;

/// The running server; ends when it is dropped.
pub struct Bare {
    /// Where it answers.
    pub address: SocketAddr,
    /// Its process.
    pub child: Child,
}

impl Bare {
    /// Starts one that answers these.
    pub fn start(page: &str, json: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("page"), page).expect("a file");
        fs::write(folder.path().join("json"), json).expect("a file");
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .arg("--bare-server")
            .arg(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the bare server");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("its address");
        Self { address: line.trim().parse().expect("an address"), child }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server's own process.
pub fn serve(folder: &str) -> ExitCode {
    let read = |name: &str| fs::read_to_string(Path::new(folder).join(name)).expect("a file");
    let page = read("page");
    let pieces: Arc<Vec<String>> = Arc::new(page.split_inclusive("</article>").map(str::to_owned).collect());
    let value: Arc<serde_json::Value> = Arc::new(serde_json::from_str(&read("json")).unwrap_or_default());
    let page = warp::path("page").map(move || {
        let document = html! { @for piece in pieces.iter() { (PreEscaped(piece)) } };
        warp::reply::html(document.into_string())
    });
    let json = warp::path("json").map(move || warp::reply::json(&*value));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("{}", listener.local_addr().expect("its address"));
        warp::serve(warp::get().and(page.or(json))).incoming(listener).run().await;
    });
    ExitCode::SUCCESS
}
