//! A connection of an origin, on a thread of its own.

use std::io::{self, BufReader};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crate::origin::Shared;
use crate::play::{self, Next};
use crate::request::{Outcome, Request};

/// Answer requests until the connection ends.
pub(crate) fn serve(shared: &Shared, stream: &TcpStream, id: u64) {
    if let Ok(Next::Reset) = answer_all(shared, stream, id) {
        reset(stream);
    } else {
        // The peer may have gone already.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// Have the kernel answer with RST once the last descriptor is closed.
pub(crate) fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

fn answer_all(shared: &Shared, stream: &TcpStream, id: u64) -> io::Result<Next> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = Request::read(&mut reader, id)? {
        let request = Arc::new(request);
        let script = shared.script(&request);
        shared.record(&request);
        let next = play::play(&script, &request, stream, &shared.stop);
        request.end(if next.is_ok() { Outcome::Finished } else { Outcome::Cut });
        shared.tell(&request, script.status);
        match next? {
            Next::Keep => {}
            next => return Ok(next),
        }
    }
    Ok(Next::Close)
}
