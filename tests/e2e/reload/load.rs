//! Reloads while clients ask, and many of them: nobody notices, and nothing is left behind.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use svc_edge_origin::Origin;

use super::*;
use crate::http::Client;

#[test]
fn clients_see_only_good_answers_across_twenty_reloads() {
    let origin = Origin::start();
    origin.fallback(|request| text(&format!("of {}", request.target)));
    let server = live_with(&origin, "", FILL)
        .pack("tile", &sample("tile.pmtiles"), "")
        .edge("  http: {cache_control: max-age=0}\n")
        .unlimited()
        .start();
    let (stop, asked, newest) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            let (stop, asked, newest, address) = (&stop, &asked, &newest, server.address);
            scope.spawn(move || {
                let mut client = Client::connect(address);
                for n in (0..).take_while(|_| !stop.load(Relaxed)) {
                    let before = newest.load(Relaxed);
                    let tile = client.request("GET", "/edge/assets/tile/0/0/0.mvt", &[]);
                    let age: usize = tile.header("cache-control").unwrap()["max-age=".len()..].parse().unwrap();
                    assert!(tile.status == 200 && age >= before, "{age}, after a reload to {before}");
                    let name = format!("{thread}-{}", n % 50);
                    let filled = Client::connect(address).fetch("GET", &asset(&name), &[]).unwrap();
                    assert_eq!((filled.status, filled.text()), (200, format!("of /s/{name}")));
                    asked.fetch_add(2, Relaxed);
                }
            });
        }
        let reloads = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for n in 0..20 {
                // Every second one has other fills, too.
                if n % 2 == 0 {
                    rewrite(&server, FILL, &format!("{FILL}, queue: {}", 600 + n));
                } else {
                    rewrite(&server, &format!("{FILL}, queue: {}", 599 + n), FILL);
                }
                reload(&server, &format!("max-age={n}}}"), &format!("max-age={}}}", n + 1));
                newest.store(n + 1, Relaxed);
                let so_far = asked.load(Relaxed);
                server.eventually("asked", || asked.load(Relaxed) > so_far + 20);
            }
        }));
        stop.store(true, Relaxed);
        reloads.unwrap();
    });
    server.counts("conf_reloads_total{result=\"ok\"}", 20.0);
    let wanted = server.total("http_requests_total");
    assert!(wanted >= asked.load(Relaxed) as f64);
}

#[test]
fn two_hundred_reloads_leave_nothing_behind() {
    let origin = Origin::start();
    // What lies in the pool of a connector that is gone stays there for its idle time of half a minute.
    origin.fallback(|_| text("filled").header("Connection", "close").close());
    let server = live_with(&origin, "", FILL).pack("tile", &sample("tile.pmtiles"), "").start();
    let of_process = |what: &str| std::fs::read_dir(format!("/proc/{}/{what}", server.pid())).unwrap().count();
    let added = format!("  packs:\n    - {{path: {}, name: raster}}\n", sample("raster.pmtiles").display());
    let round = |n: u32| {
        if n.is_multiple_of(2) {
            rewrite(&server, "  packs:\n", &added);
            reload(&server, FILL, &format!("{FILL}, queue: 600"));
        } else {
            rewrite(&server, &added, "  packs:\n");
            reload(&server, &format!("{FILL}, queue: 600"), FILL);
        }
        assert_eq!(get(&server, &format!("n-{n}"), &[]).text(), "filled");
        assert_eq!(server.get("/edge/assets/tile/0/0/0.mvt", &[]).status, 200);
        let raster = if n.is_multiple_of(2) { 206 } else { 404 };
        assert_eq!(server.get("/edge/assets/raster.pmtiles", &[("Range", "bytes=0-6")]).status, raster);
    };
    let settled = || {
        // What was replaced ends a moment after its last request.
        std::thread::sleep(Duration::from_millis(500));
        (of_process("fd"), of_process("task"), server.rss())
    };
    (0..20).for_each(round);
    let (files, threads, rss) = settled();
    (20..200).for_each(round);
    let (files_after, threads_after, rss_after) = settled();
    assert!(files_after <= files + 8, "{files} files, then {files_after}");
    assert!(threads_after <= threads + 8, "{threads} threads, then {threads_after}");
    assert!(rss_after <= rss + (24 << 20), "{rss} bytes, then {rss_after}");
}
