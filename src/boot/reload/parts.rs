//! What takes part in a reload beside the edge.

use std::sync::Arc;
use std::time::SystemTime;

use super::Part;
use crate::conf::Conf;
use crate::edge::Certificates;
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
