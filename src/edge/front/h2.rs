//! What HTTP/2 may cost.

use pingora::protocols::http::v2::server::{H2Options, default_h2_options};

use super::state::MAX_STREAMS;

/// Bytes of a stream's answer that wait for the connection. h2's default of 400 KiB could be held a hundredfold by one client that reads nothing.
const SEND_BUFFER: usize = 64 * 1024;
/// Bytes of request bodies that are on their way, of a stream and of the connection: hardly any request has one. The initial size that every client
/// begins with (RFC 9113 §6.9.2).
const WINDOW: u32 = 65_535;
/// The longest frame: the one that every client may send (RFC 9113 §4.2).
const FRAME: u32 = 16_384;
/// Streams that the client reset and that were not accepted yet (rapid reset, CVE-2023-44487): above, the connection is closed with
/// ENHANCE_YOUR_CALM.
const PENDING_RESETS: usize = 20;
/// Resets that the client's faults may cause (CVE-2025-8671, "MadeYouReset"): above, the connection is closed likewise.
const ERROR_RESETS: usize = 64;
/// Streams that we reset and still know, so that late frames are passed over.
const KNOWN_RESETS: usize = 32;

/// Pingora's safe defaults, and bounds of our own. `header_bytes`: the longest header list (RFC 9113 §6.5.2); 431 above.
pub fn options(header_bytes: usize) -> H2Options {
    let mut options = default_h2_options();
    options
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_reset_streams(KNOWN_RESETS)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(Some(ERROR_RESETS))
        .max_send_buffer_size(SEND_BUFFER)
        .max_frame_size(FRAME)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    options
}
