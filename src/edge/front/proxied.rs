//! The header of the PROXY protocol, read off a connection.

use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::socket::Socket;
use crate::rules::proxy_protocol::{self, MAX_BYTES};

/// What stood at the beginning of a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// A header that is believed; the client that it names is the connection's peer now.
    Header,
    /// Nothing: whoever only wanted to see whether somebody listens has closed.
    Nothing,
    /// Anything else, or a header that is not believed.
    Other,
}

/// How long who is not believed may take to show that nothing was meant.
const GLANCE: Duration = Duration::from_millis(100);

/// Read the header of a `trusted` peer. What was read beyond it is read again.
pub async fn receive(socket: &mut Socket, trusted: bool) -> Received {
    if !trusted {
        let read = tokio::time::timeout(GLANCE, socket.read(&mut [0])).await;
        return if matches!(read, Ok(Ok(0))) { Received::Nothing } else { Received::Other };
    }
    let mut bytes = Vec::with_capacity(256);
    let header = loop {
        match proxy_protocol::parse(&bytes) {
            Ok(Some(header)) => break header,
            // It is decided before there are more.
            Ok(None) if bytes.len() < MAX_BYTES => {}
            Ok(None) | Err(_) => return Received::Other,
        }
        match socket.read_buf(&mut bytes).await {
            Ok(0) if bytes.is_empty() => return Received::Nothing,
            Ok(0) | Err(_) => return Received::Other,
            Ok(_) => {}
        }
    };
    // The header ends within what was read.
    socket.rewind(bytes.get(header.length..).unwrap_or_default());
    if let Some(client) = header.client {
        socket.speaks_for(client);
    }
    Received::Header
}
