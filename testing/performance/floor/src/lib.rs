//! The floor: what the kernel alone costs. Servers are measured against it; it is none itself.
//!
//! One thread, one epoll, keep-alive. A request is read until its blank line, and its bytes as they came are the key of an answer that was put together when
//! they came for the first time: head and body of what is shorter than [`SENDFILE_FROM`] in one buffer, sent by one `write`; of what is longer the head, then
//! `sendfile`. Nothing is checked, logged, counted, limited by time or shared with other threads, which is what makes it the floor: the physical reference of
//! a machine for a kind of answer, as the system calls that no server can do without.

mod answer;
mod serve;

pub use answer::{Answer, Answers, SENDFILE_FROM};
pub use serve::serve;
