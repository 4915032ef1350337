//! The shell around the warp routes: HEAD, faults rendered in the client's shape, and the headers that every answer has.
//!
//! Called by `server` for each request, of TCP and of the control socket. Knows no route.

use std::sync::{Arc, OnceLock};

use tower_service::Service;
use warp::http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use warp::reply::{Reply, Response};

use super::error::Fault;
use super::extract::{Peer, Shape, ViewerSlot};
use super::{Routes, Web, layout};

/// Answers one request.
pub async fn answer<B>(web: &Arc<Web>, routes: &Routes, peer: Peer, mut request: Request<B>) -> Response
where
    B: hyper::body::Body + Send + Sync + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let shape = Shape::of(peer, request.headers());
    let head = request.method() == Method::HEAD;
    if head {
        *request.method_mut() = Method::GET;
    }
    let path = request.uri().path().to_owned();
    let viewer: ViewerSlot = Arc::new(OnceLock::new());
    request.extensions_mut().insert(peer);
    request.extensions_mut().insert(Arc::clone(&viewer));
    let tls = web.is_secure(peer, request.headers());

    let mut response = match warp::service(routes.clone()).call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if let Some(mut fault) = response.extensions_mut().remove::<Fault>() {
        if fault.status == StatusCode::METHOD_NOT_ALLOWED {
            fault.allow = Some(super::allowed(&path).into());
        }
        response = render(web, &fault, shape, &path, viewer.get());
    }
    web.metrics.answered(response.status());
    protect(response.headers_mut(), tls);
    if head {
        // The length of what GET would send stays; the body goes.
        let (parts, _) = response.into_parts();
        response = Response::from_parts(parts, Response::default().into_body());
    }
    response
}

/// The page to sign in on, which leads on to another.
fn login(next: &str) -> String {
    let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
    format!("/login?{query}")
}

/// A fault in the shape that the client reads.
fn render(web: &Web, fault: &Fault, shape: Shape, path: &str, viewer: Option<&super::extract::Viewer>) -> Response {
    let mut response = match (shape, &fault.login_next) {
        (Shape::Json, _) => warp::reply::json(&fault.to_json()).into_response(),
        (Shape::Page, Some(next)) => return super::reply::see(&login(next)),
        (Shape::Fragment, Some(next)) => {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            // What is encoded is a header's value; were it none, the plain page is.
            let login = HeaderValue::from_str(&login(next)).unwrap_or(HeaderValue::from_static("/login"));
            response.headers_mut().insert("hx-redirect", login);
            return response;
        }
        (Shape::Page, None) => {
            let page = layout::Frame::new(web, status_title(fault.status), viewer).at(path);
            warp::reply::html(page.render(&layout::fault_body(fault)).into_string()).into_response()
        }
        (Shape::Fragment, None) => {
            let mut response = warp::reply::html(layout::alert(&fault.text()).into_string()).into_response();
            response.headers_mut().insert("hx-retarget", HeaderValue::from_static("#flash"));
            response.headers_mut().insert("hx-reswap", HeaderValue::from_static("innerHTML"));
            response
        }
    };
    fault.decorate(&mut response);
    response
}

fn status_title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::METHOD_NOT_ALLOWED => "Wrong method",
        StatusCode::SERVICE_UNAVAILABLE => "Not working",
        status if status.is_server_error() => "Error",
        _ => "That did not work",
    }
}

/// No script or style but our own files, no frames, no guessing of types, nothing told to other sites.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

fn protect(headers: &mut HeaderMap, tls: bool) {
    let always: [(&str, &str); 7] = [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ];
    for (name, value) in always {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if tls {
        headers.insert("strict-transport-security", HeaderValue::from_static("max-age=31536000"));
    }
    // Pages and answers are personal; assets and streams say otherwise themselves.
    headers.entry("cache-control").or_insert(HeaderValue::from_static("no-store"));
}
