//! What many readers of one large fill cost.

use svc_edge_origin::{Origin, Outcome, Script, pattern};

use super::*;

/// Read the whole of `a` and compare it on the way; its length.
fn read(server: &Server) -> u64 {
    let mut client = server.client();
    client.ask("GET", &asset("a"), &[]);
    assert_eq!(client.head().unwrap().status, 200);
    let (mut at, mut buffer) = (0, vec![0; 256 * 1024]);
    loop {
        let count = client.read_into(&mut buffer).unwrap();
        if count == 0 {
            return at;
        }
        assert!(pattern::is_at(at, &buffer[..count]), "wrong bytes at {at}");
        at += count as u64;
    }
}

#[test]
fn a_hundred_misses_of_64_mib_cost_one_request_and_less_than_64_mib() {
    const LENGTH: u64 = 64 << 20;
    const READERS: usize = 100;
    let origin = Origin::start();
    origin.route("/s/small", text("small"));
    origin.route("/s/a", Script::fresh(3600).pattern(LENGTH));
    // The readers share two cores with the server and with the origin: what is measured is memory, not time.
    let setup = live_with(&origin, "", &format!("{FILL}, min_rate: null"));
    let server = setup.edge("  ingress: {timeout: 60s, write_timeout: 60s, min_send_rate: null}\n").start();
    get(&server, "small", &[]);
    await_stored(&server, "small");
    let idle = server.rss();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(|| read(&server))).collect();
        for reader in readers {
            assert_eq!(reader.join().unwrap(), LENGTH);
        }
    });
    let requests = origin.requests("/s/a");
    assert_eq!((requests.len(), requests[0].outcome()), (1, Some(Outcome::Finished)));
    let more = server.peak_rss().saturating_sub(idle);
    assert!(more < LENGTH, "{} MiB above idle", more >> 20);
}
