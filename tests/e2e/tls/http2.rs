//! HTTP/2 over TLS: everything that HTTP/1.1 answers, in the same words.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, StatusCode, Version};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use svc_edge_origin::{Gate, Origin, Script, pattern};

use super::*;
use crate::authority::Authority;
use crate::fixtures::{noise, sample};
use crate::server::{Server, setup};

/// A whole answer.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Do something asynchronous in a test, bounded in time.
fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), work).await.expect("done within a minute") })
}

/// A connection of HTTP/2, as `builder` has it.
async fn h2(address: SocketAddr, config: Arc<ClientConfig>, builder: &mut Builder) -> SendRequest<Bytes> {
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(HOST).unwrap();
    let stream = tokio_rustls::TlsConnector::from(config).connect(name, socket).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (requests, connection) = builder.handshake(stream).await.unwrap();
    tokio::spawn(connection);
    requests
}

async fn connected(server: &Server, authority: &Authority) -> SendRequest<Bytes> {
    h2(server.address, client(authority, &VERSIONS, &["h2"]), &mut Builder::new()).await
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let uri = format!("https://{HOST}{path}");
    let request = Request::builder().method(method).uri(uri).version(Version::HTTP_2);
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(()).unwrap()
}

/// Ask, and read the head of the answer.
async fn ask(
    requests: &SendRequest<Bytes>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<(StatusCode, HeaderMap, RecvStream), h2::Error> {
    let mut requests = requests.clone().ready().await?;
    let (response, _) = requests.send_request(request(method, path, headers), true)?;
    let (head, body) = response.await?.into_parts();
    Ok((head.status, head.headers, body))
}

async fn read(mut body: RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        bytes.extend_from_slice(&piece);
    }
    assert!(body.trailers().await?.is_none());
    Ok(bytes)
}

async fn fetch(requests: &SendRequest<Bytes>, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let (status, headers, body) = ask(requests, method, path, headers).await.unwrap();
    Answer { status, headers, body: read(body).await.unwrap() }
}

/// Fields by name, but for those that differ from answer to answer, and those that HTTP/1.1 has of its connection.
fn comparable(headers: impl Iterator<Item = (String, String)>) -> BTreeMap<String, Vec<String>> {
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        if !["date", "x-corr-id", "connection", "keep-alive", "retry-after", "transfer-encoding"].contains(&&*name) {
            fields.entry(name).or_default().push(value);
        }
    }
    fields
}

/// A server with assets of all lengths, a pack and an origin, in live mode.
fn full(origin: &Origin) -> (Server, Authority) {
    let live = format!(
        "  mode: live\n  fill: {{retry: {{base: 10ms, max: 50ms}}}}\n  origins:\n    - {{prefix: live/, url: \"{}\", allow_private: true, pass: true}}\n",
        origin.url("/s/")
    );
    let setup = setup().asset("a.txt", b"hello").asset("empty", b"").asset("big", &noise(3 << 20, 1));
    let (setup, authority, _) = secure(setup.pack("tile", &sample("tile.pmtiles"), "").edge(&live));
    let server = setup.start();
    for event in ["fill_failed", "origin", "pingora", "fill"] {
        server.claim(event);
    }
    (server, authority)
}

#[test]
fn both_versions_of_http_answer_alike() {
    let origin = Origin::start();
    origin.route("/s/a", Script::fresh(60).header("X-Origin", "yes").body(b"hello"));
    origin.route("/s/chunked", Script::fresh(60).chunked().pattern(100_000));
    origin.route("/s/cut", Script::garbage(b"nonsense\r\n\r\n"));
    origin.route("/s/post", Script::status(201).chunked().body(b"made"));
    origin.route("/s/missing", Script::status(404).cache_control("max-age=60").body(b"no"));
    let (server, authority) = full(&origin);
    let cases: &[(&str, &str, &[(&str, &str)], u16)] = &[
        ("GET", "/edge/assets/site/a.txt", &[], 200),
        ("HEAD", "/edge/assets/site/a.txt", &[], 200),
        ("GET", "/edge/assets/site/a.txt?x=1", &[], 200),
        ("GET", "/edge/assets/site/empty", &[], 200),
        ("GET", "/edge/assets/site/big", &[], 200),
        ("HEAD", "/edge/assets/site/big", &[], 200),
        ("GET", "/edge/assets/site/big", &[("range", "bytes=1000000-2000000")], 206),
        ("HEAD", "/edge/assets/site/big", &[("range", "bytes=0-9")], 200),
        ("GET", "/edge/assets/site/big", &[("range", "bytes=99999999-")], 416),
        ("GET", "/edge/assets/site/a.txt", &[("if-none-match", "*")], 304),
        ("GET", "/edge/assets/site/a.txt", &[("if-match", "\"no\"")], 412),
        ("GET", "/edge/assets/site/a.txt", &[("want-repr-digest", "sha-256=1")], 200),
        ("GET", "/edge/assets/tile.json", &[], 200),
        ("GET", "/edge/assets/tile/0/0/0", &[("accept-encoding", "gzip")], 200),
        ("GET", "/edge/assets/tile/0/0/0", &[("accept-encoding", "identity")], 200),
        ("GET", "/edge/assets/tile/99/0/0", &[], 404),
        ("GET", "/edge/assets/tile.pmtiles", &[("range", "bytes=0-126")], 206),
        (
            "OPTIONS",
            "/edge/assets/site/a.txt",
            &[("access-control-request-method", "GET"), ("origin", "https://a.example")],
            204,
        ),
        ("OPTIONS", "*", &[], 204),
        ("DELETE", "/edge/assets/site/a.txt", &[], 405),
        ("GET", "/edge/assets/a%00b", &[], 400),
        ("GET", "/nothing", &[], 404),
        ("GET", "/healthz", &[], 200),
        ("GET", "/edge/assets/live/a", &[], 200),
        ("GET", "/edge/assets/live/chunked", &[], 200),
        ("GET", "/edge/assets/live/missing", &[], 404),
        ("GET", "/edge/assets/live/cut", &[], 502),
        ("POST", "/edge/assets/live/post", &[("content-length", "0")], 201),
    ];
    // What is filled once is a hit for both.
    for name in ["a", "chunked", "missing"] {
        let fetched = browser(&server, &authority).fetch("GET", &format!("/edge/assets/live/{name}"), &[]).unwrap();
        assert!(fetched.status < 500);
        server.eventually("stored", || {
            let target = format!("/edge/assets/live/{name}");
            let stored = browser(&server, &authority).fetch("GET", &target, &[("Cache-Control", "only-if-cached")]);
            stored.is_ok_and(|stored| stored.status != 504)
        });
    }
    run(async {
        let requests = connected(&server, &authority).await;
        for (method, path, headers, status) in cases {
            let two = match *path {
                // The asterisk form has no place in a URI of the client's library.
                "*" => continue,
                path => fetch(&requests, method, path, headers).await,
            };
            let one =
                tokio::task::block_in_place(|| browser(&server, &authority).fetch(method, path, headers)).unwrap();
            let what = format!("{method} {path} {headers:?}");
            assert_eq!((one.status, two.status.as_u16()), (*status, *status), "{what}");
            let (mut one_headers, two_headers) = (
                comparable(one.headers.clone().into_iter()),
                comparable(
                    two.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())),
                ),
            );
            // A problem document has the request's id in it, of a length that is always the same.
            let problem = one.header("content-type") == Some("application/problem+json");
            if one.header("transfer-encoding").is_some() {
                one_headers.remove("content-length");
            }
            // How long it is still fresh may be a second less.
            for headers in [&mut one_headers, &mut { two_headers.clone() }] {
                headers.remove("cache-status");
                headers.remove("age");
            }
            let mut two_headers = two_headers;
            two_headers.remove("cache-status");
            two_headers.remove("age");
            assert_eq!(one_headers, two_headers, "{what}");
            assert!(problem || one.body == two.body, "{what}: {} and {} bytes", one.body.len(), two.body.len());
            for name in ["connection", "keep-alive", "transfer-encoding", "upgrade", "proxy-connection"] {
                assert!(!two.headers.contains_key(name), "{what}: {name} is of HTTP/1.1");
            }
            if let (Some(length), false) = (two.headers.get("content-length"), *method == "HEAD" || *status == 304) {
                assert_eq!(length.to_str().unwrap().parse::<usize>().unwrap(), two.body.len(), "{what}");
            }
        }
    });
}

#[test]
fn a_hundred_streams_at_once_get_each_its_own_bytes() {
    let origin = Origin::start();
    let (server, authority) = full(&origin);
    origin.fallback(|_| Script::fresh(60).pattern(200_000));
    let big = noise(3 << 20, 1);
    run(async {
        let requests = connected(&server, &authority).await;
        let streams = (0..100_usize).map(|number| {
            let (requests, big) = (requests.clone(), big.clone());
            tokio::spawn(async move {
                let (from, to) = (number * 20_011, number * 20_011 + 500_000 + number);
                if number % 4 == 3 {
                    let path = format!("/edge/assets/live/{}", number % 8);
                    let answer = fetch(&requests, "GET", &path, &[]).await;
                    assert!(answer.status == 200 && answer.body.len() == 200_000 && pattern::is_at(0, &answer.body));
                    return;
                }
                let range = format!("bytes={from}-{to}");
                let answer = fetch(&requests, "GET", "/edge/assets/site/big", &[("range", &range)]).await;
                assert_eq!(answer.status, 206);
                assert!(answer.body == big[from..=to], "{number}: {range}");
            })
        });
        for stream in streams.collect::<Vec<_>>() {
            stream.await.unwrap();
        }
    });
    server.eventually("nothing in flight", || server.metric("edge_inflight") == 0.0);
}

#[test]
fn a_stream_that_is_not_read_holds_no_other_up() {
    let origin = Origin::start();
    let (server, authority) = full(&origin);
    let big = noise(3 << 20, 1);
    run(async {
        // Each stream has little room, the connection much.
        let mut builder = Builder::new();
        builder.initial_window_size(20_000).initial_connection_window_size(1 << 20);
        let requests = h2(server.address, client(&authority, &VERSIONS, &["h2"]), &mut builder).await;
        let mut idle = Vec::new();
        for _ in 0..20 {
            let (status, _, body) = ask(&requests, "GET", "/edge/assets/site/big", &[]).await.unwrap();
            assert_eq!(status, 200);
            idle.push(body);
        }
        for _ in 0..3 {
            assert!(fetch(&requests, "GET", "/edge/assets/site/big", &[]).await.body == big);
            assert_eq!(fetch(&requests, "GET", "/edge/assets/site/a.txt", &[]).await.body, b"hello");
        }
        // One that is read after all is whole.
        assert!(read(idle.pop().unwrap()).await.unwrap() == big);
    });
    server.eventually("nothing in flight", || server.metric("edge_inflight") == 0.0);
}

#[test]
fn a_body_that_breaks_off_is_a_reset_and_never_an_end() {
    let origin = Origin::start();
    let (server, authority) = full(&origin);
    server.claim("body_cut");
    server.claim("timeout");
    let scripts = [
        ("short", Script::fresh(60).pattern(1000).content_length(5000).close()),
        ("reset", Script::fresh(60).pattern(100_000).content_length(500_000).reset()),
        ("chunk", Script::fresh(60).chunked_without_end().pattern(3000)),
    ];
    for (name, script) in scripts {
        origin.route(&format!("/s/{name}"), script);
    }
    run(async {
        let requests = connected(&server, &authority).await;
        for name in ["short", "reset", "chunk"] {
            let path = format!("/edge/assets/live/{name}");
            match ask(&requests, "GET", &path, &[]).await {
                Ok((status, _, body)) if status == 200 => {
                    let cut = read(body).await.expect_err("what broke off must not end");
                    assert!(cut.is_reset() && cut.reason() == Some(Reason::INTERNAL_ERROR), "{name}: {cut:?}");
                }
                Ok((status, ..)) => assert_eq!(status, 502, "{name}: refused before its first byte"),
                Err(error) => assert!(error.is_reset(), "{name}: {error:?}"),
            }
            // The connection is as good as before.
            assert_eq!(fetch(&requests, "GET", "/edge/assets/site/a.txt", &[]).await.body, b"hello");
        }
    });
}

#[test]
fn bytes_that_are_not_the_pinned_ones_reach_nobody() {
    let origin = Origin::start();
    origin.route("/s/a", Script::fresh(60).pattern(300_000));
    let (setup, authority, _) = secure(setup());
    let (dir, lock) = (setup.dir.path().join("cas"), setup.dir.path().join("assets.lock"));
    std::fs::write(&lock, format!("{}  live/a\n", blake3::hash(b"hello").to_hex())).unwrap();
    let conf = format!(
        "  mode: live\n  cas: {{dir: {}, lock: {}}}\n  origins:\n    - {{prefix: live/, url: \"{}\", allow_private: true}}\n",
        dir.display(),
        lock.display(),
        origin.url("/s/")
    );
    let server = setup.edge(&conf).start();
    for event in ["corrupt", "pin_mismatch", "fill_failed", "fill"] {
        server.claim(event);
    }
    run(async {
        let requests = connected(&server, &authority).await;
        for headers in [&[][..], &[("range", "bytes=0-9")]] {
            let answer = fetch(&requests, "GET", "/edge/assets/live/a", headers).await;
            assert_eq!((answer.status.as_u16(), &answer.headers["x-reason"]), (502, &"corrupt".parse().unwrap()));
        }
    });
}

#[test]
fn a_blob_that_turns_out_corrupt_in_the_middle_of_its_body_is_a_reset() {
    let (setup, authority, _) = secure(setup().asset("big", &noise(2 << 20, 9)).asset("a", b"hello"));
    let cas = setup.dir.path().join("cas");
    let server = setup.start();
    for event in ["corrupt", "blob_quarantined", "body_cut", "message"] {
        server.claim(event);
    }
    let hash = blake3::hash(&noise(2 << 20, 9)).to_hex().to_string();
    let blob = cas.join("b3").join(&hash[..2]).join(&hash);
    let mut bytes = std::fs::read(&blob).unwrap();
    let at = bytes.len() - 1000;
    bytes[at] ^= 1;
    std::fs::remove_file(&blob).unwrap();
    std::fs::write(&blob, &bytes).unwrap();
    run(async {
        let requests = connected(&server, &authority).await;
        let answer = ask(&requests, "GET", "/edge/assets/site/big", &[]).await;
        match answer {
            Ok((status, _, body)) if status == 200 => assert!(read(body).await.unwrap_err().is_reset()),
            Ok((status, ..)) => assert_eq!(status, 502),
            Err(error) => panic!("{error:?}"),
        }
        assert_eq!(fetch(&requests, "GET", "/edge/assets/site/a", &[]).await.body, b"hello");
    });
}

#[test]
fn a_body_that_nobody_asked_for_is_read_away_and_the_connection_goes_on() {
    let origin = Origin::start();
    let (server, authority) = full(&origin);
    run(async {
        let requests = connected(&server, &authority).await;
        for (length, status) in [(0, 200), (1000, 200), (60_000, 200), (200_000, 413)] {
            let mut ready = requests.clone().ready().await.unwrap();
            let (response, mut body) =
                ready.send_request(request("GET", "/edge/assets/site/a.txt", &[]), false).unwrap();
            body.send_data(vec![7; length].into(), true).unwrap();
            let answer = response.await.unwrap();
            assert_eq!(answer.status(), status, "{length}");
        }
        assert_eq!(fetch(&requests, "GET", "/edge/assets/site/a.txt", &[]).await.body, b"hello");
    });
}

#[test]
fn a_client_that_resets_its_streams_leaves_nothing_behind() {
    let origin = Origin::start();
    let (server, authority) = full(&origin);
    origin.route("/s/slow", Script::fresh(60).pattern(1000).content_length(5000).stall(Duration::from_secs(2)));
    for event in ["timeout", "body_cut"] {
        server.claim(event);
    }
    run(async {
        let requests = connected(&server, &authority).await;
        for round in 0..40 {
            let path = if round % 2 == 0 { "/edge/assets/site/big" } else { "/edge/assets/live/slow" };
            let (_, _, body) = ask(&requests, "GET", path, &[]).await.unwrap();
            drop(body);
        }
        // And before there is an answer: of some the reset is there before their turn. Many on one connection would be its end.
        for _ in 0..20 {
            let requests = connected(&server, &authority).await;
            for _ in 0..10 {
                let mut ready = requests.clone().ready().await.unwrap();
                let ask = request("GET", "/edge/assets/site/a.txt", &[]);
                let (_, mut stream) = ready.send_request(ask, false).unwrap();
                stream.send_reset(Reason::CANCEL);
            }
        }
        assert_eq!(fetch(&requests, "GET", "/edge/assets/site/a.txt", &[]).await.body, b"hello");
    });
    server.eventually("nothing in flight", || server.metric("edge_inflight") == 0.0);
}

#[test]
fn a_stream_that_is_reset_while_the_origin_is_silent_is_missed_at_once() {
    let (origin, gate) = (Origin::start(), Gate::new());
    origin.route("/s/a", Script::fresh(60).pattern(1000).wait(&gate).pattern(1000));
    origin.route("/s/b", Script::status(200).cache_control("no-store").pattern(1000).wait(&gate).pattern(1000));
    let live = format!(
        "  mode: live\n  fill: {{read_timeout: 60s}}\n  origins:\n    - {{prefix: live/, url: \"{}\", allow_private: true}}\n",
        origin.url("/s/")
    );
    let (setup, authority, _) = secure(setup().edge(&live));
    let server = setup.start();
    run(async {
        let requests = connected(&server, &authority).await;
        for path in ["/edge/assets/live/a", "/edge/assets/live/b"] {
            let (status, _, body) = ask(&requests, "GET", path, &[]).await.unwrap();
            assert_eq!(status, 200);
            drop(body);
        }
        // The connection goes on.
        assert_eq!(fetch(&requests, "GET", "/healthz", &[]).await.status, 200);
        tokio::task::block_in_place(|| server.eventually("missed", || server.metric("edge_inflight") == 0.0));
    });
    gate.open();
}
