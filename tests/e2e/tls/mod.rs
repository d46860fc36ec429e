//! TLS, and HTTP/2 over it.

mod handshakes;
mod hostile;
mod http2;
mod names;
mod policy;
mod reload;
mod support;
mod tools;

use support::*;
