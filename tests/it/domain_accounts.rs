//! Users, passwords, log-in defence, sessions, tokens, second factor, audit, settings.

use std::sync::atomic::{AtomicUsize, Ordering};

use left4me::domain::Refusal;
use left4me::domain::audit::AuditFilter;
use left4me::domain::settings::SettingsChange;
use left4me::domain::users::UserChange;
use left4me::domain::{Domain, Page};
use left4me::model::event::Event;
use left4me::model::user::{Actor, Scope};

use crate::domain_kit::{PASSWORD, Panel, nobody};

fn log_in(domain: &Domain, name: &str, password: &str) -> Result<String, Refusal> {
    domain.log_in("192.0.2.9", name, password, None).map(|(token, _)| token.0)
}

fn change(admin: Option<bool>, disabled: Option<bool>) -> UserChange {
    UserChange { admin, disabled }
}

#[test]
fn the_first_to_sign_up_is_no_admin() {
    let panel = Panel::new();
    assert!(!panel.domain.has_users().unwrap());
    let bob = panel.user("bob");
    assert!(!bob.admin);
    assert!(panel.domain.has_users().unwrap());
    let user = panel.domain.user(&bob, bob.user_id.unwrap()).unwrap();
    assert!(user.password.starts_with("$argon2id$"), "only a digest is kept");
}

#[test]
fn usernames_are_unique_whatever_their_case() {
    let panel = Panel::new();
    panel.user("Bob");
    let again = panel.domain.sign_up("x", " bOB ", PASSWORD).unwrap_err();
    assert!(matches!(again, Refusal::NameTaken), "{again}");
    assert_eq!(again.to_string(), "name already in use");
    log_in(&panel.domain, "BOB", PASSWORD).unwrap();
}

#[test]
fn of_many_who_sign_up_under_one_name_at_once_one_gets_it() {
    let panel = Panel::new();
    let got = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| match panel.domain.sign_up("x", "bob", PASSWORD) {
                Ok(_) => {
                    got.fetch_add(1, Ordering::SeqCst);
                }
                Err(Refusal::NameTaken) => {}
                Err(other) => panic!("{other}"),
            });
        }
    });
    assert_eq!(got.into_inner(), 1);
}

#[test]
fn a_weak_password_is_a_field_error() {
    let panel = Panel::new();
    for weak in ["short", "password", "bobbobbob"] {
        match panel.domain.sign_up("x", "bob", weak) {
            Err(Refusal::Field(error)) => assert_eq!(error.field, "password", "{weak}"),
            other => panic!("{weak}: {other:?}"),
        }
    }
}

#[test]
fn the_admins_setting_wins_over_the_configuration_for_signing_up() {
    let panel = Panel::new();
    let admin = panel.admin();
    let closed = SettingsChange { signup_open: Some(false), ..SettingsChange::default() };
    panel.domain.update_settings(&admin, closed).unwrap();
    assert!(!panel.domain.signup_open().unwrap());
    assert!(matches!(panel.domain.sign_up("x", "bob", PASSWORD), Err(Refusal::SignupClosed)));
    assert!(matches!(
        panel.domain.update_settings(&Actor { admin: false, ..admin }, closed),
        Err(Refusal::Forbidden(_))
    ));
}

#[test]
fn a_wrong_password_and_an_unknown_user_are_told_alike_and_cost_alike() {
    let panel = Panel::new();
    panel.user("bob");
    let wrong = log_in(&panel.domain, "bob", "not the password").unwrap_err();
    let unknown = log_in(&panel.domain, "nobody", "not the password").unwrap_err();
    assert_eq!(wrong.to_string(), unknown.to_string());
    // Same work: neither may be a fraction of the other. Generous, for busy machines; without the work it is a thousandfold.
    let time = |name: &str| {
        let best = (0..5).map(|_| {
            let begun = std::time::Instant::now();
            log_in(&panel.domain, name, "not the password").unwrap_err();
            begun.elapsed()
        });
        best.min().unwrap()
    };
    let (known, unknown) = (time("bob"), time("nobody"));
    assert!(known < unknown * 4 && unknown < known * 4, "{known:?} {unknown:?}");
}

#[test]
fn the_21st_attempt_answers_too_many_even_with_the_right_password() {
    let panel = Panel::new();
    panel.user("bob");
    for attempt in 0..20 {
        // Every attempt from elsewhere: the username is what counts.
        let address = format!("198.51.100.{attempt}");
        assert!(matches!(panel.domain.log_in(&address, "bob", "wrong wrong", None), Err(Refusal::WrongPassword)));
    }
    panel.pass(60);
    match log_in(&panel.domain, "Bob", PASSWORD) {
        Err(Refusal::TooMany { retry_after }) => assert_eq!(retry_after, 14 * 60),
        other => panic!("{other:?}"),
    }
    panel.pass(14 * 60);
    log_in(&panel.domain, "bob", PASSWORD).unwrap();
}

#[test]
fn twenty_failures_of_one_address_lock_it_for_every_name() {
    let panel = Panel::new();
    panel.user("bob");
    for attempt in 0..20 {
        let name = format!("guess{attempt}");
        assert!(matches!(log_in(&panel.domain, &name, "wrong wrong"), Err(Refusal::WrongPassword)));
    }
    assert!(matches!(log_in(&panel.domain, "bob", PASSWORD), Err(Refusal::TooMany { .. })));
    panel.domain.log_in("203.0.113.7", "bob", PASSWORD, None).unwrap();
}

#[test]
fn right_log_ins_are_no_failures_however_many() {
    let panel = Panel::new();
    panel.user("bob");
    for _ in 0..25 {
        log_in(&panel.domain, "bob", PASSWORD).unwrap();
    }
}

#[test]
fn racing_attempts_do_not_get_past_the_limit() {
    let panel = Panel::new();
    panel.user("bob");
    let looked_at = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..5 {
                    match log_in(&panel.domain, "bob", "wrong wrong") {
                        Err(Refusal::WrongPassword) => {
                            looked_at.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(Refusal::TooMany { .. }) => {}
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
    });
    assert_eq!(looked_at.into_inner(), 20);
}

#[test]
fn a_restart_does_not_forget_failures_and_reset_admin_does() {
    let panel = Panel::new();
    panel.admin();
    for _ in 0..20 {
        assert!(log_in(&panel.domain, "admin", "wrong wrong").is_err());
    }
    let path = panel.domain.store().path().to_owned();
    let rules = panel.domain.rules().clone();
    let Panel { domain, folder: _folder, .. } = panel;
    drop(domain);
    let domain = Domain::new(left4me::store::Store::open(&path, left4me::live::Hub::new()).unwrap(), rules.clone());
    drop(domain);
    // The clock of the tests stands in the past of the real one, so the same clock is used again.
    let store = left4me::store::Store::open(&path, left4me::live::Hub::new()).unwrap();
    let domain = Domain::with_clock(store, rules, || left4me::model::time::Timestamp(1_800_000_000_000));
    assert!(matches!(log_in(&domain, "admin", "wrong wrong"), Err(Refusal::TooMany { .. })));
    let (_, password) = domain.reset_admin("admin").unwrap();
    log_in(&domain, "admin", &password).unwrap();
}

#[test]
fn reset_admin_makes_or_restores_an_admin_and_ends_sessions_tokens_and_second_factor() {
    let panel = Panel::new();
    let admin = panel.admin();
    let bob = panel.user("bob");
    let id = bob.user_id.unwrap();
    let session = log_in(&panel.domain, "bob", PASSWORD).unwrap();
    let (token, _) = panel.domain.create_token(&bob, "t", Scope::Operate, None, None).unwrap();
    set_up_second_factor(&panel, &bob);
    panel.domain.update_user(&admin, id, change(None, Some(true))).unwrap();
    let (user, password) = panel.domain.reset_admin("BOB").unwrap();
    assert_eq!((user.id, user.admin, user.disabled, user.second_factor), (id, true, false, None));
    assert!(panel.domain.session(&session).unwrap().is_none());
    assert!(panel.domain.authenticate(&token).unwrap().is_none());
    log_in(&panel.domain, "bob", &password).unwrap();
    let (_, other) = panel.domain.reset_admin("bob").unwrap();
    assert_ne!(password, other, "each time a new one");
    assert!(matches!(log_in(&panel.domain, "bob", &password), Err(Refusal::WrongPassword)));
}

#[test]
fn promoting_an_unknown_user_says_user_not_found() {
    let panel = Panel::new();
    let error = panel.domain.promote_admin(&Actor::system(), "nobody").unwrap_err();
    assert_eq!(error.to_string(), "user not found");
    panel.user("bob");
    assert!(panel.domain.promote_admin(&Actor::system(), "bob").unwrap().admin);
}

#[test]
fn the_last_enabled_admin_can_be_neither_demoted_nor_disabled_nor_deleted() {
    let panel = Panel::new();
    let admin = panel.admin();
    let id = admin.user_id.unwrap();
    let last = |result: Result<(), Refusal>| assert!(matches!(result, Err(Refusal::LastAdmin)), "{result:?}");
    last(panel.domain.update_user(&admin, id, change(Some(false), None)).map(|_| ()));
    last(panel.domain.update_user(&admin, id, change(None, Some(true))).map(|_| ()));
    last(panel.domain.delete_user(&admin, id));
    // A disabled second admin does not count, an enabled one does.
    let other = panel.domain.reset_admin("other").unwrap().0.id;
    panel.domain.update_user(&admin, other, change(None, Some(true))).unwrap();
    last(panel.domain.delete_user(&admin, id));
    panel.domain.update_user(&admin, other, change(None, Some(false))).unwrap();
    panel.domain.delete_user(&admin, id).unwrap();
}

#[test]
fn two_admins_who_demote_each_other_at_once_leave_one() {
    for _ in 0..10 {
        let panel = Panel::new();
        let a = panel.admin();
        let (b, _) = panel.domain.reset_admin("b").unwrap();
        let (domain, targets) = (&panel.domain, [a.user_id.unwrap(), b.id]);
        std::thread::scope(|scope| {
            for id in targets {
                scope.spawn(move || domain.update_user(&Actor::system(), id, change(Some(false), None)));
            }
        });
        let left = domain.list_users(&Actor::system(), &Page::default()).unwrap();
        assert_eq!(left.items.iter().filter(|user| user.admin).count(), 1);
    }
}

#[test]
fn disabling_ends_sessions_and_tokens_and_tells_open_streams() {
    let panel = Panel::new();
    let admin = panel.admin();
    let bob = panel.user("bob");
    let id = bob.user_id.unwrap();
    let session = log_in(&panel.domain, "bob", PASSWORD).unwrap();
    let (token, made) = panel.domain.create_token(&bob, "t", Scope::Read, None, None).unwrap();
    let mut events = panel.domain.hub().listen();
    panel.domain.update_user(&admin, id, change(None, Some(true))).unwrap();
    let told: Vec<Event> = std::iter::from_fn(|| events.try_recv().ok()).collect();
    assert!(told.contains(&Event::SessionsEnded(id)) && told.contains(&Event::TokenRevoked(made.id)), "{told:?}");
    panel.domain.update_user(&admin, id, change(None, Some(false))).unwrap();
    assert!(panel.domain.session(&session).unwrap().is_none(), "enabling does not bring them back");
    assert!(panel.domain.authenticate(&token).unwrap().is_none());
}

#[test]
fn a_disabled_user_cannot_log_in() {
    let panel = Panel::new();
    let admin = panel.admin();
    let bob = panel.user("bob");
    panel.domain.update_user(&admin, bob.user_id.unwrap(), change(None, Some(true))).unwrap();
    assert!(matches!(log_in(&panel.domain, "bob", PASSWORD), Err(Refusal::WrongPassword)));
}

#[test]
fn a_user_with_servers_is_not_deleted_and_the_servers_are_named() {
    let panel = Panel::new();
    let admin = panel.admin();
    let (bob, server) = panel.owner("bob");
    let id = bob.user_id.unwrap();
    match panel.domain.delete_user(&admin, id) {
        Err(Refusal::InUse { what: "servers", names }) => assert_eq!(names, ["s"]),
        other => panic!("{other:?}"),
    }
    panel.domain.finish_delete(server.id).unwrap();
    panel.domain.delete_user(&admin, id).unwrap();
    assert!(panel.domain.list_blueprints(&admin, &Page::default()).unwrap().items.is_empty());
    assert!(matches!(log_in(&panel.domain, "bob", PASSWORD), Err(Refusal::WrongPassword)));
    panel.user("bob");
}

#[test]
fn a_user_whose_blueprint_an_admins_server_follows_is_not_deleted() {
    let panel = Panel::new();
    let admin = panel.admin();
    let bob = panel.user("bob");
    let blueprint = panel.blueprint(&bob, "b");
    panel.server(&admin, "admins", blueprint);
    match panel.domain.delete_user(&admin, bob.user_id.unwrap()) {
        Err(Refusal::InUse { names, .. }) => assert_eq!(names, ["admins"]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn changing_the_password_ends_all_other_sessions() {
    let panel = Panel::new();
    let bob = panel.user("bob");
    let (mine, other) =
        (log_in(&panel.domain, "bob", PASSWORD).unwrap(), log_in(&panel.domain, "bob", PASSWORD).unwrap());
    let new = "orange tram 4711 x";
    assert!(matches!(panel.domain.change_password(&bob, Some(&mine), "wrong wrong", new), Err(Refusal::WrongPassword)));
    match panel.domain.change_password(&bob, Some(&mine), PASSWORD, "weak") {
        Err(Refusal::Field(error)) => assert_eq!(error.field, "password"),
        other => panic!("{other:?}"),
    }
    panel.domain.change_password(&bob, Some(&mine), PASSWORD, new).unwrap();
    assert!(panel.domain.session(&mine).unwrap().is_some());
    assert!(panel.domain.session(&other).unwrap().is_none());
    assert!(log_in(&panel.domain, "bob", PASSWORD).is_err());
    log_in(&panel.domain, "bob", new).unwrap();
}

#[test]
fn a_session_that_is_used_lasts_and_one_that_is_not_ends() {
    let panel = Panel::new();
    panel.user("bob");
    let day = 24 * 3600;
    let used = log_in(&panel.domain, "bob", PASSWORD).unwrap();
    let unused = log_in(&panel.domain, "bob", PASSWORD).unwrap();
    for _ in 0..4 {
        panel.pass(20 * day);
        assert!(panel.domain.session(&used).unwrap().is_some());
    }
    assert!(panel.domain.session(&unused).unwrap().is_none());
    panel.domain.log_out(&used).unwrap();
    assert!(panel.domain.session(&used).unwrap().is_none());
    assert!(panel.domain.session("").unwrap().is_none());
}

#[test]
fn what_is_remembered_of_a_session_or_token_ends_with_it() {
    let panel = Panel::new();
    let bob = panel.user("bob");
    let session = log_in(&panel.domain, "bob", PASSWORD).unwrap();
    let expires = panel.now().plus_seconds(600);
    let (token, record) = panel.domain.create_token(&bob, "t", Scope::Read, Some(expires), None).unwrap();
    let ask = || {
        panel.domain.session(&session).unwrap();
        // The first use is noted in the store, which changes it.
        panel.domain.authenticate(&token).unwrap();
        (panel.domain.session(&session).unwrap(), panel.domain.authenticate(&token).unwrap())
    };
    assert!(panel.domain.known_session(&session).is_none() && panel.domain.known_token(&token).is_none());
    let (found, held) = ask();
    assert_eq!(panel.domain.known_session(&session), found);
    assert_eq!(panel.domain.known_token(&token), held);
    assert!(found.is_some() && held.is_some());
    assert!(panel.domain.known_session(&token).is_none() && panel.domain.known_token("").is_none());
    panel.pass(601);
    assert!(panel.domain.known_token(&token).is_none(), "it has expired");
    ask();
    panel.domain.revoke_token(&bob, record.id).unwrap();
    panel.domain.log_out(&session).unwrap();
    assert!(panel.domain.known_session(&session).is_none() && panel.domain.known_token(&token).is_none());
}

#[test]
fn the_store_holds_neither_cookies_nor_tokens() {
    let panel = Panel::new();
    let bob = panel.user("bob");
    let session = log_in(&panel.domain, "bob", PASSWORD).unwrap();
    let (token, _) = panel.domain.create_token(&bob, "t", Scope::Read, None, None).unwrap();
    let bytes = std::fs::read(panel.domain.store().path()).unwrap();
    let holds = |secret: &str| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
    assert!(holds("bob"), "the search finds what is there");
    assert!(!holds(&session) && !holds(&token) && !holds(PASSWORD));
}

#[test]
fn a_token_knows_its_user_scope_expiry_and_last_use_and_is_revoked_at_once() {
    let panel = Panel::new();
    let bob = panel.user("bob");
    let end = panel.now().plus_seconds(3600);
    let (secret, token) = panel.domain.create_token(&bob, " ci ", Scope::Operate, Some(end), None).unwrap();
    assert_eq!((token.label.as_str(), token.last_used_at), ("ci", None));
    let (user, used) = panel.domain.authenticate(&secret).unwrap().unwrap();
    assert_eq!((Some(user.id), used.scope), (bob.user_id, Scope::Operate));
    assert_eq!(panel.domain.list_tokens(&bob).unwrap()[0].last_used_at, Some(panel.now()));
    assert!(panel.domain.authenticate(&format!("{secret}x")).unwrap().is_none());
    panel.pass(3600);
    assert!(panel.domain.authenticate(&secret).unwrap().is_none(), "expired");
    let (secret, token) = panel.domain.create_token(&bob, "ci", Scope::Read, None, None).unwrap();
    let eve = panel.user("eve");
    assert!(matches!(panel.domain.revoke_token(&eve, token.id), Err(Refusal::Forbidden(_))));
    panel.domain.revoke_token(&bob, token.id).unwrap();
    assert!(panel.domain.authenticate(&secret).unwrap().is_none());
    assert!(matches!(panel.domain.revoke_token(&bob, token.id), Err(Refusal::NotFound("token"))));
}

#[test]
fn only_admins_make_admin_tokens_and_no_token_begins_expired() {
    let panel = Panel::new();
    let bob = panel.user("bob");
    assert!(matches!(panel.domain.create_token(&bob, "t", Scope::Admin, None, None), Err(Refusal::Forbidden(_))));
    panel.domain.create_token(&panel.admin(), "t", Scope::Admin, None, None).unwrap();
    match panel.domain.create_token(&bob, "t", Scope::Read, Some(panel.now()), None) {
        Err(Refusal::Field(error)) => assert_eq!(error.field, "expires_at"),
        other => panic!("{other:?}"),
    }
}

/// Sets a second factor up; answers with its secret and the recovery codes.
fn set_up_second_factor(panel: &Panel, actor: &Actor) -> (String, Vec<String>) {
    let offer = panel.domain.second_factor_begin(actor).unwrap();
    let code = code_of(&offer.secret, panel);
    let codes = panel.domain.second_factor_confirm(actor, &code).unwrap();
    (offer.secret, codes)
}

/// What an authenticator shows now, by the text that a person types into it.
fn code_of(secret: &str, panel: &Panel) -> String {
    let mut bits = 0u32;
    let (mut buffer, mut bytes) = (0u64, Vec::new());
    for c in secret.bytes() {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|known| *known == c).unwrap();
        buffer = (buffer << 5) | value as u64;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits) as u8);
        }
    }
    let secret: [u8; 20] = bytes.try_into().unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    totp.generate((panel.now().0 / 1000) as u64).to_string()
}

#[test]
fn with_a_second_factor_the_password_alone_does_not_do_and_no_code_works_twice() {
    let panel = Panel::new();
    let bob = panel.user("bob");
    let offer = panel.domain.second_factor_begin(&bob).unwrap();
    assert!(offer.uri.starts_with("otpauth://totp/left4me:bob?secret="), "{}", offer.uri);
    match panel.domain.second_factor_confirm(&bob, "000000") {
        Err(Refusal::Field(error)) => assert_eq!(error.field, "code"),
        Ok(_) => panic!("a wrong code was taken"),
        Err(other) => panic!("{other}"),
    }
    log_in(&panel.domain, "bob", PASSWORD).unwrap();
    let (secret, recovery) = set_up_second_factor(&panel, &bob);
    let with = |code: &str| panel.domain.log_in("x", "bob", PASSWORD, Some(code));
    assert!(matches!(log_in(&panel.domain, "bob", PASSWORD), Err(Refusal::SecondFactorNeeded)));
    assert!(matches!(with(" "), Err(Refusal::SecondFactorNeeded)));
    assert!(matches!(with(&code_of(&secret, &panel)), Err(Refusal::WrongPassword)), "it was used to confirm");
    panel.pass(60);
    let code = code_of(&secret, &panel);
    with(&code).unwrap();
    assert!(matches!(with(&code), Err(Refusal::WrongPassword)));
    assert_eq!(recovery.len(), 10);
    with(&recovery[3]).unwrap();
    assert!(matches!(with(&recovery[3]), Err(Refusal::WrongPassword)));
    with(&recovery[4]).unwrap();
    assert!(matches!(panel.domain.second_factor_remove(&bob, "wrong wrong"), Err(Refusal::WrongPassword)));
    panel.domain.second_factor_remove(&bob, PASSWORD).unwrap();
    log_in(&panel.domain, "bob", PASSWORD).unwrap();
}

#[test]
fn codes_cannot_be_guessed_without_end() {
    let panel = Panel::new();
    let bob = panel.user("bob");
    set_up_second_factor(&panel, &bob);
    for _ in 0..20 {
        assert!(matches!(panel.domain.log_in("x", "bob", PASSWORD, Some("000000")), Err(Refusal::WrongPassword)));
    }
    assert!(matches!(panel.domain.log_in("y", "bob", PASSWORD, Some("000000")), Err(Refusal::TooMany { .. })));
}

#[test]
fn every_change_is_in_the_audit_log_with_who_and_from_where() {
    let panel = Panel::new();
    let admin = panel.admin();
    let (bob, server) = panel.owner("bob");
    panel.domain.update_user(&admin, bob.user_id.unwrap(), change(Some(true), None)).unwrap();
    assert_eq!(
        panel.actions(),
        ["user.reset_admin", "user.sign_up", "blueprint.create", "server.create", "user.promote"]
    );
    let filter = AuditFilter { actor: Some("BOB".into()), action: Some("server".into()), ..AuditFilter::default() };
    let found = panel.domain.list_audit(&admin, &filter, &Page::default()).unwrap();
    assert_eq!(found.items.len(), 1);
    let entry = &found.items[0];
    assert_eq!((entry.actor.as_str(), entry.address.as_str()), ("bob", "192.0.2.2"));
    assert_eq!(entry.object, format!("server {} \"s\"", server.id));
    assert!(matches!(panel.domain.list_audit(&bob, &filter, &Page::default()), Err(Refusal::Forbidden(_))));
}

#[test]
fn the_audit_log_is_given_in_pages_newest_first() {
    let panel = Panel::new();
    for number in 0..7 {
        panel.domain.record(&Actor::system(), "x", &number.to_string()).unwrap();
    }
    let mut page = Page::first(3);
    let mut seen = Vec::new();
    loop {
        let part = panel.domain.list_audit(&Actor::system(), &AuditFilter::default(), &page).unwrap();
        seen.extend(part.items.into_iter().map(|entry| entry.object));
        match part.next {
            Some(next) => page.cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, ["6", "5", "4", "3", "2", "1", "0"]);
    let bad = Page { cursor: Some("no hex".into()), limit: 1 };
    assert!(matches!(
        panel.domain.list_audit(&Actor::system(), &AuditFilter::default(), &bad),
        Err(Refusal::Field(error)) if error.field == "cursor"
    ));
}

#[test]
fn users_see_themselves_and_admins_see_all() {
    let panel = Panel::new();
    let admin = panel.admin();
    let (bob, eve) = (panel.user("bob"), panel.user("eve"));
    panel.domain.user(&bob, bob.user_id.unwrap()).unwrap();
    assert!(matches!(panel.domain.user(&bob, eve.user_id.unwrap()), Err(Refusal::Forbidden(_))));
    assert!(matches!(panel.domain.list_users(&bob, &Page::default()), Err(Refusal::Forbidden(_))));
    let names: Vec<String> = panel
        .domain
        .list_users(&admin, &Page::default())
        .unwrap()
        .items
        .into_iter()
        .map(|user| user.username)
        .collect();
    assert_eq!(names, ["admin", "bob", "eve"]);
}

#[test]
fn the_admins_quota_setting_counts_at_once() {
    let panel = Panel::new();
    let admin = panel.admin();
    let bob = panel.user("bob");
    let blueprint = panel.blueprint(&bob, "b");
    let quota = SettingsChange { max_servers_per_user: Some(1), ..SettingsChange::default() };
    panel.domain.update_settings(&admin, quota).unwrap();
    panel.server(&bob, "one", blueprint);
    let new = left4me::domain::servers::NewServer {
        name: "two".into(),
        port: left4me::model::port::PortWish::Auto,
        blueprint_id: blueprint,
    };
    assert!(matches!(panel.domain.create_server(&bob, new.clone(), &nobody()), Err(Refusal::Quota { max: 1 })));
    let own = panel.blueprint(&admin, "a");
    for name in ["a", "b", "c"] {
        panel.server(&admin, name, own);
    }
}

#[test]
fn nobody_may_be_called_as_the_box_itself() {
    let panel = Panel::new();
    for name in ["system", " System "] {
        let result = panel.domain.sign_up("x", name, PASSWORD);
        assert!(matches!(result, Err(Refusal::Field(error)) if error.field == "username"));
        assert!(panel.domain.reset_admin(name).is_err());
    }
}
