//! The face of the machine that pages see: consoles, facts, listeners.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use tokio::sync::{oneshot, watch};

use super::{Request, SupervisorHandle};
use crate::host::instance::InstanceError;
use crate::host::paths::Run;
use crate::host::{archive, console, doctor, history, instance, layers, ports, stack, strays, written};
use crate::model::id::{HostId, OverlayId, ServerId};
use crate::model::layers::{LayerSearch, StackLayer};
use crate::model::machine::{
    Arriving, Check, ConsoleChunk, ConsoleCursor, ConsoleError, Facts, FileEntry, FilesError, Later, Machine,
    ResetError, Sample, StrayError, WrittenFolder,
};
use crate::model::port::{Listeners, StrayGame};
use crate::model::spec::InstanceSpec;
use crate::model::time::Timestamp;

impl SupervisorHandle {
    fn own_processes(&self) -> HashSet<i32> {
        let servers = self.0.context.domain.all_servers();
        let known: Option<HashSet<ServerId>> = servers.ok().map(|all| all.iter().map(|server| server.id).collect());
        // A store that cannot be read is no reason to take our own games for strangers.
        strays::own_processes(&self.0.context.paths, |id| known.as_ref().is_none_or(|known| known.contains(&id)))
    }
}

impl Machine for SupervisorHandle {
    fn listeners(&self, named: &[u16]) -> Listeners {
        let range = self.0.context.domain.rules().port_range;
        self.0.snapshots.get(named, |named| {
            ports::snapshot(&self.0.ours(), &self.0.owners, |port| range.contains(port) || named.contains(&port))
        })
    }

    fn strays(&self) -> Vec<StrayGame> {
        strays::find(&self.own_processes())
    }

    fn end_stray(&self, pid: u32, start_time: u64) -> Result<(), StrayError> {
        strays::end(pid, start_time, &self.own_processes())
    }

    fn console_read(&self, server: ServerId, from: ConsoleCursor, max: usize) -> Result<ConsoleChunk, ConsoleError> {
        console::read(&self.0.context.paths, Run::Server(HostId::of(server)), from, max)
            .map_err(|error| ConsoleError::Machine(error.to_string()))
    }

    fn console_tail(&self, server: ServerId, lines: usize) -> Result<ConsoleCursor, ConsoleError> {
        console::tail(&self.0.context.paths, Run::Server(HostId::of(server)), lines)
            .map_err(|error| ConsoleError::Machine(error.to_string()))
    }

    fn console_grown(&self, server: ServerId) -> watch::Receiver<ConsoleCursor> {
        self.0.handle(server, |handle| handle.window.grown.subscribe())
    }

    fn console_send(&self, server: ServerId, line: String) -> Later<'_, Result<(), ConsoleError>> {
        let supervisor = self.0.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            supervisor.send(server, Request::SendLine { line, answer }).await;
            answered.await.unwrap_or(Err(ConsoleError::NotRunning))
        })
    }

    fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Acquire)
    }

    fn facts(&self, server: ServerId) -> Option<Facts> {
        let window = self.0.lock().get(&server).map(|handle| handle.window.clone())?;
        window.facts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn history(&self, server: ServerId) -> Vec<Sample> {
        let run = Run::Server(HostId::of(server));
        history::read(&self.0.context.paths, run, Timestamp::now()).unwrap_or_else(|error| {
            log::warn!("the last hour of server {server} cannot be read: {error}");
            Vec::new()
        })
    }

    fn upload(&self, overlay: OverlayId) -> Result<Box<dyn Arriving>, FilesError> {
        let upload = archive::Upload::begin(&self.0.context.paths, overlay, archive::Caps::default())?;
        Ok(Box::new(upload))
    }

    fn revision_folder(&self, overlay: OverlayId, number: u64, path: &str) -> Result<Vec<FileEntry>, FilesError> {
        archive::list(&self.0.context.paths, overlay, number, path)
    }

    fn written_files(&self, server: ServerId, path: &str) -> Result<WrittenFolder, FilesError> {
        written::list(&self.0.context.paths, HostId::of(server), path)
    }

    fn search_layers(&self, layers: &[StackLayer], wanted: &str) -> LayerSearch {
        stack::search(&self.0.context.paths, layers, wanted)
    }

    fn layer_text(&self, layer: &StackLayer, path: &str) -> Result<String, FilesError> {
        stack::text(&self.0.context.paths, layer, path)
    }

    fn doctor(&self) -> Vec<Check> {
        let context = &self.0.context;
        doctor::look(&doctor::Subject {
            paths: context.paths.clone(),
            port_range: context.domain.rules().port_range,
            steamcmd: context.steamcmd.clone(),
            starter: context.starter.clone(),
        })
    }

    fn reset_layer(&self, server: ServerId) -> Result<(), ResetError> {
        instance::reset_layer(&self.0.context.paths, HostId::of(server)).map_err(|error| match error {
            InstanceError::Running(_) => ResetError::Running,
            other => ResetError::Machine(other.to_string()),
        })
    }

    fn free_bytes(&self) -> Option<u64> {
        layers::free_bytes(&self.0.context.paths).ok()
    }

    fn written_spec(&self, server: ServerId) -> Option<InstanceSpec> {
        instance::read_spec(&self.0.context.paths, HostId::of(server)).ok()
    }
}
