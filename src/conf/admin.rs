//! `edge.admin`: what the admin listener lets do.

use super::read::Reader;
use super::secret::{self, Secret};

/// What the admin listener lets do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConf {
    /// Whoever has it may purge objects; `None` lets nobody. At least 16 bytes of visible ASCII.
    pub token: Option<Secret>,
}

/// Read the section.
pub(super) fn parse(r: &mut Reader) -> Option<AdminConf> {
    let outside = r.outside();
    let token = r.optional("edge.admin.token", |kind, node| secret::token(&outside, kind, node));
    Some(AdminConf { token: token? })
}
