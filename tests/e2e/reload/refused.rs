//! A conf that is wrong changes nothing, and says what is wrong with it.

use std::time::Instant;

use super::*;

/// The conf is refused, and its fault told in a line that holds each of `parts`.
fn refused(server: &Server, count: usize, parts: &[&str]) {
    server.claim("conf_refused");
    let before = server.metric("conf_last_reload_success");
    assert!(!hang_up(server), "it was taken");
    server.counts("conf_last_reload_success", before);
    let told = line(server, "conf_refused", count);
    let cause = told["cause"].as_str().unwrap();
    assert_eq!(told["level"], "error");
    parts.iter().for_each(|part| assert!(cause.contains(part), "no {part} in {cause}"));
}

#[test]
fn every_fault_is_named_with_its_place_and_the_old_conf_stays() {
    let server = setup().asset("a", b"asset").edge("  http: {cache_control: one}\n").start();
    let text = std::fs::read_to_string(&server.conf).unwrap();
    rewrite(&server, "cache_control: one", "cache_control: two");
    rewrite(&server, "  metrics:", "  metrix: 1\n  mode: sometimes\n  metrics:");
    let conf = server.conf.display();
    let parts = [
        format!("{conf}:4:3: unknown key `edge.metrix` (did you mean `edge.metrics`?)"),
        format!("{conf}:5:9: `edge.mode`: `sometimes` is not known"),
    ];
    refused(&server, 1, &parts.each_ref().map(String::as_str));
    assert_eq!(server.get("/edge/assets/site/a", &[]).header("cache-control"), Some("one"));
    std::fs::remove_file(&server.conf).unwrap();
    refused(&server, 2, &["cannot be read: No such file"]);
    std::fs::write(&server.conf, b"edge: \xff").unwrap();
    refused(&server, 3, &["not UTF-8"]);
    assert_eq!(server.get("/edge/assets/site/a", &[]).header("cache-control"), Some("one"));
    // Mended, it is taken.
    std::fs::write(&server.conf, text.replace("cache_control: one", "cache_control: two")).unwrap();
    assert!(hang_up(&server));
    assert_eq!(server.get("/edge/assets/site/a", &[]).header("cache-control"), Some("two"));
    server.counts("conf_reloads_total{result=\"refused\"}", 3.0);
}

#[test]
fn one_bad_pack_refuses_everything_else_too() {
    let server = setup().pack("tile", &sample("tile.pmtiles"), "").edge("  http: {cache_control: one}\n").start();
    let bad = server.dir.path().join("bad.pmtiles");
    std::fs::write(&bad, b"PMTiles, or not").unwrap();
    let added = format!(
        "  packs:\n    - {{path: {}, name: good}}\n    - {{path: {}}}\n",
        sample("raster.pmtiles").display(),
        bad.display()
    );
    rewrite(&server, "cache_control: one", "cache_control: two");
    rewrite(&server, "  packs:\n", &added);
    refused(&server, 1, &["edge.packs: ", "bad.pmtiles"]);
    let tile = server.get("/edge/assets/tile/0/0/0.mvt", &[]);
    assert_eq!((tile.status, tile.header("cache-control")), (200, Some("one")));
    assert_eq!(server.get("/edge/assets/good.json", &[]).status, 404);
    assert_eq!(server.logged("pack_mounted").len(), 1, "what was opened in vain is told nobody");
    assert_eq!(server.admin("/readyz").status, 200);
    rewrite(&server, &format!("    - {{path: {}}}\n", bad.display()), "");
    assert!(hang_up(&server));
    assert_eq!(server.get("/edge/assets/good.json", &[]).header("cache-control"), Some("two"));
}

#[test]
fn many_signals_at_once_end_with_the_last_conf() {
    let server = setup().asset("a", b"asset").edge("  http: {cache_control: n-0}\n").start();
    for n in 0..30 {
        rewrite(&server, &format!("n-{n}}}"), &format!("n-{}}}", n + 1));
        server.signal("HUP");
    }
    server.eventually("the last", || server.get("/edge/assets/site/a", &[]).header("cache-control") == Some("n-30"));
    assert!(server.total("conf_reloads_total") <= 30.0);
}

#[test]
fn a_reload_that_hangs_holds_up_neither_requests_nor_the_stop() {
    let mut server = setup().asset("a", b"asset").start();
    // Whoever opens it for reading waits for a writer.
    std::fs::remove_file(&server.conf).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&server.conf).status().unwrap().success());
    server.signal("HUP");
    server.signal("HUP");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(server.get("/edge/assets/site/a", &[]).status, 200);
    assert_eq!(server.total("conf_reloads_total"), 0.0);
    let since = Instant::now();
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
}
