//! A server that is asked to stop lets its connections go, and loses no request.

use std::time::{Duration, Instant};

use crate::fixtures::noise;
use crate::h2::frames::{self, End, GOAWAY, H2};
use crate::server::setup;

const PATH: &str = "/edge/assets/site/a.txt";

#[test]
fn http_2_is_told_to_go_away_and_what_it_asked_is_answered() {
    let large = noise(8 << 20, 1);
    let mut server = crate::h2::h2c().asset("large", &large).start();
    let mut idle = H2::connect(server.address, &[]);
    idle.send(&frames::get(1, PATH));
    assert_eq!(idle.end_of(1, true), End::Whole(b"hello".into()));
    let mut busy = H2::connect(server.address, &[]);
    busy.send(&frames::get(1, "/edge/assets/site/large"));
    server.eventually("in flight", || server.metric("edge_inflight") >= 1.0);
    server.signal("TERM");
    server.eventually("draining", || !server.logged("draining").is_empty());
    // It takes its window by window, and is waited for.
    std::thread::sleep(Duration::from_millis(300));
    assert!(busy.end_of(1, true) == End::Whole(large));
    let mut told = false;
    while let Some(frame) = idle.frame() {
        told |= frame.kind == GOAWAY;
    }
    assert!(told, "an idle connection was closed without GOAWAY");
    assert!(server.wait().success());
}

#[test]
fn a_busy_client_loses_no_request_to_a_server_that_stops() {
    for round in 0..3 {
        let mut server = setup().asset("a.txt", b"hello").unlimited().start();
        let address = server.address;
        let clients: Vec<_> = (0..8)
            .map(|_| {
                std::thread::spawn(move || {
                    let mut client = crate::http::Client::connect(address);
                    let since = Instant::now();
                    let mut answered = 0;
                    while since.elapsed() < Duration::from_secs(20) {
                        client.send(b"GET /edge/assets/site/a.txt HTTP/1.1\r\nHost: edge.test\r\n\r\n");
                        let answer = client.response(false).unwrap_or_else(|error| panic!("after {answered}: {error}"));
                        assert_eq!(answer.body, b"hello");
                        answered += 1;
                        if answer.header("connection") == Some("close") {
                            return answered;
                        }
                    }
                    panic!("never told to close, in {answered} answers");
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(200));
        server.signal("TERM");
        for client in clients {
            assert!(client.join().unwrap() > 1, "round {round}");
        }
        assert!(server.wait().success());
    }
}

#[test]
fn what_is_left_of_an_answer_of_http_2_is_sent_when_its_request_has_ended() {
    // A little more than the kernel takes: the request is over, and the end of its answer is still to be written.
    let body = noise(310_000, 7);
    let mut server = crate::h2::h2c().asset("some", &body).start();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&server.address.into()).unwrap();
    let mut client = H2 { stream: socket.into() };
    client.stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client.send(frames::PREFACE);
    client.send(&frames::settings(&[(frames::INITIAL_WINDOW, 1 << 30)]));
    client.send(&[frames::window(0, 1 << 30), frames::get(1, "/edge/assets/site/some")].concat());
    server.eventually("asked", || {
        server.metric("http_requests_total{route=\"asset\",method=\"GET\",status=\"200\"}") >= 1.0
    });
    server.signal("TERM");
    server.eventually("draining", || !server.logged("draining").is_empty());
    std::thread::sleep(Duration::from_millis(2500));
    assert!(client.end_of(1, false) == End::Whole(body));
    drop(client);
    assert!(server.wait().success());
}
