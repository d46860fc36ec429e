//! What another process purges is asked for anew.

use std::time::{Duration, Instant};

use svc_edge_origin::Origin;

use super::*;

#[test]
fn a_purge_by_another_process_shows_within_three_seconds() {
    let origin = Origin::start();
    origin.fallback(|request| text(&request.target));
    let server = live(&origin);
    let names = ["a", "deep/b", "deep/c"];
    for name in names {
        get(&server, name, &[]);
        await_stored(&server, name);
    }
    let gone = |name: &str| {
        let since = Instant::now();
        server.eventually("purged", || stored(&server, name, &[]).is_none());
        assert!(since.elapsed() < Duration::from_secs(3), "{name}: {:?}", since.elapsed());
    };
    server.command(&["cas", "purge", "live/a"]);
    gone("a");
    assert!(stored(&server, "deep/b", &[]).is_some());
    server.command(&["cas", "purge", "--prefix", "live/deep"]);
    gone("deep/b");
    gone("deep/c");
    assert_eq!(origin.all_requests().len(), 3);
    assert!(says(&get(&server, "a", &[]), "fwd=miss"));
    assert_eq!(await_stored(&server, "a").text(), "/s/a");
}

#[test]
fn a_purge_of_a_path_takes_its_variants_along() {
    let origin = Origin::start();
    origin.answer("/s/a", |request| {
        text(request.header("accept-language").unwrap_or("none")).header("Vary", "Accept-Language")
    });
    let server = live(&origin);
    for language in ["de", "fr"] {
        let headers = [("Accept-Language", language)];
        get(&server, "a", &headers);
        server.eventually("stored", || stored(&server, "a", &headers).is_some());
    }
    server.command(&["cas", "purge", "live/a"]);
    for language in ["de", "fr"] {
        server.eventually("purged", || stored(&server, "a", &[("Accept-Language", language)]).is_none());
    }
}
