//! Accepting, and what becomes of a connection from there to its first request.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pingora::server::ShutdownWatch;
use tokio::net::{TcpListener, TcpStream};

use super::Shared;
use super::socket::Socket;

/// How long accepting rests where the system has no descriptor or no memory for a connection: those who wait stay in the kernel's queue meanwhile.
const REST: Duration = Duration::from_millis(50);

/// A line for every so often that it happens.
const QUIET: Duration = Duration::from_secs(1);

/// Accept on `listener` until `stop` says so. Each connection is a task of its own, on any of the service's threads.
pub async fn accept(shared: Arc<Shared>, listener: Arc<TcpListener>, mut stop: ShutdownWatch) {
    let mut told: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // It may be so already.
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((tcp, peer)) => {
                let connection = connection(shared.clone(), tcp, peer, stop.clone());
                pingora_runtime::current_handle().spawn(connection);
            }
            // The client left before it was accepted, or the network failed it (accept(2)).
            Err(error) if is_of_one(&error) => {}
            Err(error) => {
                if told.is_none_or(|told| told.elapsed() > QUIET) {
                    told = Some(Instant::now());
                    log::error!(event = "accept_failed", cause = error.to_string().as_str(); "");
                }
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// Whether the failure is of one connection, and the next one may be accepted at once.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, NetworkDown, NetworkUnreachable};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | NetworkDown | NetworkUnreachable)
}

/// A connection from `peer`, to its end.
pub async fn connection(shared: Arc<Shared>, tcp: TcpStream, peer: SocketAddr, stop: ShutdownWatch) {
    // Else a small piece waits until the one before it is acknowledged (RFC 896). Only a connection that is gone already refuses.
    let _ = tcp.set_nodelay(true);
    // Boxed: what the handshakes need is given back before the connection goes on, perhaps for hours.
    let Some((conn, own)) = Box::pin(shared.enter(Socket::new(tcp, peer))).await else { return };
    shared.serve(conn, own.unwrap_or(stop)).await;
}
