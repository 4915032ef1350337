//! Coming in, and what belongs to one's own account.

use super::{PASSWORD, new_user, says_the_name};
use crate::hand::Hand;
use crate::support::panel::Panel;
use crate::support::{http, totp};

const LOG_OUT: &str = "form[action='/logout'] button";

/// Signs up, out and in again.
pub async fn entry(hand: &Hand<'_>, _: &Panel) {
    let username = format!("visitor-{}", hand.way.name);
    hand.goes("/login").await;
    hand.presses("main a[href='/signup']").await;
    hand.types("input[name=username]", &username).await;
    hand.enters("input[name=password]", "password").await;
    hand.sees("#field-password-error", "too easy to guess").await;
    assert_eq!(hand.holds("input[name=username]").await, username, "what was typed stays");
    hand.looks("refused").await;
    hand.enters("input[name=password]", PASSWORD).await;
    hand.sees("h1", "Servers").await;
    hand.sees("main", "First steps").await;
    hand.sees("main", "No servers yet").await;
    hand.looks("first-steps").await;
    hand.presses(LOG_OUT).await;
    hand.sees("h1", "Sign in").await;
    hand.types("input[name=username]", &username).await;
    hand.enters("input[name=password]", "wrong horse").await;
    hand.sees("#field-password-error", "wrong username, password or code").await;
    hand.looks("wrong-password").await;
    hand.types("input[name=password]", PASSWORD).await;
    hand.presses("form[action='/login'] button.main").await;
    hand.sees("h1", "Servers").await;
}

/// Another password, and a token that programs use until it is revoked.
pub async fn secrets(hand: &Hand<'_>, panel: &Panel) {
    let username = format!("keeper-{}", hand.way.name);
    hand.wears(&new_user(panel, &username)).await;
    hand.goes("/account").await;
    hand.types("input[name=current]", "not my password").await;
    hand.types("input[name=password]", "another horse, another staple").await;
    hand.presses("form[action='/account/password'] button.main").await;
    hand.sees("#field-current-error", "is wrong").await;
    hand.looks("password-refused").await;
    hand.types("input[name=current]", PASSWORD).await;
    hand.enters("input[name=password]", "another horse, another staple").await;
    hand.sees("#flash", "The password is changed").await;

    let label = hand.own("backup script");
    hand.types("input[name=label]", &label).await;
    hand.chooses("select[name=scope]", "operate: change what is yours").await;
    hand.presses("form[action='/account/tokens'] button").await;
    hand.sees(".alert.good", "shown once").await;
    hand.looks("token").await;
    let token = hand.browser.find(".alert.good pre").await.text().await.expect("the token");
    let use_it = || {
        let bearer = format!("Bearer {}", token.trim());
        http::send(panel.address, "GET", "/account", &[("authorization", &bearer)], b"")
    };
    assert_eq!(use_it().expect(200).json()["username"], username);
    if hand.way.script {
        hand.presses(".alert.good [data-copy]").await;
        hand.sees(".alert.good [data-copy]", "Copied").await;
    }
    hand.presses(&format!("a[aria-label='Revoke {label}']")).await;
    hand.sees("h1", &format!("Revoke {label}")).await;
    says_the_name(hand, &label, "revoke").await;
    hand.sees("h1", "Account").await;
    hand.misses("main", &label).await;
    use_it().expect(401);
}

/// A device that makes codes: set up, asked for, switched off.
pub async fn second_factor(hand: &Hand<'_>, panel: &Panel) {
    let username = format!("careful-{}", hand.way.name);
    hand.wears(&new_user(panel, &username)).await;
    hand.goes("/account").await;
    hand.presses("main a[href='/account/totp']").await;
    hand.presses("form[action='/account/totp'] button.main").await;
    hand.sees("main", "Scan this").await;
    let secret = hand.browser.find("main p code").await.text().await.expect("the secret");
    hand.looks("offered").await;
    hand.enters("input[name=code]", "12345").await;
    hand.sees("#field-code-error", "is wrong").await;
    hand.enters("input[name=code]", &totp::code(&secret, 0)).await;
    hand.sees(".alert.good", "recovery codes").await;
    hand.looks("recovery").await;
    hand.presses(LOG_OUT).await;
    hand.types("input[name=username]", &username).await;
    hand.enters("input[name=password]", PASSWORD).await;
    hand.sees("#field-code-error", "enter the code").await;
    hand.looks("asked").await;
    hand.types("input[name=password]", PASSWORD).await;
    // The next one of the device: no code is taken twice.
    hand.enters("input[name=code]", &totp::code(&secret, 1)).await;
    hand.sees("h1", "Servers").await;
    hand.goes("/account/totp").await;
    hand.enters("input[name=password]", "not my password").await;
    hand.sees("#field-password-error", "is wrong").await;
    hand.types("input[name=password]", PASSWORD).await;
    hand.presses("form[action='/account/totp/delete'] button.danger").await;
    hand.sees("main", "It is off").await;
}
