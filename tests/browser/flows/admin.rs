//! What only admins do.

use super::{new_user, says_the_name};
use crate::hand::Hand;
use crate::support::panel::Panel;

/// A user's rights and end, the settings, and what the box says of itself.
pub async fn house(hand: &Hand<'_>, panel: &Panel) {
    hand.wears(&panel.session.0).await;
    let username = format!("guest-{}", hand.way.name);
    new_user(panel, &username);
    let users = panel.get("/admin/users?limit=500")["items"].clone();
    let user = users.as_array().expect("users").iter().find(|user| user["username"] == *username).expect("the user");
    hand.goes("/admin/users").await;
    hand.presses(&format!("td a[href='/admin/users/{}']", user["id"])).await;
    hand.sees("h1", &username).await;
    for (field, value, shown) in [
        ("admin", "true", "admin, since"),
        ("admin", "false", "user, since"),
        ("disabled", "true", "disabled"),
        ("disabled", "false", "user, since"),
    ] {
        hand.presses(&format!("form:has(input[name={field}][value={value}]) button")).await;
        hand.sees("section.card p", shown).await;
    }
    hand.looks("user").await;
    says_the_name(hand, &username, "user-delete").await;
    hand.sees("h1", "Users").await;
    hand.misses("main", &username).await;

    hand.goes("/admin/settings").await;
    hand.enters("input[name=max_servers_per_user]", "99999999999").await;
    hand.sees("#field-max_servers_per_user-error", "too large").await;
    hand.looks("settings-refused").await;
    hand.types("input[name=max_servers_per_user]", "7").await;
    for choice in ["closed", "open to everybody"] {
        hand.chooses("select[name=signup]", choice).await;
        hand.presses("form[action='/admin/settings'] button.main").await;
        hand.sees("#flash", "Saved").await;
        assert_eq!(hand.holds("input[name=max_servers_per_user]").await, "7");
    }
    hand.goes("/admin/audit").await;
    hand.types("input[name=actor]", "admin").await;
    hand.enters("input[name=action]", "settings").await;
    hand.sees("table", "settings").await;
    hand.misses("table", "user.sign_up").await;
    hand.looks("audit").await;
    hand.goes("/admin/doctor").await;
    hand.presses("main a.button[href='/admin/doctor']").await;
    hand.sees("table", "disk").await;
    hand.looks("doctor").await;
}

/// One more install, and back to the build before it.
pub async fn builds(hand: &Hand<'_>, panel: &Panel) {
    hand.wears(&panel.session.0).await;
    hand.goes("/admin/install").await;
    hand.presses(".head form[action='/admin/install'] button").await;
    hand.awaits_job("succeeded").await;
    hand.goes("/admin/install").await;
    hand.sees("tbody tr:first-child", "active").await;
    hand.looks("newest").await;
    hand.presses("tbody tr:nth-child(2) form button").await;
    hand.sees("tbody tr:nth-child(2)", "active").await;
    hand.misses("tbody tr:first-child", "active").await;
    hand.looks("earlier").await;
}
