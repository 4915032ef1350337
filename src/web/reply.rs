//! The few forms that answers have, each in the client's shape. Called by the pages.

use maud::Markup;
use serde_json::{Value, json};
use warp::http::{HeaderValue, StatusCode, header};
use warp::reply::{Reply, Response};

use super::error::{Answer, Fault};
use super::extract::{Call, Shape};
use super::layout::{self, Frame};
use super::note::{self, Note};
use crate::domain::Items;

/// 302 to a path of this site.
pub fn see(path: &str) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::FOUND;
    // Paths are made by us or passed `local_path`; anything else leads home.
    let location = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/dashboard"));
    response.headers_mut().insert(header::LOCATION, location);
    response
}

/// JSON with a status.
pub fn json_with(status: StatusCode, value: &Value) -> Response {
    warp::reply::with_status(warp::reply::json(value), status).into_response()
}

/// A piece of a page.
pub fn fragment(markup: Markup) -> Response {
    warp::reply::html(markup.into_string()).into_response()
}

impl Call {
    /// A whole page.
    pub fn show(&self, title: &str, body: &Markup) -> Response {
        let viewer = self.viewer();
        let note = Note::of(&self.headers);
        let frame = Frame::new(&self.web, title, viewer.as_ref()).at(&self.path).saying(note);
        let mut response = warp::reply::html(frame.render(body).into_string()).into_response();
        if note.is_some() {
            note::put(response.headers_mut(), note::said(self.is_secure()));
        }
        response
    }

    /// A page with a form that was refused: its status stays.
    pub fn show_refused(&self, title: &str, body: &Markup, fault: &Fault) -> Response {
        let mut response = self.show(title, body);
        fault.decorate(&mut response);
        response
    }

    fn is_secure(&self) -> bool {
        self.web.is_secure(self.peer, &self.headers)
    }

    /// Leaves a note for the page that an answer leads to; programs read the answer itself.
    pub fn noting(&self, note: Note, mut response: Response) -> Response {
        if !self.is_json() {
            note::put(response.headers_mut(), note.leave(self.is_secure()));
        }
        response
    }

    /// To another page: 302, or HTMX's own header.
    pub fn go(&self, path: &str) -> Response {
        match self.shape {
            Shape::Fragment => {
                let mut response = Response::default();
                *response.status_mut() = StatusCode::NO_CONTENT;
                if let Ok(path) = HeaderValue::from_str(path) {
                    response.headers_mut().insert("hx-redirect", path);
                }
                response
            }
            Shape::Json | Shape::Page => see(path),
        }
    }

    /// Something was made: 201 with its id, or its page.
    pub fn created(&self, id: u64, path: &str) -> Response {
        if self.is_json() {
            let mut response = json_with(StatusCode::CREATED, &json!({ "id": id }));
            if let Ok(path) = HeaderValue::from_str(path) {
                response.headers_mut().insert(header::LOCATION, path);
            }
            return response;
        }
        self.noting(Note::Made, self.go(path))
    }

    /// Something was changed: 200 with the object, or its page.
    pub fn changed(&self, object: &Value, path: &str) -> Response {
        if self.is_json() { json_with(StatusCode::OK, object) } else { self.noting(Note::Saved, self.go(path)) }
    }

    /// Something is gone: 204, or the page of its kin.
    pub fn gone(&self, path: &str) -> Response {
        if !self.is_json() {
            return self.go(path);
        }
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    }

    /// A job was enqueued: 202 with the job, its page, or a note in the page.
    pub fn enqueued(&self, job: &crate::model::job::Job) -> Response {
        match self.shape {
            Shape::Json => json_with(StatusCode::ACCEPTED, &super::json::job(job)),
            Shape::Page => see(&format!("/jobs/{}", job.id)),
            Shape::Fragment => {
                let mut response = fragment(layout::enqueued_note(job));
                *response.status_mut() = StatusCode::ACCEPTED;
                response
            }
        }
    }

    /// A list: `{"items", "next"}`.
    pub fn list<T>(&self, items: &Items<T>, one: impl Fn(&T) -> Value) -> Response {
        let list: Vec<Value> = items.items.iter().map(one).collect();
        json_with(StatusCode::OK, &json!({ "items": list, "next": items.next }))
    }

    /// A list that has no pages.
    pub fn whole_list<T>(&self, items: &[T], one: impl Fn(&T) -> Value) -> Response {
        let list: Vec<Value> = items.iter().map(one).collect();
        json_with(StatusCode::OK, &json!({ "items": list, "next": null }))
    }

    /// A list that is short: all of it, unless a part is asked for. Its cursors count.
    pub fn short_list<T>(&self, items: &[T], one: impl Fn(&T) -> Value) -> Answer {
        Ok(json_with(StatusCode::OK, &self.short_page(items, one)?))
    }

    /// [`Self::short_list`] as an object that the caller may say more in.
    pub fn short_page<T>(&self, items: &[T], one: impl Fn(&T) -> Value) -> Result<Value, Fault> {
        let page = self.page()?;
        let start: usize = match &page.cursor {
            None => 0,
            Some(cursor) => {
                cursor.parse().map_err(|_| Fault::field("cursor", "is not one that a list gave: begin without it"))?
            }
        };
        let limit = if self.query.number("limit")?.is_some() { page.limit } else { items.len() };
        let list: Vec<Value> = items.iter().skip(start).take(limit).map(one).collect();
        let end = start.saturating_add(limit);
        let next = (end < items.len()).then(|| end.to_string());
        Ok(json!({ "items": list, "next": next }))
    }
}

/// Passes a fault on where no form can show it.
pub fn refuse(call: &Call, fault: Fault, page: impl FnOnce(&Fault) -> Response) -> Answer {
    if call.shape == Shape::Page && fault.is_about_the_form() { Ok(page(&fault)) } else { Err(fault) }
}
