//! However requests end, their places are given back: whole, refused, panicked, aborted or reset, in any mix.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use svc_edge_origin::{Gate, Origin, Script};

use super::*;

/// Requests at a time.
const PLACES: usize = 8;
/// Requests a second: few enough that a burst finds none left.
const RATE: u32 = 60;

/// What a client does with a connection of its own.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Two requests, answered.
    Whole,
    /// What is nowhere, and what no path can be.
    Nonsense,
    /// A miss, filled.
    Miss,
    /// Leaves within the header.
    MidHeader,
    /// Leaves within the body of its request.
    MidRequestBody,
    /// Leaves within the body of the answer.
    MidBody,
    /// Resets the connection within the body of the answer.
    ResetMidBody,
    /// Leaves while the origin is silent.
    WhileWaiting,
    /// Resets the connection while the origin is silent.
    ResetWhileWaiting,
    /// Three requests at once.
    Pipeline,
    /// More than the rate allows.
    Burst,
}

const ACTS: [Act; 11] = [
    Act::Whole,
    Act::Nonsense,
    Act::Miss,
    Act::MidHeader,
    Act::MidRequestBody,
    Act::MidBody,
    Act::ResetMidBody,
    Act::WhileWaiting,
    Act::ResetWhileWaiting,
    Act::Pipeline,
    Act::Burst,
];

const SMALL: &str = "/edge/assets/site/small";
const LARGE: &str = "/edge/assets/site/large";

impl Act {
    /// Whatever the server makes of it (a request may be refused, or panic, at any time): errors are part of the mix.
    fn act(self, server: &Server) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(server.address)?;
        // A refusal is shorter than what is read here, and its connection stays open.
        stream.set_read_timeout(Some(Duration::from_millis(200)))?;
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: edge.test\r\n\r\n");
        match self {
            Self::Whole => answered(server, &["GET", "HEAD"], SMALL),
            Self::Nonsense => answered(server, &["GET", "PUT"], "/edge/assets/%00"),
            Self::Miss => answered(server, &["GET"], &asset("miss")),
            Self::Burst => answered(server, &["GET"; 2 * RATE as usize], SMALL),
            Self::MidHeader => stream.write_all(&get(SMALL).as_bytes()[..30])?,
            Self::MidRequestBody => {
                let head = format!("GET {SMALL} HTTP/1.1\r\nHost: edge.test\r\nContent-Length: 5000\r\n\r\nhalf");
                stream.write_all(head.as_bytes())?;
                std::thread::sleep(Duration::from_millis(5));
            }
            Self::MidBody => {
                stream.write_all(get(LARGE).as_bytes())?;
                stream.read_exact(&mut [0; 20_000])?;
            }
            Self::ResetMidBody => {
                stream.write_all(get(LARGE).as_bytes())?;
                stream.read_exact(&mut [0; 20_000])?;
                reset(stream);
            }
            Self::WhileWaiting => {
                stream.write_all(get(&asset("slow")).as_bytes())?;
                std::thread::sleep(Duration::from_millis(20));
            }
            Self::ResetWhileWaiting => {
                stream.write_all(get(&asset("slow")).as_bytes())?;
                std::thread::sleep(Duration::from_millis(20));
                reset(stream);
            }
            Self::Pipeline => {
                stream.write_all(get(SMALL).repeat(3).as_bytes())?;
                stream.read_to_end(&mut Vec::new())?;
            }
        }
        Ok(())
    }
}

/// Requests on one connection, each answered whole or cut by a panic.
fn answered(server: &Server, methods: &[&str], target: &str) {
    let mut client = server.client();
    for method in methods {
        if client.fetch(method, target, &[]).is_err() {
            client = server.client();
        }
    }
}

/// Close with RST in place of FIN.
fn reset(stream: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
}

/// A panic at each of these passings: the first ones, and then now and then.
fn panics(point: &str, step: u64) -> String {
    (0..60).fold(String::new(), |mut rules, nth| {
        let _ = write!(rules, ",{point}=panic@{}", 3 + nth * step);
        rules
    })
}

#[test]
fn every_place_is_given_back_after_any_mix_of_endings() {
    let (origin, gate) = (Origin::start(), Gate::new());
    let unstored = || Script::status(200).cache_control("no-store");
    origin.route("/s/held", unstored().wait(&gate).body(b"held"));
    origin.route("/s/slow", unstored().stall(Duration::from_millis(400)).body(b"slow"));
    origin.route("/s/miss", unstored().body(b"missed"));
    let faults = format!("{}{}", panics("edge.request", 23), panics("edge.body", 31));
    let ingress = format!("  ingress: {{max_inflight: {PLACES}, rps_limit: {RATE}}}\n");
    let setup = faulty(&origin, FILL, faults.trim_start_matches(',')).edge(&ingress);
    let server = start(setup.asset("small", b"hello").asset("large", &vec![7; 8 << 20]));
    ["request_panic", "bad_request"].iter().for_each(|event| server.claim(event));

    let began = Instant::now();
    let mixes = prop::collection::vec(prop::collection::vec(prop::sample::select(&ACTS[..]), 2..8), 6..16);
    let config = Config { cases: 12, max_shrink_iters: 4, failure_persistence: None, ..Config::default() };
    let run = TestRunner::new(config).run(&mixes, |mix| {
        // Noise may make the cases slow, and never fewer than some.
        if began.elapsed() < Duration::from_secs(20) {
            std::thread::scope(|scope| {
                for acts in &mix {
                    // What becomes of each is not the question here.
                    scope.spawn(|| acts.iter().for_each(|act| drop(act.act(&server))));
                }
            });
            server.eventually("empty", || server.metric("edge_inflight") == 0.0);
        }
        Ok(())
    });
    run.unwrap();
    assert!(server.metric("request_panics_total") > 0.0);
    // For want of a place there surely is a refusal here; in the mix that depends on how the requests meet.
    assert_all_places_are_free(&server, &gate);
    for reason in ["rate_limit", "inflight", "internal"] {
        assert!(server.metric(&format!("rejected_total{{reason=\"{reason}\"}}")) > 0.0, "no {reason}");
    }
}

/// As many as there are places are admitted at a time, and one more is not.
fn assert_all_places_are_free(server: &Server, gate: &Gate) {
    // A second without requests fills the bucket.
    std::thread::sleep(Duration::from_millis(1100));
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..PLACES).map(|_| scope.spawn(|| held(server))).collect();
        server.eventually("all are waiting", || server.metric("edge_inflight") == PLACES as f64);
        server.eventually("one more is refused", || server.get(SMALL, &[]).header("x-reason") == Some("inflight"));
        gate.open();
        readers.into_iter().for_each(|reader| assert_eq!(reader.join().unwrap(), b"held"));
    });
    server.eventually("empty", || server.metric("edge_inflight") == 0.0);
}

/// What the origin holds back until the gate opens. A panic may be due here too: then again, once its place was given back. Nothing else
/// may keep it from being admitted.
fn held(server: &Server) -> Vec<u8> {
    loop {
        let answer = server.client().fetch("GET", &asset("held"), &[]).unwrap();
        match answer.header("x-reason") {
            None => return answer.body,
            Some("internal") => std::thread::sleep(Duration::from_millis(100)),
            Some(_) => panic!("{answer:?}"),
        }
    }
}
