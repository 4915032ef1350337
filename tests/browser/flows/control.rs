//! Jobs and ports.

use super::says_the_name;
use crate::hand::Hand;
use crate::support::panel::Panel;

/// An install that never ends by itself: cancelled, found again, asked for again.
pub async fn jobs(hand: &Hand<'_>, panel: &Panel) {
    hand.wears(&panel.session.0).await;
    hand.goes("/admin/install").await;
    hand.presses("form[action='/admin/install'] button").await;
    for round in ["first", "again"] {
        hand.sees("h1", "install").await;
        let job = hand.path().await;
        assert!(job.starts_with("/jobs/"), "{job}");
        hand.awaits(&job, "p.state", "running").await;
        hand.awaits(&job, "[data-progress]", "of 9.5 MiB").await;
        hand.looks(&format!("running-{round}")).await;
        hand.presses(&format!("form[action='{job}/cancel'] button")).await;
        hand.awaits(&job, "p.state", "cancelled").await;
        if round == "first" {
            hand.goes("/jobs").await;
            hand.chooses("select[name=state]", "failed").await;
            hand.presses("form.filters button").await;
            hand.sees("table", "No job is like that").await;
            hand.chooses("select[name=state]", "cancelled").await;
            hand.chooses("select[name=operation]", "install").await;
            hand.presses("form.filters button").await;
            hand.sees("table", "cancelled").await;
            hand.looks("list").await;
            hand.presses(&format!("td a[href='{job}']")).await;
            hand.presses("form[action='/admin/install'] button").await;
        }
    }
}

/// The map, a reservation that is made and released, and the check.
pub async fn ports(hand: &Hand<'_>, panel: &Panel) {
    hand.wears(&panel.session.0).await;
    let blueprint = panel.blueprint(&hand.own("Plan"), &[], &[]);
    let name = hand.own("Mapped");
    let server = panel.server(&name, blueprint);
    let label = hand.own("LAN party");
    hand.goes("/ports").await;
    hand.types("input[name=count]", "500").await;
    hand.enters("input[name=label]", &label).await;
    // Not the page's own notice of games that no server owns: another test may have made one on this box.
    hand.sees("section:has(form[action='/ports/reservations']) > .alert.bad", "free ports in").await;
    hand.looks("refused").await;
    hand.enters("input[name=count]", "2").await;
    hand.sees(".legend", "2 reserved").await;
    hand.looks("map").await;
    hand.presses(&format!(".ports a.port[href='/servers/{server}']")).await;
    hand.sees("h1", &name).await;
    hand.goes("/ports").await;
    hand.presses(&format!("a[aria-label='Release {label}']")).await;
    says_the_name(hand, &label, "release").await;
    hand.sees("h1", "Ports").await;
    hand.misses("main", &label).await;
    hand.presses("main a[href='/ports/check']").await;
    hand.sees("h1", "Port check").await;
}
