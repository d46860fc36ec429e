//! Pure rules: no I/O, no clock (`now` is passed in), no tokio, no pingora.

pub mod allow;
pub mod asset_key;
pub mod cache_status;
pub mod caching;
pub mod client;
pub mod corr_id;
pub mod date;
pub mod encoding;
pub mod etag;
pub mod fields;
pub mod header;
pub mod host;
pub mod lock;
pub mod media_type;
pub mod multipart;
pub mod precondition;
pub mod problem;
pub mod proxy_protocol;
pub mod range;
pub mod repr_digest;
pub mod structured;
pub mod tile;
pub mod tilejson;
pub mod via;
