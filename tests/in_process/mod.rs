//! Requests to a server in this very process: what a listener does with a connection, without the kernel's sockets. What is left is Pingora's reading of
//! the request, our way to the answer, and its writing. Shared by `tests/allocations.rs` and the benches.

#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

pub mod bare;
pub mod floor;
pub mod served;
pub mod wire;
