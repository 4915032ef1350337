//! `GET /events`: what changed, so that pages ask again for the pieces that show it. Events name objects and nothing
//! else; the pieces themselves are asked for with the reader's own rights.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;

use super::{Frame, Out, Ticket};
use crate::model::event::Event as Change;
use crate::model::id::{JobId, ServerId};
use crate::web::Web;
use crate::web::error::Answer;
use crate::web::extract::Given;
use crate::web::server::stopped;

/// The route.
pub async fn stream(given: Given) -> Answer {
    let call = given.signed_in()?;
    let changes = call.web.domain.hub().listen();
    let ticket = Ticket::of(&call);
    let web = Arc::clone(&call.web);
    super::answer(&call, move |out| follow(web, ticket, out, changes))
}

async fn follow(web: Arc<Web>, mut ticket: Ticket, out: Out, mut changes: tokio::sync::broadcast::Receiver<Change>) {
    let stop = web.stop.clone();
    // Servers that this reader has been told of: they are told of their end too.
    let mut seen: HashSet<ServerId> = HashSet::new();
    if out.send(Frame::comment("events")).await.is_err() {
        return;
    }
    loop {
        let event = tokio::select! {
            change = changes.recv() => match change {
                Ok(Change::Server(id)) if may_see_server(&web, &ticket, id, &mut seen).await => named("server", id.0),
                Ok(Change::Job(id)) if may_see_job(&web, &ticket, id).await => named("job", id.0),
                Ok(Change::Ports) => Frame::event("ports", ""),
                Ok(change) if ticket.is_touched_by(&change) => {
                    if !ticket.renew(&web).await { return }
                    continue;
                }
                Ok(_) => continue,
                // Too much happened at once: everything may have changed.
                Err(RecvError::Lagged(_)) => {
                    if !ticket.renew(&web).await { return }
                    Frame::event("all", "")
                }
                Err(RecvError::Closed) => return,
            },
            () = tokio::time::sleep_until(ticket.due()) => {
                if !ticket.renew(&web).await { return }
                continue;
            }
            () = out.closed() => return,
            () = stopped(stop.clone()) => return,
        };
        if out.send(event).await.is_err() {
            return;
        }
    }
}

fn named(name: &'static str, id: u64) -> Frame {
    Frame::event(name, &id.to_string())
}

async fn may_see_server(web: &Arc<Web>, ticket: &Ticket, id: ServerId, seen: &mut HashSet<ServerId>) -> bool {
    if ticket.run(web, move |web, actor| web.domain.may_see_server(actor, id)).await.is_ok() {
        seen.insert(id);
        return true;
    }
    seen.remove(&id)
}

async fn may_see_job(web: &Arc<Web>, ticket: &Ticket, id: JobId) -> bool {
    ticket.run(web, move |web, actor| web.domain.job(actor, id)).await.is_ok()
}
