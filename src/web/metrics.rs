//! `/metrics` in Prometheus' text form: off unless the operator turned it on, or the asker is an admin.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use warp::http::{HeaderValue, StatusCode, header};
use warp::reply::Reply;

use super::error::{Answer, Fault};
use super::extract::Given;
use crate::domain::ports::PortCounts;
use crate::domain::{Domain, Refusal};

/// Counters that live as long as the daemon. What the store knows is counted when somebody asks.
#[derive(Default)]
pub struct Metrics {
    answers: Family<[(&'static str, &'static str); 1], Counter>,
    streams: Gauge,
}

/// Counts an open stream as long as it lives.
pub struct OpenStream(Gauge);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// An answer left.
    pub fn answered(&self, status: StatusCode) {
        let class = match status.as_u16() / 100 {
            1 | 2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.answers.get_or_create(&[("status", class)]).inc();
    }

    /// A stream opened.
    pub fn stream(&self) -> OpenStream {
        self.streams.inc();
        OpenStream(self.streams.clone())
    }

    fn text(&self, domain: &Domain) -> Result<String, Refusal> {
        let mut registry = Registry::with_prefix("left4me");
        registry.register("http_answers", "Answers by class of status", self.answers.clone());
        registry.register("http_streams", "Streams that are open", self.streams.clone());
        let servers: Family<[(&'static str, &'static str); 2], Gauge> = Family::default();
        for server in domain.all_servers()? {
            servers
                .get_or_create(&[("desired", server.desired_state.word()), ("actual", server.actual_state.word())])
                .inc();
        }
        registry.register("servers", "Servers by desired and actual state", servers);
        let jobs: Family<[(&'static str, &'static str); 2], Gauge> = Family::default();
        for job in domain.active_jobs()? {
            jobs.get_or_create(&[("operation", job.operation.word()), ("state", job.state.word())]).inc();
        }
        registry.register("jobs_active", "Queued and running jobs", jobs);
        ports(&mut registry, domain.port_counts());
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &registry);
        Ok(text)
    }
}

/// What the domain counted about ports since the daemon began. The mean time of an allocation is seconds by allocations.
fn ports(registry: &mut Registry, counts: PortCounts) {
    let counters = [
        ("port_allocations", "Ports given out", counts.allocations),
        ("port_conflicts", "Requests for a port that was claimed", counts.conflicts),
        ("port_exhaustions", "Requests that met a range without a free port", counts.exhaustions),
        ("port_foreign_listeners", "Ports passed over or refused because a stranger listens there", counts.foreign),
    ];
    for (name, help, value) in counters {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
    let seconds = Counter::<f64, AtomicU64>::default();
    seconds.inc_by(counts.seconds);
    let help = "Time spent in operations that give out ports";
    registry.register_with_unit("port_allocation", help, Unit::Seconds, seconds);
}

/// `GET /metrics`.
pub async fn show(given: Given) -> Answer {
    let call = given.unjudged()?;
    if !call.web.settings.metrics && !call.actor().admin {
        // Like a path that does not exist: whoever may not see it learns nothing.
        return Err(Fault::no_such_path());
    }
    let text = call.run(|web, _| web.metrics.text(&web.domain)).await?;
    let mut response = text.into_response();
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}
