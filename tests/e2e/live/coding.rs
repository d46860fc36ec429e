//! Content codings of an origin: passed through, or decoded within bounds.

use svc_edge_origin::{Origin, Script};

use super::*;
use crate::fixtures::{brotli, gunzip, gzip, tag, unbrotli, unzstd, zstd};

type Codec = fn(&[u8]) -> Vec<u8>;

/// Each coding with how to make and to undo it.
const CODINGS: [(&str, Codec, Codec); 3] = [("gzip", gzip, gunzip), ("br", brotli, unbrotli), ("zstd", zstd, unzstd)];

/// Text that shrinks to about half.
fn plain() -> Vec<u8> {
    let noise = crate::fixtures::noise(20_000, 9);
    noise.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

fn coded(coding: &str, bytes: &[u8]) -> Script {
    let script = Script::fresh(60).header("Content-Encoding", coding).header("Content-Type", "text/plain");
    script.header("Vary", "Accept-Encoding").body(bytes)
}

#[test]
fn a_coding_passes_through_to_who_accepts_it_and_is_decoded_for_who_does_not() {
    for (coding, encode, decode) in CODINGS {
        let (origin, plain) = (Origin::start(), plain());
        let bytes = encode(&plain);
        origin.route("/s/a", coded(coding, &bytes));
        let server = live(&origin);
        // Once as misses, once as hits.
        for round in 0..2 {
            let name = if round == 0 { "miss" } else { "hit" };
            let as_is = get(&server, "a", &[("Accept-Encoding", coding)]);
            assert_eq!(as_is.header("content-encoding"), Some(coding), "{name}: {as_is:?}");
            assert!(as_is.body == bytes && decode(&as_is.body) == plain, "{name} {coding}");
            server.eventually("committed", || server.metric("edge_cas_objects") == 1.0);
            let identity = get(&server, "a", &[("Accept-Encoding", "identity")]);
            assert_eq!(identity.header("content-encoding"), None, "{name}: {identity:?}");
            assert!(identity.body == plain, "{name} {coding}");
            for answer in [as_is, identity] {
                assert_eq!(answer.list("vary"), ["Accept-Encoding"], "{name} {coding}");
            }
        }
        assert_eq!(get(&server, "a", &[("Accept-Encoding", coding)]).header("etag"), Some(tag(&bytes).as_str()));
        assert_eq!(get(&server, "a", &[]).header("etag"), Some(tag(&plain).as_str()));
        let requests = origin.requests("/s/a");
        assert_eq!(requests.len(), 1, "{coding}: one fill serves both");
        assert!(
            requests[0].list("accept-encoding").iter().any(|item| item.starts_with(coding)),
            "{}",
            requests[0].head()
        );
    }
}

#[test]
fn the_first_reader_of_a_coded_body_gets_what_it_accepts() {
    for (coding, encode, _) in CODINGS {
        let (origin, plain) = (Origin::start(), plain());
        origin.route("/s/a", coded(coding, &encode(&plain)));
        let server = live(&origin);
        let first = get(&server, "a", &[("Accept-Encoding", "identity")]);
        assert_eq!((first.status, first.header("content-encoding")), (200, None), "{coding}: {first:?}");
        assert!(first.body == plain, "{coding}");
    }
}

#[test]
fn a_bomb_is_never_decoded_beyond_its_bounds() {
    let zeros = vec![0; 32 << 20];
    for (coding, encode, _) in CODINGS {
        let (origin, bomb) = (Origin::start(), encode(&zeros));
        origin.route("/s/a", coded(coding, &bomb));
        let server = live(&origin);
        claim_faults(&server);
        let before = server.rss();
        let first = server.client().fetch("GET", &asset("a"), &[("Accept-Encoding", "identity")]);
        if let Ok(answer) = first {
            assert_refused(&answer, 502, "decompress_cap");
        }
        // Whoever takes it as it is may have it.
        let as_is = get(&server, "a", &[("Accept-Encoding", coding)]);
        assert!(as_is.body == bomb, "{coding}");
        server.eventually("committed", || server.metric("edge_cas_objects") == 1.0);
        assert_refused(&get(&server, "a", &[("Accept-Encoding", "identity")]), 502, "decompress_cap");
        let more = server.peak_rss().saturating_sub(before);
        assert!(more < 48 << 20, "{coding}: {more} bytes more than before");
    }
}

#[test]
fn what_claims_a_coding_that_it_is_not_in_is_never_passed_on_as_decoded() {
    for (coding, ..) in CODINGS {
        let origin = Origin::start();
        origin.route("/s/a", coded(coding, b"this is in no coding at all"));
        let server = live(&origin);
        claim_faults(&server);
        let answer = server.client().fetch("GET", &asset("a"), &[("Accept-Encoding", "identity")]);
        assert!(answer.is_err() || answer.as_ref().is_ok_and(|answer| answer.status == 502), "{coding}: {answer:?}");
    }
}

#[test]
fn a_coding_that_we_do_not_know_is_passed_on_untouched() {
    let origin = Origin::start();
    origin.route("/s/a", coded("x-own", b"anything"));
    let server = live(&origin);
    let answer = get(&server, "a", &[("Accept-Encoding", "gzip")]);
    assert_eq!((answer.status, answer.header("content-encoding")), (200, Some("x-own")));
    assert_eq!(answer.body, b"anything");
}

#[test]
fn what_may_not_be_transformed_keeps_its_coding_even_for_who_does_not_take_it() {
    for (coding, encode, _) in CODINGS {
        let (origin, bytes) = (Origin::start(), encode(&plain()));
        let script = Script::status(200).cache_control("max-age=60, no-transform").header("Content-Encoding", coding);
        origin.route("/s/a", script.header("Content-Type", "text/plain").body(&bytes));
        let server = live(&origin);
        // A miss, and hits from the store and from memory.
        for round in 0..3 {
            for accepted in ["identity", "identity;q=1, *;q=0", coding] {
                let answer = get(&server, "a", &[("Accept-Encoding", accepted)]);
                assert_eq!(answer.header("content-encoding"), Some(coding), "{round} {accepted}: {answer:?}");
                assert!(answer.body == bytes, "{round} {coding} for {accepted}");
                assert_eq!(answer.header("cache-control"), Some("max-age=60, no-transform"));
            }
            server.eventually("stored", || server.metric("edge_cas_objects") == 1.0);
        }
        assert_eq!(get(&server, "a", &[]).header("etag"), Some(tag(&bytes).as_str()));
        assert_eq!(origin.requests("/s/a").len(), 1);
    }
}
