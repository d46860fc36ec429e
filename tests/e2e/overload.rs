//! Admission: what is refused because there is too much of it, and what never is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use svc_edge_origin::{Gate, Origin, Script};

use crate::http::{Client, Response};
use crate::live::support::{FILL, asset, live_with};
use crate::server::{Server, setup};

const A: &str = "/edge/assets/site/a.txt";

/// A server whose `edge.ingress` is this.
fn limited(ingress: &str) -> Server {
    setup().asset("a.txt", b"hello").edge(&format!("  ingress: {{{ingress}}}\n")).start()
}

/// A refusal for want of room, with everything that the contract says of one.
#[track_caller]
fn assert_busy(answer: &Response, status: u16, reason: &str, after: std::ops::RangeInclusive<u32>) {
    assert_eq!((answer.status, answer.header("x-reason")), (status, Some(reason)), "{answer:?}");
    for (name, value) in [
        ("content-type", "application/problem+json"),
        ("cache-control", "no-store"),
        ("access-control-allow-origin", "*"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "cross-origin"),
        ("cache-status", &format!("svc-edge; detail={reason}")),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name} of {answer:?}");
    }
    assert!(answer.list("access-control-expose-headers").contains(&"Retry-After".to_owned()));
    let told: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!(after.contains(&told), "{told} s");
    let id = answer.header("x-corr-id").unwrap();
    let problem = serde_json::json!({
        "type": format!("urn:svc-edge:{reason}"), "status": status, "reason": reason, "instance": id,
        "title": answer.json()["title"],
    });
    assert_eq!(answer.json(), problem);
    assert!(answer.json()["title"].as_str().is_some_and(|title| title.starts_with("Too many requests")));
}

#[test]
fn above_the_rate_requests_are_429_on_a_connection_that_stays_open() {
    let server = limited("rps_limit: 2");
    let mut client = server.client();
    let mut refused: Vec<_> = Vec::new();
    while refused.len() < 50 {
        let answer = client.request("GET", A, &[("X-Corr-ID", "an.id_1-A")]);
        assert_eq!(answer.header("x-corr-id"), Some("an.id_1-A"));
        if answer.status == 200 { assert_eq!(answer.text(), "hello") } else { refused.push(answer) }
    }
    for answer in &refused {
        assert_busy(answer, 429, "rate_limit", 1..=3);
        assert_ne!(answer.header("connection"), Some("close"));
    }
    let told: std::collections::BTreeSet<_> = refused.iter().map(|answer| answer.header("retry-after")).collect();
    assert!(told.len() > 1, "those who are refused together don't come back together: {told:?}");
    server.counts("rejected_total{reason=\"rate_limit\"}", 50.0);
    server.counts("busy_rejections_total{endpoint=\"assets\"}", 50.0);
    server.counts("http_requests_total{route=\"none\",method=\"GET\",status=\"429\"}", 50.0);
}

#[test]
fn a_refusal_has_the_form_of_its_request() {
    let server = limited("rps_limit: 1");
    let mut client = server.client();
    let mut until_refused = |method: &str, target: &str, headers: &[(&str, &str)]| {
        loop {
            let answer = client.request(method, target, headers);
            if answer.status == 429 {
                return answer;
            }
        }
    };
    let head = until_refused("HEAD", A, &[]);
    assert!(head.body.is_empty() && head.header("content-length").is_some_and(|length| length != "0"), "{head:?}");
    // The id that is made when none is given stands in the document too.
    assert_busy(&until_refused("GET", A, &[]), 429, "rate_limit", 1..=3);
    until_refused("GET", "/edge/cas/b3/00", &[]);
    until_refused("GET", "/nowhere", &[]);
    until_refused("OPTIONS", A, &[("Origin", "https://maps.example"), ("Access-Control-Request-Method", "GET")]);
    for (endpoint, count) in [("assets", 3.0), ("cas", 1.0), ("other", 1.0)] {
        server.counts(&format!("busy_rejections_total{{endpoint=\"{endpoint}\"}}"), count);
    }
    // A body that nobody reads must not be taken for the next request.
    let answer = loop {
        let mut client = server.client();
        client.send(format!("PUT {A} HTTP/1.1\r\nHost: edge.test\r\nContent-Length: 5\r\n\r\n").as_bytes());
        let answer = client.response(false).unwrap();
        assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
        assert!(client.closed());
        if answer.status == 429 {
            break answer;
        }
    };
    assert_busy(&answer, 429, "rate_limit", 1..=3);
}

#[test]
fn a_list_of_origins_that_may_read_holds_for_refusals_too() {
    let yaml = "  ingress: {rps_limit: 1}\n  http: {cors: {allow_origins: [\"https://a.example\"]}}\n";
    let server = setup().edge(yaml).start();
    let mut client = server.client();
    for origin in ["https://a.example", "https://b.example"] {
        let refused = loop {
            let answer = client.request("GET", A, &[("Origin", origin)]);
            if answer.status == 429 {
                break answer;
            }
        };
        assert_eq!(refused.header("access-control-allow-origin"), Some(origin).filter(|origin| origin.contains("a.")));
        assert_eq!(refused.header("vary"), Some("Origin"));
    }
}

#[test]
fn a_request_that_waits_for_a_fill_holds_its_place() {
    let (origin, gate) = (Origin::start(), Gate::new());
    origin.route("/s/held", Script::fresh(60).wait(&gate).body(b"held"));
    let server = live_with(&origin, "", FILL).edge("  ingress: {max_inflight: 2}\n").start();
    std::thread::scope(|scope| {
        let readers = [(); 2].map(|()| scope.spawn(|| server.client().fetch("GET", &asset("held"), &[])));
        server.eventually("both are waiting", || server.metric("edge_inflight") == 2.0);
        let mut client = server.client();
        for _ in 0..20 {
            assert_busy(&client.request("GET", &asset("other"), &[]), 503, "inflight", 1..=3);
        }
        // Whoever asks how the server is needs no place; nor does the admin listener.
        for path in ["/healthz", "/readyz"] {
            assert_eq!((client.request("GET", path, &[]).status, server.admin(path).status), (200, 200), "{path}");
        }
        server.counts("rejected_total{reason=\"inflight\"}", 20.0);
        gate.open();
        readers.into_iter().for_each(|reader| assert_eq!(reader.join().unwrap().unwrap().body, b"held"));
    });
    server.eventually("empty", || server.metric("edge_inflight") == 0.0);
    assert_eq!(server.client().fetch("GET", &asset("held"), &[]).unwrap().status, 200);
    assert_eq!(origin.requests("/s/other").len(), 0, "what is refused asks nobody");
}

#[test]
fn a_client_is_who_connected_or_whom_a_trusted_proxy_names() {
    let (trusting, wary) = (limited("rps_per_client: 3, trusted_proxies: [127.0.0.0/8]"), limited("rps_per_client: 3"));
    // The admitted of so many requests that come with this field, in less than a second.
    let admitted = |server: &Server, field: &str| {
        let mut client = server.client();
        (0..20).filter(|_| client.request("GET", A, &[("X-Forwarded-For", field)]).status == 200).count()
    };
    let began = Instant::now();
    let clients = ["192.0.2.1", "192.0.2.2", "9.9.9.9, [2001:db8:1:2::1]:80, 127.0.0.9", "2001:db8:1:3::1"];
    let firsts: Vec<_> = clients.iter().map(|client| admitted(&trusting, client)).collect();
    // The same clients again: another address of a network of 64 bits, and what was written before the proxy's own.
    let again = ["9.9.9.9, 192.0.2.1", "::ffff:192.0.2.2", "2001:db8:1:2::ffff", "2001:db8:1:3:1:1:1:1"];
    let seconds: Vec<_> = again.iter().map(|client| admitted(&trusting, client)).collect();
    let all = clients.iter().chain(&again).map(|client| admitted(&wary, client)).sum::<usize>();
    // How many seconds' worth there were, if the machine was slow.
    let most = 3 * (2 + began.elapsed().as_secs() as usize);
    assert!(
        firsts.iter().zip(&seconds).all(|(first, second)| *first >= 3 && first + second <= most),
        "{firsts:?} {seconds:?}"
    );
    assert!(all <= most, "nothing of an untrusted peer counts: {all}");
    let refused = wary.metric("rejected_total{reason=\"rate_limit\"}");
    assert_eq!(refused + all as f64, 160.0);
    let logged =
        |server: &Server, address: &str| server.logged("request").iter().any(|line| line["peer_addr"] == address);
    trusting.eventually("logged", || {
        ["192.0.2.1", "192.0.2.2", "2001:db8:1:2::1", "2001:db8:1:3::1"]
            .iter()
            .all(|address| logged(&trusting, address))
    });
    assert!(
        !trusting
            .logged("request")
            .iter()
            .any(|line| line["peer_addr"].as_str().is_some_and(|peer| peer.contains("9.9.9.9")))
    );
    wary.eventually("logged", || {
        wary.logged("request")
            .iter()
            .any(|line| line["peer_addr"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")))
    });
}

#[test]
fn a_flood_gets_the_rate_and_clears_no_readiness() {
    const RATE: f64 = 50.0;
    // The flood stays on its connections.
    let server = limited(&format!("rps_limit: {RATE}, keepalive_requests: null"));
    let (done, asked, admitted) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut client = server.client();
                while !done.load(Ordering::Acquire) {
                    let answer = client.request("GET", A, &[]);
                    asked.fetch_add(1, Ordering::Relaxed);
                    admitted.fetch_add(u64::from(answer.status == 200), Ordering::Relaxed);
                }
            });
        }
        // The lookers must not leave the flood running, whatever they find.
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut client = server.client();
            while began.elapsed() < Duration::from_secs(4) {
                assert_eq!(client.request("GET", "/readyz", &[]).status, 200);
                assert_eq!(client.request("GET", "/healthz", &[]).status, 200);
                assert_eq!(server.admin("/readyz").json()["missing"], serde_json::json!([]));
                std::thread::sleep(Duration::from_millis(50));
            }
        }));
        done.store(true, Ordering::Release);
        found.unwrap();
    });
    let (elapsed, asked) = (began.elapsed().as_secs_f64(), asked.into_inner() as f64);
    let admitted = admitted.into_inner() as f64;
    assert!(asked >= 10.0 * RATE * elapsed, "no flood: {asked} in {elapsed} s");
    assert!(admitted <= RATE * (elapsed + 1.0) + 1.0, "{admitted} in {elapsed} s and one that was saved up");
    assert!(admitted >= 0.8 * RATE * elapsed, "{admitted} in {elapsed} s");
    server.counts("rejected_total{reason=\"rate_limit\"}", asked - admitted);
}

#[test]
fn a_flood_of_refusals_is_no_flood_of_lines() {
    let server = setup().edge("  ingress: {rps_limit: 1}\n  log: {access: sampled, sample: 100}\n").start();
    let mut client = server.client();
    (0..1_000).for_each(|_| drop(client.request("GET", "/nowhere", &[])));
    let refused = server.metric("rejected_total{reason=\"rate_limit\"}");
    assert!(refused >= 900.0, "{refused}");
    let lines = || server.logged("request").into_iter().filter(|line| line["reason"] == "rate_limit").count();
    server.eventually("some are told", || lines() >= 4);
    assert!(lines() as f64 <= refused / 50.0, "{} lines of {refused}", lines());
    // What is refused for another reason is told each time.
    let others = server.logged("request").into_iter().filter(|line| line["reason"] == "not_found").count();
    assert!(others >= 1, "{others}");
}

#[test]
fn a_probe_with_a_query_or_in_absolute_form_is_a_probe() {
    let server = limited("rps_limit: 1");
    let mut client: Client = server.client();
    while client.request("GET", A, &[]).status != 429 {}
    for target in ["/readyz", "/healthz?x=1", "http://edge.test/healthz"] {
        for _ in 0..10 {
            assert_eq!(client.request("GET", target, &[]).status, 200, "{target}");
        }
    }
    assert!(
        ["/readyz/", "//healthz", "/healthz%20"]
            .iter()
            .all(|target| { (0..10).any(|_| client.request("GET", target, &[]).status == 429) })
    );
}

#[test]
fn readers_that_stand_still_keep_nobody_out() {
    let setup = setup().asset("a.txt", b"hello").asset("large", &crate::fixtures::noise(16 << 20, 7));
    let server = setup.edge("  ingress: {max_inflight: 4}\n").start();
    let slow: Vec<_> = (0..4)
        .map(|_| {
            let mut client = server.client();
            client.send(b"GET /edge/assets/site/large HTTP/1.1\r\nHost: edge.test\r\n\r\n");
            client
        })
        .collect();
    server.eventually("all are being answered", || server.metric("edge_inflight") == 4.0);
    // They have every place until they count as slow, a second later; long before they are cut.
    server.eventually("answered", || server.get(A, &[]).status == 200);
    server.eventually("they are still being answered", || server.metric("edge_inflight") == 4.0);
    drop(slow);
    server.eventually("none", || server.metric("edge_inflight") == 0.0);
}
