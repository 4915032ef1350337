//! The pages of jobs: filters, facts, progress with its pace, asking for the same again.

use left4me::domain::jobs::Outcome;
use left4me::model::id::JobId;
use left4me::model::job::{JobState, Progress};
use left4me::model::pace::Pace;
use serde_json::{Value, json};

use crate::harness::{Client, Site};

async fn server(user: &Client, name: &str) -> u64 {
    let blueprint = user.json("POST", "/blueprints", json!({ "name": name })).await.is(201).json()["id"].clone();
    let body = json!({ "name": name, "blueprint_id": blueprint });
    user.json("POST", "/servers", body).await.is(201).json()["id"].as_u64().unwrap()
}

async fn ask(user: &Client, path: &str) -> u64 {
    user.json("POST", path, json!({})).await.is(202).json()["id"].as_u64().unwrap()
}

/// Claims what is next and ends it so.
async fn end_next(site: &Site, state: JobState, exit_code: i32) {
    site.run(move |domain| {
        let job = domain.claim_next(4).unwrap().unwrap();
        domain.finish_job(job.id, Outcome { state, exit_code: Some(exit_code), error: None }).unwrap()
    })
    .await;
}

#[tokio::test]
async fn the_list_is_narrowed_by_state_operation_and_server_together() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let (one, two) = (server(&user, "one").await, server(&user, "two").await);
    let failed = ask(&user, &format!("/servers/{one}/start")).await;
    end_next(&site, JobState::Failed, 7).await;
    let stop = ask(&user, &format!("/servers/{one}/stop")).await;
    let other = ask(&user, &format!("/servers/{two}/stop")).await;
    let found = async |query: &str| -> Vec<u64> {
        let list = user.get_json(&format!("/jobs?{query}")).await.is(200).json();
        list["items"].as_array().unwrap().iter().map(|job| job["id"].as_u64().unwrap()).collect()
    };
    assert_eq!(found("").await, [other, stop, failed]);
    assert_eq!(found("state=&operation=&server_id=").await, [other, stop, failed], "an empty choice is none");
    assert_eq!(found(&format!("server_id={one}")).await, [stop, failed]);
    assert_eq!(found("operation=stop").await, [other, stop]);
    assert_eq!(found(&format!("state=failed&operation=start&server_id={one}")).await, [failed]);
    assert_eq!(found(&format!("state=failed&server_id={two}")).await, [0; 0]);
    assert_eq!(user.get_json("/jobs?operation=dance").await.is(400).json()["field"], "operation");

    let page = user.get(&format!("/jobs?state=failed&operation=start&server_id={one}")).await.is(200).body;
    for chosen in ["value=\"failed\" selected", "value=\"start\" selected", &format!("value=\"{one}\" selected")] {
        assert!(page.contains(chosen), "{chosen}: {page}");
    }
    assert!(page.contains(&format!("href=\"/jobs/{failed}\"")) && !page.contains(&format!("href=\"/jobs/{stop}\"")));
}

#[tokio::test]
async fn a_job_that_has_ended_shows_its_facts_and_is_asked_for_again_in_one_click() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let id = server(&user, "one").await;
    let job = ask(&user, &format!("/servers/{id}/initialize")).await;
    let page = user.get(&format!("/jobs/{job}")).await.is(200).body;
    assert!(page.contains("Cancel") && !page.contains("Run again"), "{page}");
    end_next(&site, JobState::Failed, 7).await;
    let page = user.get(&format!("/jobs/{job}")).await.is(200).body;
    for fact in
        ["<dt>Took</dt><dd class=\"number\">0 s</dd>", "<dt>Exit code</dt><dd class=\"number\">7</dd>", "Run again"]
    {
        assert!(page.contains(fact), "{fact}: {page}");
    }
    assert!(page.contains(&format!("action=\"/servers/{id}/initialize\"")) && !page.contains("Cancel"), "{page}");
    let got = user.form(&format!("/servers/{id}/initialize"), &[]).await.is(302);
    assert_eq!(got.header("location"), format!("/jobs/{}", job + 1));

    // An install is the admins' to ask for; who asked for it and is none any more sees no button.
    let admin = site.admin().await;
    end_next(&site, JobState::Succeeded, 0).await;
    let install = ask(&admin, "/admin/install").await;
    end_next(&site, JobState::Succeeded, 0).await;
    let page = admin.get(&format!("/jobs/{install}")).await.is(200).body;
    assert!(page.contains("action=\"/admin/install\"") && page.contains("Run again"), "{page}");
}

#[tokio::test]
async fn free_space_is_shown_before_an_install_is_asked_for() {
    let site = Site::start().await;
    let page = site.admin().await.get("/admin/install").await.is(200).body;
    assert!(page.contains("5.0 GiB are free on the disk of the data."), "{page}");
}

#[tokio::test]
async fn progress_is_shown_with_bytes_rate_and_time_left() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let job = JobId(ask(&admin, "/admin/install").await);
    site.run(move |domain| {
        domain.claim_next(4).unwrap().unwrap();
        domain.hub().set_pace(job, Some(Pace { bytes_per_second: 5 << 20, seconds_left: Some(1638) }));
        domain.set_progress(job, Progress { phase: "downloading".into(), done: 3 << 20, total: 8 << 30 }).unwrap();
    })
    .await;
    let page = admin.get(&format!("/jobs/{job}")).await.is(200).body;
    assert!(page.contains("3.0 MiB of 8.0 GiB, 5.0 MiB/s, 27 min 18 s left"), "{page}");
    assert!(page.contains("<progress id=\"progress\" max=\"8589934592\" value=\"3145728\">"), "{page}");
    let expected = json!({
        "phase": "downloading", "done": 3 << 20, "total": 8_589_934_592_u64, "bytes_per_second": 5 << 20, "seconds_left": 1638,
    });
    assert_eq!(admin.get_json(&format!("/jobs/{job}")).await.is(200).json()["progress"], expected);
    let event = admin.stream(&format!("/jobs/{job}/stream"), &[]).await.take(1).await[0].clone();
    assert_eq!(event.name, "progress");
    assert_eq!(serde_json::from_str::<Value>(&event.data).unwrap(), expected);
}
