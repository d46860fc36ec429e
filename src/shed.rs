//! What may be answered at all, and what is refused because there is too much of it: requests a second, of all clients and of each, and requests at a
//! time. Knows no request and asks no clock: whoever asks says when it is.
//!
//! A refusal is cheap, and takes nothing from those who are admitted: what is counted is what was admitted. `rate` is the whole instance's limit,
//! `clients` that of each client, `places` the bound on requests at a time, `wedge` tells a server that is busy from one that is stuck.

mod clients;
mod places;
mod rate;
mod wedge;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::conf::ShedConf;
use crate::rules::client::ClientKey;
use clients::Clients;
use places::Places;
use rate::Rate;

pub use places::{Admitted, Load};
pub use wedge::Wedge;

/// The limits of this instance, and what counts against them.
pub struct Shed {
    /// What times are counted from.
    start: Instant,
    places: Arc<Places>,
    clients: Clients,
    rate: Rate,
}

/// Why a request is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shedding {
    /// The instance has more requests a second than `rps_limit`.
    Rate,
    /// Its client has more requests a second than `rps_per_client`.
    ClientRate,
    /// `max_inflight` requests are being answered.
    Inflight,
}

impl Shedding {
    /// Seconds after which there is room again, if nobody else takes it: the time between two requests of the instance is at most one, and what a
    /// client did is forgotten after two. That a place becomes free within one is a guess.
    pub fn seconds(self) -> u64 {
        match self {
            Self::Rate | Self::Inflight => 1,
            Self::ClientRate => 2,
        }
    }
}

impl Shed {
    /// With these limits, and nothing counted.
    pub fn new(conf: &ShedConf) -> Self {
        let shed =
            Self { start: Instant::now(), places: Arc::default(), clients: Clients::default(), rate: Rate::default() };
        shed.set(conf);
        shed
    }

    /// Change the limits. What was counted goes on to count, and who is admitted stays so.
    pub fn set(&self, conf: &ShedConf) {
        self.places.set(conf.max_inflight);
        self.clients.set(conf.rps_per_client);
        self.rate.set(conf.rps_limit);
    }

    /// Admit a request of `client` at `now`, or say why not. The request is in flight until what is returned is dropped.
    ///
    /// The order is that in which a refusal takes nothing away: a full server counts nothing, and who is over its own limit takes none of the whole's.
    pub fn admit(&self, now: Instant, client: ClientKey) -> Result<Admitted, Shedding> {
        let since = now.saturating_duration_since(self.start);
        if self.places.are_taken() {
            return Err(Shedding::Inflight);
        }
        if !self.clients.has_room(since, client) {
            return Err(Shedding::ClientRate);
        }
        if !self.rate.take(since) {
            return Err(Shedding::Rate);
        }
        // Another thread may have taken the last place since: what this one took of the rate is then lost, at most once a thread.
        let admitted = self.places.enter().ok_or(Shedding::Inflight)?;
        self.clients.count(since, client);
        Ok(admitted)
    }

    /// How many are in flight.
    pub fn load(&self) -> Load {
        self.places.load()
    }
}

/// Whole nanoseconds; 584 years fit.
fn nanoseconds(since: Duration) -> u64 {
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
