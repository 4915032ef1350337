//! Streams: resume without gap or repeat, replay limits, hostile bytes, ends.

use std::fmt::Write as _;

use left4me::domain::jobs::Outcome;
use left4me::host::paths::Run;
use left4me::model::id::{HostId, JobId, ServerId};
use left4me::model::job::{JobState, Stream};
use left4me::model::machine::{Facts, Person, Sample};
use left4me::model::time::Timestamp;
use serde_json::json;

use crate::harness::{Client, Event, Site};

/// A server of `user`, and a job of it that has not begun.
async fn server(user: &Client, name: &str) -> (ServerId, JobId) {
    let blueprint = user.json("POST", "/blueprints", json!({ "name": name })).await.is(201).json()["id"].clone();
    let id =
        user.json("POST", "/servers", json!({ "name": name, "blueprint_id": blueprint })).await.is(201).json()["id"]
            .as_u64()
            .unwrap();
    let job =
        user.json("POST", &format!("/servers/{id}/start"), json!({})).await.is(202).json()["id"].as_u64().unwrap();
    (ServerId(id), JobId(job))
}

async fn append(site: &Site, job: JobId, lines: Vec<String>) {
    site.run(move |domain| {
        domain
            .append_lines(
                job,
                lines.into_iter().map(|line| (Timestamp::now(), Stream::Stdout, line)).collect::<Vec<_>>(),
            )
            .unwrap()
    })
    .await;
}

async fn finish(site: &Site, job: JobId) {
    site.run(move |domain| {
        domain.claim_next(4).unwrap().unwrap();
        domain.finish_job(job, Outcome { state: JobState::Succeeded, exit_code: Some(0), error: None }).unwrap()
    })
    .await;
}

fn texts(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.data.as_str()).collect()
}

#[tokio::test]
async fn a_job_stream_replays_follows_and_ends_with_the_job() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let (_, job) = server(&user, "a").await;
    append(&site, job, vec!["one".into(), "  two\rX\nY".into()]).await;
    let mut stream = user.stream(&format!("/jobs/{job}/stream"), &[]).await;
    let events = stream.take(2).await;
    assert_eq!(events[0], Event { id: "1".into(), name: "stdout".into(), data: "one".into() });
    assert_eq!(events[1].data, "  two X Y");
    append(&site, job, vec!["three".into()]).await;
    assert_eq!(stream.take(1).await[0], Event { id: "3".into(), name: "stdout".into(), data: "three".into() });
    finish(&site, job).await;
    let end = stream.next().await.unwrap();
    assert_eq!(end.name, "end");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&end.data).unwrap()["state"], "succeeded");
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_job_stream_resumes_after_the_last_event_without_gap_or_repeat() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let (_, job) = server(&user, "a").await;
    append(&site, job, (1..=10).map(|n| format!("line {n}")).collect()).await;
    let path = format!("/jobs/{job}/stream?last_seq=4");
    assert_eq!(user.stream(&path, &[]).await.take(1).await[0].id, "5");
    // What the browser says on its own wins over the address that it was given once.
    assert_eq!(user.stream(&path, &[("last-event-id", "8")]).await.take(2).await[1].data, "line 10");
    let got = user.get_json(&format!("/jobs/{job}/stream?last_seq=x")).await.is(400);
    assert_eq!(got.json()["field"], "last_seq");
}

#[tokio::test]
async fn after_the_replay_limit_comes_more_and_the_client_comes_back() {
    let site = Site::start_with(|_, rules| rules.log_replay_limit = 300).await;
    let user = site.user("user").await;
    let (_, job) = server(&user, "a").await;
    append(&site, job, (1..=700).map(|n| format!("line {n}")).collect()).await;
    finish(&site, job).await;
    let (mut last, mut seen, mut rounds) = (0, Vec::new(), 0);
    loop {
        let mut stream = user.stream(&format!("/jobs/{job}/stream?last_seq={last}"), &[]).await;
        rounds += 1;
        let mut name = String::new();
        while let Some(event) = stream.next().await {
            name.clone_from(&event.name);
            if event.name == "stdout" {
                last = event.id.parse().unwrap();
                seen.push(event.data);
            }
        }
        if name == "end" {
            break;
        }
        assert_eq!(name, "more");
    }
    assert_eq!(rounds, 3);
    assert_eq!(seen, (1..=700).map(|n| format!("line {n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn another_users_job_is_403_and_an_unknown_one_404() {
    let site = Site::start().await;
    let (_, job) = server(&site.user("owner").await, "a").await;
    let other = site.user("other").await;
    for path in [format!("/jobs/{job}"), format!("/jobs/{job}/stream")] {
        other.get_json(&path).await.is(403);
    }
    other.get_json("/jobs/999").await.is(404);
    site.guest().get_json(&format!("/jobs/{job}/stream")).await.is(401);
    site.admin().await.get_json(&format!("/jobs/{job}")).await.is(200);
}

#[tokio::test]
async fn a_console_stream_replays_the_last_lines_and_follows() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let (id, _) = server(&user, "a").await;
    for number in 1..=10 {
        site.machine.print(id, &format!("line {number}\r\n"));
    }
    let mut stream = user.stream(&format!("/servers/{id}/logs/stream?lines=3"), &[]).await;
    assert_eq!(texts(&stream.take(3).await), ["line 8", "line 9", "line 10"]);
    site.machine.print(id, "half a ");
    site.machine.print(id, "line\n\x1b[31m<b>red</b>\x1b[0m\n");
    assert_eq!(texts(&stream.take(2).await), ["half a line", "<b>red</b>"]);
}

#[tokio::test]
async fn a_console_that_reconnects_anywhere_gets_every_line_once() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let (id, _) = server(&user, "a").await;
    let path = format!("/servers/{id}/logs/stream?lines=0");
    let mut stream = user.stream(&path, &[]).await;
    let mut seen = Vec::new();
    let mut printed = Vec::new();
    for round in 0..20 {
        for line in 0..=round % 4 {
            printed.push(format!("round {round} line {line}"));
            site.machine.print(id, &format!("round {round} line {line}\r\n"));
        }
        site.machine.print(id, "the beginning of ");
        let events = stream.take(printed.len() - seen.len()).await;
        let last = events.last().unwrap().id.clone();
        seen.extend(events.into_iter().map(|event| event.data));
        drop(stream);
        site.machine.print(id, "a line\n");
        printed.push("the beginning of a line".into());
        stream = user.stream(&path, &[("last-event-id", &last)]).await;
    }
    let events = stream.take(printed.len() - seen.len()).await;
    seen.extend(events.into_iter().map(|event| event.data));
    assert_eq!(seen, printed);
}

#[tokio::test]
async fn a_slow_reader_holds_up_nobody() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let (id, job) = server(&user, "a").await;
    // Never read: the socket's buffers fill, then the stream's own task waits.
    let _console = user.open("GET", &format!("/servers/{id}/logs/stream"), &[], "").await;
    let _log = user.open("GET", &format!("/jobs/{job}/stream"), &[], "").await;
    let line = format!("{}\n", "x".repeat(1000));
    for _ in 0..20_000 {
        site.machine.print(id, &line);
    }
    for _ in 0..20 {
        append(&site, job, vec!["y".repeat(4000); 200]).await;
    }
    user.get("/dashboard").await.is(200);
    let mut other = user.stream(&format!("/jobs/{job}/stream?last_seq=3999"), &[]).await;
    assert_eq!(other.take(1).await[0].id, "4000");
}

#[tokio::test]
async fn a_slow_reader_is_told_to_come_back_and_gets_the_rest_then() {
    let site = Site::start_with(|settings, rules| {
        settings.limits.slow_reader = std::time::Duration::from_millis(200);
        settings.metrics = true;
        rules.log_replay_limit = 100_000;
    })
    .await;
    let user = site.user("user").await;
    let (_, job) = server(&user, "a").await;
    // More than the buffers of a connection hold, so that its reader is waited for.
    for batch in 0..40 {
        append(&site, job, (1..=500).map(|n| format!("{} {}", batch * 500 + n, "y".repeat(1000))).collect()).await;
    }
    let mut stream = user.stream(&format!("/jobs/{job}/stream"), &[]).await;
    assert_eq!(stream.take(1).await[0].id, "1");
    // Nobody reads: the stream's task gives up by itself, long before the reader does anything.
    tokio::time::timeout(crate::harness::DEADLINE, async {
        while !site.guest().get("/metrics").await.is(200).body.contains("left4me_http_streams 0\n") {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the task of the stream ends");
    let (mut last, mut word) = (1, Event::default());
    while let Some(event) = stream.next().await {
        if event.name == "more" {
            word = event;
        } else {
            last += 1;
            assert_eq!(event.id, last.to_string(), "no gap before the last word");
        }
    }
    assert_eq!((word.name.as_str(), word.data), ("more", last.to_string()));
    assert!(last < 20_000, "it was too slow for all of it");
    let mut rest = user.stream(&format!("/jobs/{job}/stream?last_seq={last}"), &[]).await;
    assert_eq!(rest.take(1).await[0].id, (last + 1).to_string());
}

#[tokio::test]
async fn colours_reach_who_asks_for_them_and_nothing_else_of_a_terminal_reaches_anybody() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let (id, job) = server(&user, "a").await;
    let hostile = "\u{1b}]0;title\u{7}\u{1b}[31mred\u{1b}[0m \u{1b}[2Jend";
    append(&site, job, vec![hostile.into()]).await;
    site.machine.print(id, &format!("{hostile}\n"));
    for path in [format!("/jobs/{job}/stream?last_seq=0"), format!("/servers/{id}/logs/stream?lines=5")] {
        assert_eq!(user.stream(&path, &[]).await.take(1).await[0].data, "red end");
        let coloured = &user.stream(&format!("{path}&colours=1"), &[]).await.take(1).await[0].data.clone();
        assert_eq!(coloured, "\u{1b}[0;31mred\u{1b}[0m end");
    }
    let page = user.get(&format!("/jobs/{job}")).await.is(200).body;
    assert!(page.contains("<span class=\"ansi-1\">red</span> end"), "{page}");
}

#[tokio::test]
async fn pages_are_told_of_their_own_servers_only() {
    let site = Site::start().await;
    let (one, two) = (site.user("one").await, site.user("two").await);
    let mut events = one.stream("/events", &[]).await;
    server(&two, "theirs").await;
    let (id, _) = server(&one, "mine").await;
    loop {
        let event = events.next().await.unwrap();
        if event.name == "server" {
            assert_eq!(event.data, id.to_string());
            break;
        }
        assert_ne!(event.name, "job", "no job was made before the own server");
    }
}

#[tokio::test]
async fn a_revoked_token_ends_its_open_streams() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let (id, job) = server(&user, "a").await;
    let got = user.json("POST", "/account/tokens", json!({ "label": "x", "scope": "read" })).await.is(201).json();
    let program = site.guest().with_bearer(got["token"].as_str().unwrap());
    let mut console = program.stream(&format!("/servers/{id}/logs/stream"), &[]).await;
    let mut log = program.stream(&format!("/jobs/{job}/stream"), &[]).await;
    user.json("DELETE", &format!("/account/tokens/{}", got["id"]), json!({})).await.is(204);
    assert_eq!(console.next().await, None);
    assert_eq!(log.next().await, None);
}

#[tokio::test]
async fn a_line_typed_into_the_console_reaches_the_game_and_the_audit_log() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let (id, _) = server(&user, "a").await;
    let path = format!("/servers/{id}/console");
    let got = user.json("POST", &path, json!({ "line": "status" })).await.is(409);
    assert_eq!(got.json()["error"], "the game does not run");
    site.machine.run(id);
    user.json("POST", &path, json!({ "line": "status" })).await.is(204);
    user.form(&path, &[("line", "say <b>hi</b>")]).await.is(302);
    assert_eq!(site.machine.typed.lock().unwrap()[&id], ["status", "say <b>hi</b>"]);
    for bad in [json!({}), json!({ "line": "a\nquit" }), json!({ "line": 4 }), json!({ "line": "x".repeat(4096) })] {
        assert_eq!(user.json("POST", &path, bad).await.is(400).json()["field"], "line");
    }
    site.user("other").await.json("POST", &path, json!({ "line": "quit" })).await.is(403);
    let page = site.admin().await.get("/admin/audit?action=server.console").await.is(200).body;
    assert!(page.contains("say &lt;b&gt;hi&lt;/b&gt;"), "{page}");
    // What was refused is in the log too, and said to be: the line was written down before it was tried.
    let page = site.admin().await.get("/admin/audit?action=server.console_failed").await.is(200).body;
    assert!(page.contains("status (the game does not run)"), "{page}");
}

#[tokio::test]
async fn a_whole_console_is_downloaded_as_lines_that_are_safe_to_show() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let (id, _) = server(&user, "a").await;
    let path = format!("/servers/{id}/logs?download=1");
    assert_eq!(user.get(&path).await.is(200).body, "");
    let mut expected = String::new();
    for number in 0..20_000 {
        site.machine.print(id, &format!("\x1b[31mline {number}\x1b[0m\r\n"));
        let _ = writeln!(expected, "line {number}");
    }
    site.machine.print(id, "half a line");
    expected.push_str("half a line\n");
    let got = user.get(&path).await.is(200);
    assert_eq!(got.body, expected);
    assert_eq!(got.header("content-disposition"), format!("attachment; filename=\"server-{id}.log\""));
    site.user("other").await.get(&path).await.is(403);
}

#[tokio::test]
async fn a_servers_page_and_its_json_show_how_the_game_is_and_was() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let (id, _) = server(&user, "a").await;
    assert_eq!(user.get_json(&format!("/servers/{id}")).await.is(200).json()["live"], json!(null));
    let person = Person {
        userid: 7,
        name: "Dr \"Hops\" <b>".into(),
        steam_id: "STEAM_1:0:32599262".into(),
        connected: "28:40".into(),
        ping_ms: Some(66),
    };
    let facts = Facts {
        map: Some("c1m1_hotel".into()),
        players: Some(1),
        max_players: Some(8),
        cpu_percent: Some(140),
        memory_bytes: Some(3 << 29),
        processes: Some(12),
        layer_bytes: Some(5 << 20),
        people: Some(vec![person]),
        ..Facts::default()
    };
    site.machine.facts.lock().unwrap().insert(id, facts);
    let run = Run::Server(HostId::of(id));
    std::fs::create_dir_all(site.machine.paths.run(run)).unwrap();
    for minute in (0..10).rev() {
        let at = Timestamp::now().plus_seconds(-60 * minute);
        let sample = Sample { at, players: Some(minute as u32), cpu_percent: 50, memory_bytes: 1 << 30 };
        left4me::host::history::append(&site.machine.paths, run, &sample).unwrap();
    }
    let got = user.get_json(&format!("/servers/{id}")).await.is(200).json();
    let live = &got["live"];
    assert_eq!(
        (&live["cpu_percent"], &live["memory_bytes"], &live["processes"]),
        (&json!(140), &json!(3u64 << 29), &json!(12))
    );
    assert_eq!(live["people"][0]["steam_id"], "STEAM_1:0:32599262");
    assert_eq!(live["people"][0]["name"], "Dr \"Hops\" <b>");
    let page = user.get(&format!("/servers/{id}")).await.is(200).body;
    for part in [
        "140 %",
        "1.5 GiB",
        "STEAM_1:0:32599262",
        "Dr &quot;Hops&quot; &lt;b&gt;",
        "Players in the last hour: 0 now, at most 9",
        "<polyline",
    ] {
        assert!(page.contains(part), "{part} is not on the page: {page}");
    }
    assert_eq!(page.matches("<svg").count(), 3);
    site.user("other").await.get(&format!("/servers/{id}/live")).await.is(403);
}

#[tokio::test]
async fn what_a_game_wrote_is_listed_and_no_link_leads_out_of_it() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let (id, _) = server(&user, "a").await;
    let path = format!("/servers/{id}/files");
    assert_eq!(user.get_json(&path).await.is(200).json()["items"], json!([]));
    let upper = site.machine.paths.upper(HostId::of(id));
    std::fs::create_dir_all(upper.join("left4dead2/logs")).unwrap();
    std::fs::write(upper.join("left4dead2/logs/<i>.log"), "12345").unwrap();
    for (name, target) in [("out", "/etc"), ("up", "../../.."), ("store", "../../../left4me.redb")] {
        std::os::unix::fs::symlink(target, upper.join(name)).unwrap();
    }
    let items = user.get_json(&path).await.is(200).json()["items"].clone();
    let listed: Vec<_> =
        items.as_array().unwrap().iter().map(|item| (item["name"].clone(), item["kind"].clone())).collect();
    assert_eq!(
        listed,
        [("left4dead2", "folder"), ("out", "link"), ("store", "link"), ("up", "link")]
            .map(|(a, b)| (json!(a), json!(b)))
    );
    for bad in ["out", "up", "store", "out/ssl", "left4dead2/../../..", "up/..", "/etc", "nothing"] {
        let code = user.get_json(&format!("{path}?path={bad}")).await.status;
        assert!(code == 404, "{bad}: {code}");
    }
    let page = user.get(&format!("{path}?path=left4dead2/logs")).await.is(200).body;
    assert!(page.contains("&lt;i&gt;.log") && page.contains("5 bytes"), "{page}");
    site.user("other").await.get(&path).await.is(403);
}
