//! The rules of a shared cache against their specification and against a second implementation.
//!
//! `requirements` has a row for each MUST and MUST NOT of RFC 9111 that rules can keep, and names those that are kept
//! elsewhere; `oracle` compares with `http-cache-semantics`, and says where and why the two differ.

#![allow(clippy::unwrap_used, clippy::panic)]

mod exchange;
mod oracle;
mod requirements;
