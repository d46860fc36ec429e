//! The rules of a shared cache against their specification and against a second implementation.
//!
//! `requirements` has a row for each MUST and MUST NOT of RFC 9111 that rules can keep, `elsewhere` names the end-to-end
//! tests of the others; `oracle` compares with `http-cache-semantics`, and says where and why the two differ.

#![allow(clippy::unwrap_used, clippy::panic)]

mod elsewhere;
mod exchange;
mod oracle;
mod requirements;
