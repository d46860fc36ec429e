//! What a reload changes of what is served, and what it leaves to an upgrade.

use super::*;

#[test]
fn a_changed_cache_control_shows_on_an_object_that_was_hot() {
    let server = setup()
        .pack("tile", &sample("tile.pmtiles"), "")
        .asset("a", b"asset")
        .edge("  http: {cache_control: \"max-age=1\"}\n")
        .start();
    let paths = ["/edge/assets/tile/0/0/0.mvt", "/edge/assets/site/a", "/edge/assets/tile.json"];
    let mut kept = server.client();
    for _ in 0..3 {
        paths.iter().for_each(|path| assert_eq!(server.get(path, &[]).header("cache-control"), Some("max-age=1")));
    }
    kept.request("GET", paths[0], &[]);
    reload(&server, "max-age=1", "max-age=2");
    for _ in 0..3 {
        for path in paths {
            assert_eq!(server.get(path, &[]).header("cache-control"), Some("max-age=2"), "{path}");
            assert_eq!(kept.request("GET", path, &[]).header("cache-control"), Some("max-age=2"), "{path}");
        }
    }
    let told = line(&server, "conf_reloaded", 1);
    assert_eq!((&told["changed"], &told["needs_upgrade"]), (&"edge.http.cache_control".into(), &"".into()));
}

#[test]
fn the_rest_of_what_an_answer_shows_changes_as_well() {
    let yaml = "  public_url: https://old.example\n  http: {cors: {allow_origins: [\"https://old.example\"]}}\n";
    let server = setup().pack("tile", &sample("tile.pmtiles"), "").edge(yaml).start();
    let shown = |host: &str| {
        let json = server.get("/edge/assets/tile.json", &[("Origin", &format!("https://{host}"))]);
        assert_eq!(json.header("access-control-allow-origin"), Some(format!("https://{host}").as_str()));
        assert!(json.text().contains(&format!("https://{host}/edge/assets/tile/")), "{}", json.text());
    };
    shown("old.example");
    shown("old.example");
    reload(&server, "old.example", "new.example");
    shown("new.example");
    let old = server.get("/edge/assets/tile.json", &[("Origin", "https://old.example")]);
    assert_eq!(old.header("access-control-allow-origin"), None);
}

#[test]
fn a_pack_is_added_and_removed_and_the_others_keep_their_tags() {
    let server = setup().pack("tile", &sample("tile.pmtiles"), "").start();
    let tag = |path: &str| server.get(path, &[]).header("etag").map(str::to_owned);
    let archive = tag("/edge/assets/tile.pmtiles");
    assert_eq!(server.get("/edge/assets/raster.pmtiles", &[("Range", "bytes=0-6")]).status, 404);
    let raster = sample("raster.pmtiles");
    reload(&server, "  packs:\n", &format!("  packs:\n    - {{path: {}, name: raster}}\n", raster.display()));
    assert_eq!(server.get("/edge/assets/raster.pmtiles", &[("Range", "bytes=0-6")]).body, b"PMTiles");
    assert_eq!(tag("/edge/assets/tile.pmtiles"), archive);
    server.eventually("mounted", || server.logged("pack_mounted").len() == 2);
    // Who is being answered from it is answered to the end.
    let mut reader = server.client();
    reader.ask("GET", "/edge/assets/raster.pmtiles", &[]);
    reader.head().unwrap();
    reload(&server, &format!("    - {{path: {}, name: raster}}\n", raster.display()), "");
    assert_eq!(reader.rest().unwrap(), std::fs::read(&raster).unwrap());
    assert_eq!(server.get("/edge/assets/raster.pmtiles", &[("Range", "bytes=0-6")]).status, 404);
    assert_eq!(server.get("/edge/assets/raster.json", &[]).status, 404);
    assert_eq!(line(&server, "pack_unmounted", 1)["pack"], "raster");
    assert_eq!(tag("/edge/assets/tile.pmtiles"), archive);
    assert_eq!(server.logged("pack_mounted").len(), 2, "what is unchanged is not mounted again");
}

#[test]
fn a_pack_under_other_options_keeps_its_tag_and_shows_them() {
    let server = setup().pack("tile", &sample("tile.pmtiles"), ", cache_control: old").start();
    let before = server.get("/edge/assets/tile.pmtiles", &[("Range", "bytes=0-6")]);
    assert_eq!(before.header("cache-control"), Some("old"));
    reload(&server, "cache_control: old", "cache_control: new");
    let after = server.get("/edge/assets/tile.pmtiles", &[("Range", "bytes=0-6")]);
    assert_eq!(after.header("cache-control"), Some("new"));
    assert_eq!(after.header("etag"), before.header("etag"));
}

#[test]
fn what_cannot_change_while_serving_waits_and_is_named_and_the_rest_is_in_force() {
    let server = setup().asset("a", b"asset").edge("  http: {cache_control: one}\n").start();
    server.claim("conf_reloaded");
    rewrite(&server, "cache_control: one", "cache_control: two");
    rewrite(&server, "threads: 2", "threads: 3");
    reload(&server, "bind: [127.0.0.1:0]", "bind: [127.0.0.1:0, \"[::1]:0\"]");
    assert_eq!(server.get("/edge/assets/site/a", &[]).header("cache-control"), Some("two"));
    let told = line(&server, "conf_reloaded", 1);
    assert_eq!((&told["level"], &told["changed"]), (&"warn".into(), &"edge.http.cache_control".into()));
    assert_eq!(told["needs_upgrade"], "threads,edge.bind");
    server.counts("conf_needs_upgrade", 1.0);
    // Until it is what runs, each reload says so.
    reload(&server, "cache_control: two", "cache_control: three");
    assert_eq!(line(&server, "conf_reloaded", 2)["needs_upgrade"], "threads,edge.bind");
    rewrite(&server, "threads: 3", "threads: 2");
    reload(&server, "bind: [127.0.0.1:0, \"[::1]:0\"]", "bind: [127.0.0.1:0]");
    assert_eq!(line(&server, "conf_reloaded", 3)["needs_upgrade"], "");
    assert_eq!(server.metric("conf_needs_upgrade"), 0.0);
    assert_eq!(server.get("/edge/assets/site/a", &[]).header("cache-control"), Some("three"));
}

#[test]
fn the_level_and_the_sampling_of_the_log_change() {
    let server = setup().asset("a", b"asset").edge("  log: {level: info, access: all}\n").start();
    let lines = || server.logged("request").len();
    server.get("/edge/assets/site/a", &[]);
    server.eventually("logged", || lines() == 1);
    reload(&server, "access: all", "access: \"off\"");
    server.get("/edge/assets/site/a", &[]);
    reload(&server, "level: info, access: \"off\"", "level: warn, access: all");
    // INFO is silent now, what the reload has to say included.
    assert_eq!(server.logged("conf_reloaded").len(), 1);
    reload(&server, "level: warn", "level: info");
    server.get("/edge/assets/site/a", &[]);
    server.eventually("logged", || lines() == 2);
    assert_eq!(lines(), 2);
}

#[test]
fn bounds_of_requests_and_of_the_store_change() {
    let server = setup()
        .asset("a", &noise(40_000, 1))
        .edge("  ingress: {uri_bytes: 64}\n  http: {multi_range: false}\n")
        .start();
    let long = format!("/edge/assets/site/a?{}", "x".repeat(100));
    assert_eq!(server.get(&long, &[]).status, 414);
    assert_eq!(server.get("/edge/assets/site/a", &[("Range", "bytes=0-1,5-6")]).status, 200);
    rewrite(&server, "uri_bytes: 64", "uri_bytes: 1KiB");
    rewrite(&server, "cas: {", "cas: {memory_bytes: 0, max_objects: 7, ");
    reload(&server, "multi_range: false", "multi_range: true");
    assert_eq!(server.get(&long, &[]).status, 200);
    assert_eq!(server.get("/edge/assets/site/a", &[("Range", "bytes=0-1,5-6")]).status, 206);
    let changed = line(&server, "conf_reloaded", 1)["changed"].clone();
    let wanted = "edge.cas.max_objects,edge.cas.memory_bytes,edge.ingress.uri_bytes,edge.http.multi_range";
    assert_eq!(changed, wanted);
}

#[test]
fn the_token_of_purges_is_read_anew_and_the_old_one_opens_nothing() {
    let setup = setup().asset("a", b"asset");
    let file = setup.dir.path().join("token");
    std::fs::write(&file, "the-first-token-of-all\n").unwrap();
    let server = setup.edge(&format!("  admin: {{token: {{file: {}}}}}\n", file.display())).start();
    let purge = |token: &str| {
        let authorization = format!("Bearer {token}");
        let mut admin = crate::http::Client::connect(server.admin);
        admin.request("PURGE", "/admin/objects/site/none", &[("Authorization", &authorization)]).status
    };
    assert_eq!((purge("the-first-token-of-all"), purge("the-second-token-of-all")), (200, 401));
    std::fs::write(&file, "the-second-token-of-all\n").unwrap();
    assert!(hang_up(&server));
    assert_eq!((purge("the-first-token-of-all"), purge("the-second-token-of-all")), (401, 200));
    assert_eq!(line(&server, "conf_reloaded", 1)["changed"], "edge.admin.token");
    reload(&server, "  admin: {", "  #admin: {");
    assert_eq!(purge("the-second-token-of-all"), 405, "without a token nobody purges");
    assert!(!server.log().iter().any(|line| line.to_string().contains("token-of-all")));
}

#[test]
fn nothing_changed_is_a_reload_all_the_same_and_keeps_what_is_hot() {
    let server = setup().asset("a", b"asset").start();
    let before = server.metric("conf_last_reload_success");
    assert!(before > 1.5e9, "{before}");
    server.get("/edge/assets/site/a", &[]);
    std::thread::sleep(Duration::from_millis(1100));
    assert!(hang_up(&server));
    assert!(server.metric("conf_last_reload_success") > before);
    assert_eq!(line(&server, "conf_reloaded", 1)["changed"], "");
}
