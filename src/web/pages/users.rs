//! Users, for admins.

use maud::{Markup, html};
use warp::http::StatusCode;

use crate::domain::users::UserChange;
use crate::model::id::UserId;
use crate::model::user::User;
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given};
use crate::web::layout::{Field, csrf_field, form_alert, next_link, when};
use crate::web::note::Note;
use crate::web::{json, reply};

/// `GET /admin/users`.
pub async fn list(given: Given) -> Answer {
    let call = given.admin()?;
    let page = call.page()?;
    let users = call.run(move |web, actor| web.domain.list_users(actor, &page)).await?;
    if call.is_json() {
        return Ok(call.list(&users, json::user));
    }
    Ok(call.show(
        "Users",
        &html! {
            h1 { "Users" }
            div.card.scroll {
                table {
                    thead { tr { th { "Name" } th { "Rights" } th { "Second factor" } th { "Since" } } }
                    tbody {
                        @for user in &users.items {
                            tr {
                                td { a href=(format!("/admin/users/{}", user.id)) { (user.username) } }
                                td data-label="Rights" { (rights(user)) }
                                td data-label="Second factor" { @if user.second_factor.is_some() { "on" } @else { "off" } }
                                td data-label="Since" { (when(user.created_at)) }
                            }
                        }
                    }
                }
            }
            (next_link("/admin/users", users.next.as_deref()))
        },
    ))
}

fn rights(user: &User) -> Markup {
    html! {
        @if user.admin { "admin" } @else { "user" }
        @if user.disabled { " " span.badge data-state="failed" { "disabled" } }
    }
}

/// `GET /admin/users/{id}`.
pub async fn show(id: u64, given: Given) -> Answer {
    let call = given.admin()?;
    let user = call.run(move |web, actor| web.domain.user(actor, UserId(id))).await?;
    if call.is_json() {
        return Ok(reply::json_with(StatusCode::OK, &json::user(&user)));
    }
    Ok(call.show(&user.username, &markup(&call, &user, None)))
}

fn markup(call: &Call, user: &User, fault: Option<&Fault>) -> Markup {
    let id = user.id;
    let switch = |field: &str, value: bool, text: &str| {
        html! {
            form.inline method="post" action=(format!("/admin/users/{id}")) {
                (csrf_field(call.csrf()))
                input type="hidden" name=(field) value=(value.to_string());
                button type="submit" { (text) }
            }
        }
    };
    html! {
        section.card.narrow {
            h1 { (user.username) }
            (form_alert(fault, &["confirm"]))
            p { (rights(user)) ", since " (when(user.created_at)) }
            div.actions {
                @if user.admin { (switch("admin", false, "Make a plain user")) } @else { (switch("admin", true, "Make an admin")) }
                @if user.disabled { (switch("disabled", false, "Enable")) } @else { (switch("disabled", true, "Disable")) }
            }
            p.hint { "Disabling ends this user's sessions and tokens; servers keep running." }
        }
        section.card.narrow {
            h2 { "Delete" }
            form method="post" action=(format!("/admin/users/{id}/delete")) {
                (csrf_field(call.csrf()))
                (Field { required: true, hint: "Type the username. A user who has servers cannot be deleted.", ..Field::text("confirm", "Username", "") }.render(fault))
                button.danger type="submit" { "Delete" }
            }
        }
    }
}

/// `PATCH /admin/users/{id}` and its form twin.
pub async fn update(id: u64, given: Given) -> Answer {
    let call = given.admin()?;
    let fields = call.fields();
    let change = UserChange { admin: fields.flag("admin")?, disabled: fields.flag("disabled")? };
    match call.run(move |web, actor| web.domain.update_user(actor, UserId(id), change)).await {
        Ok(user) => Ok(call.changed(&json::user(&user), &format!("/admin/users/{id}"))),
        Err(fault) => refused(&call, id, fault).await,
    }
}

/// `DELETE /admin/users/{id}` and its form twin.
pub async fn delete(id: u64, given: Given) -> Answer {
    let call = given.admin()?;
    if let Some(typed) = call.fields().typed("confirm").map(str::trim) {
        let user = call.run(move |web, actor| web.domain.user(actor, UserId(id))).await?;
        if typed != user.username {
            return refused(&call, id, Fault::field("confirm", "this is not the user's name")).await;
        }
    }
    match call.run(move |web, actor| web.domain.delete_user(actor, UserId(id))).await {
        Ok(()) => Ok(call.noting(Note::Deleted, call.gone("/admin/users"))),
        Err(fault) => refused(&call, id, fault).await,
    }
}

async fn refused(call: &Call, id: u64, fault: Fault) -> Answer {
    if call.is_json() || !fault.is_about_the_form() {
        return Err(fault);
    }
    let user = call.run(move |web, actor| web.domain.user(actor, UserId(id))).await?;
    reply::refuse(call, fault, |fault| call.show_refused(&user.username, &markup(call, &user, Some(fault)), fault))
}
