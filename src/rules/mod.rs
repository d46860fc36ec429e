//! Pure rules: no I/O, no clock (`now` is passed in), no tokio, no pingora.

pub mod asset_key;
pub mod encoding;
pub mod tile;
pub mod tilejson;
