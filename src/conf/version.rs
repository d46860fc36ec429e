//! Which svc-edge this is.

/// The version of the package, e.g. `0.1.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from, as `git describe` says it; `unknown` outside a checkout.
pub const COMMIT: &str = env!("BUILD_COMMIT");

/// Both, e.g. `0.1.0 (ae6cc01d2f3b)`.
pub const VERSION_AND_COMMIT: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BUILD_COMMIT"), ")");
