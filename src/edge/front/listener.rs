//! What the kernel is told of a listening socket, and does to each connection that it accepts there.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt::set_tcp_user_timeout;
use socket2::SockRef;

/// Bytes of an answer that the kernel takes before they can be sent. Without a bound it takes up to 4 MB for each client: a thousand slow readers then hold all that
/// the kernel has for TCP, and others wait while those are copied. What is on its way to a fast client is not bounded by it.
const UNSENT: u32 = 256 * 1024;

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
