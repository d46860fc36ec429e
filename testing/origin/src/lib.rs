//! An origin that does what a script says, byte by byte.
//!
//! One thread a connection and blocking sockets, so that each byte, delay and reset happens where the script puts it. It is
//! for tests, measurements and the demo; it is no server to be exposed to anybody.

mod connection;
mod directory;
mod gate;
mod origin;
pub mod pattern;
mod play;
mod request;
mod script;

pub use directory::Directory;
pub use gate::Gate;
pub use origin::Origin;
pub use request::{Outcome, Request};
pub use script::{Script, Scripts};
