//! What takes part in a reload beside the edge.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::Part;
use crate::boot::fronting::bounds;
use crate::boot::notify::Notifier;
use crate::conf::Conf;
use crate::edge::{Bounds, Certificates, Front, Settings};
use crate::shed::Shed;

/// What is admitted: new limits hold at once, and what was counted goes on counting.
pub struct Limits(pub Arc<Shed>);

impl Part for Limits {
    fn commit(&mut self, conf: &Conf) {
        self.0.set(&conf.edge.ingress.shed);
    }
}

/// The certificates that the listeners name: their files may be others, whatever became of the conf.
pub struct Renewals(pub Arc<Certificates>);

impl Part for Renewals {
    fn end(&mut self, _: bool) {
        self.0.reload(SystemTime::now());
    }
}

/// Bounds on connections: they hold for those that are made from then on.
pub struct Connections {
    pub front: Front,
    /// The first address that is listened on.
    pub bound: SocketAddr,
    /// The process's limit on descriptors.
    pub descriptors: Option<u64>,
    /// What was made ready.
    pub next: Option<Bounds>,
}

impl Part for Connections {
    fn prepare(&mut self, conf: &Conf) -> Result<(), String> {
        let settings = Settings::new(&conf.edge, self.bound).map_err(|error| format!("edge.http: {error}"))?;
        self.next = Some(bounds(conf, &settings, self.descriptors)?);
        Ok(())
    }

    fn commit(&mut self, _: &Conf) {
        if let Some(next) = self.next.take() {
            self.front.set(next);
        }
    }
}

/// The service manager, which waits for the end of a reload that it asked for, however it ends.
pub struct Manager(pub Arc<Notifier>);

impl Part for Manager {
    fn begin(&mut self) {
        if self.0.is_ready() {
            self.0.reloading();
        }
    }

    fn end(&mut self, _: bool) {
        if self.0.is_ready() {
            self.0.ready(false, "serving");
        }
    }
}
