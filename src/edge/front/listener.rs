//! What the kernel is told of a listening socket, and does to each connection that it accepts there.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rustix::net::sockopt::set_tcp_user_timeout;
use socket2::SockRef;

/// Bytes of an answer that the kernel takes before they can be sent. Without a bound it takes up to 4 MB for each client: a thousand slow readers then hold all that
/// the kernel has for TCP, and others wait while those are copied. What is on its way to a fast client is not bounded by it.
const UNSENT: u32 = 256 * 1024;
/// The same for a connection that is treated generously: all that its buffer has room for. Each time that a sender waits for room costs it as much as sending some 100 KiB.
const GENEROUS: u32 = 4 * 1024 * 1024;
/// Connections that are treated so at a time: 128 MiB of the kernel's memory, whatever their clients take.
const MOST_GENEROUS: usize = 32;
static TREATED: AtomicUsize = AtomicUsize::new(0);

/// That a connection may have all the room of its buffer; until it is dropped.
#[derive(Debug)]
pub struct Generosity(());

impl Generosity {
    /// For one more, if there are not too many.
    pub fn take() -> Option<Self> {
        let one_more = |treated| (treated < MOST_GENEROUS).then_some(treated + 1);
        TREATED.fetch_update(Relaxed, Relaxed, one_more).ok().map(|_| Self(()))
    }
}

impl Drop for Generosity {
    fn drop(&mut self) {
        TREATED.fetch_sub(1, Relaxed);
    }
}

/// Let a connection have all the room of its buffer, or as much as every other one.
pub fn treat(tcp: &impl AsFd, generously: bool) {
    // It only costs time if it fails.
    let _ = SockRef::from(tcp).set_tcp_notsent_lowat(if generously { GENEROUS } else { UNSENT });
}

/// Set a listening socket's options; connections have them from the moment in which they are accepted. `write_timeout` is how long a client may take nothing:
/// the kernel holds what is left of a closed connection no longer than twice that, where it would try for a quarter of an hour.
pub fn prepare(listener: &impl AsFd, write_timeout: Duration) -> io::Result<()> {
    SockRef::from(listener).set_tcp_notsent_lowat(UNSENT)?;
    let millis = u32::try_from(write_timeout.as_millis().saturating_mul(2)).unwrap_or(u32::MAX);
    // RFC 5482. Less than a second would be a judgement of the network.
    Ok(set_tcp_user_timeout(listener, millis.max(1000))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn so_many_connections_are_treated_generously_and_no_more() {
        let mut held: Vec<_> = std::iter::from_fn(Generosity::take).collect();
        assert_eq!(held.len(), MOST_GENEROUS);
        held.pop();
        assert!(Generosity::take().is_some());
    }

    #[test]
    fn a_client_that_takes_nothing_is_sent_hardly_more_than_its_own_window() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        prepare(&listener, Duration::from_secs(5)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        SockRef::from(&client).set_recv_buffer_size(8192).unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        assert_eq!(rustix::net::sockopt::tcp_user_timeout(&accepted).unwrap(), 10_000);
        accepted.set_nonblocking(true).unwrap();
        let mut taken = 0;
        while let Ok(count) = accepted.write(&[7; 16 * 1024]) {
            taken += count;
        }
        assert!(taken < 1 << 20, "the kernel took {taken} bytes that nobody reads");
    }
}
