//! Making and changing servers: one form for both.

use maud::{Markup, html};
use serde_json::json;
use warp::http::StatusCode;

use crate::domain::Page;
use crate::domain::servers::{NewBatch, NewServer, ServerChange};
use crate::model::FieldError;
use crate::model::id::{BlueprintId, ReservationId, ServerId};
use crate::model::port::PortWish;
use crate::web::error::{Answer, Fault};
use crate::web::extract::{Call, Given};
use crate::web::fields::Fields;
use crate::web::layout::{Field, csrf_field, form_alert, select};
use crate::web::{json as objects, reply};

/// Fields that the form shows.
const SHOWN: [&str; 3] = ["name", "port", "blueprint_id"];

/// What is typed into the form.
#[derive(Default)]
struct Typed {
    name: String,
    port: String,
    blueprint_id: String,
}

impl Typed {
    fn of(fields: &Fields) -> Self {
        let text = |name| fields.typed(name).unwrap_or_default().to_owned();
        Self { name: text("name"), port: text("port"), blueprint_id: text("blueprint_id") }
    }
}

/// `GET /servers/new`.
pub async fn new_page(given: Given) -> Answer {
    let call = given.signed_in()?;
    let typed = Typed::of(&call.query);
    let form = form(&call, "/servers", "New server", "Make the server", &typed, None).await?;
    let several = html! { (form) p { a href="/servers/batch" { "Several at once" } } };
    Ok(call.show("New server", &several))
}

/// `POST /servers`.
pub async fn create(given: Given) -> Answer {
    let call = given.signed_in()?;
    let fields = call.fields();
    let outcome = async {
        let new = NewServer {
            name: fields.required_text("name")?,
            port: fields.port("port")?.unwrap_or(PortWish::Auto),
            blueprint_id: BlueprintId(fields.required_number("blueprint_id")?),
        };
        call.run(move |web, actor| {
            let listeners = web.machine.listeners(new.port.exact().as_slice());
            web.domain.create_server(actor, new, &listeners)
        })
        .await
    };
    match outcome.await {
        Ok(server) => Ok(call.created(server.id.0, &format!("/servers/{}", server.id))),
        Err(fault) if call.is_json() => Err(fault),
        Err(fault) => {
            let fault = fault.beside_its_choice("blueprint_id", "blueprint not found");
            if !fault.is_about_the_form() {
                return Err(fault);
            }
            let form =
                form(&call, "/servers", "New server", "Make the server", &Typed::of(&fields), Some(&fault)).await?;
            reply::refuse(&call, fault, |fault| call.show_refused("New server", &form, fault))
        }
    }
}

/// `GET /servers/{id}/edit`.
pub async fn edit_page(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let view = call.run(move |web, actor| web.domain.server(actor, ServerId(id))).await?;
    let typed = Typed {
        name: view.server.name.clone(),
        port: view.server.port.to_string(),
        blueprint_id: view.server.blueprint_id.to_string(),
    };
    let title = format!("Change {}", view.server.name);
    let form = form(&call, &format!("/servers/{id}"), &title, "Save", &typed, None).await?;
    Ok(call.show(&title, &form))
}

/// `PATCH /servers/{id}` and its form twin.
pub async fn update(id: u64, given: Given) -> Answer {
    let call = given.signed_in()?;
    let fields = call.fields();
    let outcome = async {
        let change = ServerChange {
            name: fields.text("name")?,
            port: fields.port("port")?,
            blueprint_id: fields.number("blueprint_id")?.map(BlueprintId),
        };
        call.run(move |web, actor| {
            let listeners = web.machine.listeners(change.port.and_then(PortWish::exact).as_slice());
            web.domain.update_server(actor, ServerId(id), change, &listeners)
        })
        .await
    };
    match outcome.await {
        Ok(view) => Ok(call.changed(&objects::server(&view), &format!("/servers/{id}"))),
        Err(fault) if call.is_json() => Err(fault),
        Err(fault) => {
            let fault = fault.beside_its_choice("blueprint_id", "blueprint not found");
            if !fault.is_about_the_form() {
                return Err(fault);
            }
            let path = format!("/servers/{id}");
            let form = form(&call, &path, "Change the server", "Save", &Typed::of(&fields), Some(&fault)).await?;
            reply::refuse(&call, fault, |fault| call.show_refused("Change the server", &form, fault))
        }
    }
}

/// `GET /servers/batch`.
pub async fn batch_page(given: Given) -> Answer {
    let call = given.signed_in()?;
    let markup = batch_form(&call, &call.query, None).await?;
    Ok(call.show("New servers", &markup))
}

/// `POST /servers/batch`: all or none.
pub async fn batch(given: Given) -> Answer {
    let call = given.signed_in()?;
    let fields = call.fields();
    let outcome = async {
        let count = fields.required_number("count")?;
        let new = NewBatch {
            count: u32::try_from(count).map_err(|_| FieldError::new("count", "is too large"))?,
            name_prefix: fields.required_text("name_prefix")?,
            blueprint_id: BlueprintId(fields.required_number("blueprint_id")?),
            reservation_id: fields.number("reservation_id")?.map(ReservationId),
        };
        call.run(move |web, actor| {
            let listeners = web.machine.listeners(&[]);
            web.domain.create_batch(actor, new, &listeners)
        })
        .await
    };
    match outcome.await {
        Ok(ids) if call.is_json() => Ok(reply::json_with(StatusCode::CREATED, &json!({ "ids": ids }))),
        Ok(_) => Ok(call.go("/servers")),
        Err(fault) if call.is_json() => Err(fault),
        Err(fault) => {
            let fault = fault.beside_its_choice("blueprint_id", "blueprint not found");
            if !fault.is_about_the_form() {
                return Err(fault);
            }
            let markup = batch_form(&call, &fields, Some(&fault)).await?;
            reply::refuse(&call, fault, |fault| call.show_refused("New servers", &markup, fault))
        }
    }
}

async fn batch_form(call: &Call, fields: &Fields, fault: Option<&Fault>) -> Result<Markup, Fault> {
    let typed = |name| fields.typed(name).unwrap_or_default();
    let blueprints = blueprint_options(call).await?;
    let reservations =
        if call.actor().admin { call.run(|web, actor| web.domain.list_reservations(actor)).await? } else { Vec::new() };
    let none = (String::new(), "none".to_owned());
    let reserved = reservations.iter().filter(|view| !view.expired).map(|view| {
        let reservation = &view.reservation;
        (reservation.id.to_string(), format!("{} ({} ports)", reservation.label, view.ports.len()))
    });
    let reserved: Vec<(String, String)> = std::iter::once(none).chain(reserved).collect();
    Ok(html! {
        section.card.narrow {
            h1 { "New servers" }
            p { "All of them are made, or none. Their names are the beginning and a number." }
            (form_alert(fault, &["count", "name_prefix", "blueprint_id", "reservation_id"]))
            form method="post" action="/servers/batch" {
                (csrf_field(call.csrf()))
                (Field { kind: "number", required: true, ..Field::text("count", "How many", typed("count")) }.render(fault))
                (Field { required: true, ..Field::text("name_prefix", "Names begin with", typed("name_prefix")) }.render(fault))
                (select("blueprint_id", "Blueprint", &blueprints, typed("blueprint_id"), fault))
                @if reserved.len() > 1 { (select("reservation_id", "Ports of the reservation", &reserved, typed("reservation_id"), fault)) }
                button.main type="submit" { "Make the servers" }
            }
        }
    })
}

/// What a server may follow: value and text.
async fn blueprint_options(call: &Call) -> Result<Vec<(String, String)>, Fault> {
    let blueprints = call.run(|web, actor| web.domain.list_blueprints(actor, &Page::first(Page::MAX))).await?.items;
    Ok(blueprints.iter().map(|blueprint| (blueprint.id.to_string(), blueprint.name.clone())).collect())
}

async fn form(
    call: &Call,
    path: &str,
    title: &str,
    button: &str,
    typed: &Typed,
    fault: Option<&Fault>,
) -> Result<Markup, Fault> {
    let options = blueprint_options(call).await?;
    let range = call.web.domain.rules().port_range;
    Ok(html! {
        section.card.narrow {
            h1 { (title) }
            (form_alert(fault, &SHOWN))
            @if options.is_empty() {
                div.alert { p { "A server follows a blueprint, and there is none yet. " a href="/blueprints/new" { "Make a blueprint first" } "." } }
            }
            form method="post" action=(path) {
                (csrf_field(call.csrf()))
                (Field { required: true, ..Field::text("name", "Name", &typed.name) }.render(fault))
                (select("blueprint_id", "Blueprint", &options, &typed.blueprint_id, fault))
                (Field { hint: &format!("Leave it empty for a free one from {range}."), ..Field::text("port", "Port", &typed.port) }.render(fault))
                button.main type="submit" { (button) }
            }
        }
    })
}
