//! What is written from the table is true.

use super::*;

#[test]
fn the_sample_conf_is_true_and_is_the_defaults_with_the_sample_packs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/svc-edge.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text == docs::sample(), "conf/svc-edge.yaml is old: cargo run -- docs sample > conf/svc-edge.yaml");
    let mut wanted = defaults();
    wanted.edge.packs = vec![
        pack("testing/data/tile.pmtiles", "tile"),
        pack("testing/data/world.mbtiles", "world"),
        pack("testing/data/raster.pmtiles", "raster"),
    ];
    assert_eq!(file(&text).unwrap(), wanted);
    for key in KEYS {
        assert!(text.contains(&format!("{}:", key.name())), "{}", key.path);
    }
}

#[test]
fn the_origin_in_the_sample_is_right_without_its_comment_signs_and_is_the_default() {
    let text: String = docs::sample()
        .replace("  origins: []\n", "  origins:\n")
        .replace("cert.pem", "tests/conf/fixtures/cert.pem")
        .replace("key.pem", "tests/conf/fixtures/key.pem")
        .replace("  bind: 127.0.0.1:8080\n", "  bind:\n")
        .lines()
        .map(|line| line.replacen("    #-", "    -", 1).replacen("    #  ", "      ", 1) + "\n")
        .collect();
    assert_eq!(file(&text).unwrap().edge.origins, [origin("fonts/", "https://fonts.example/s/")]);
    for key in KEYS.iter().filter(|key| key.section() == "edge.origins[]") {
        assert!(docs::sample().contains(&format!(" {}:", key.name())), "{}", key.path);
    }
}

#[test]
fn the_listener_with_tls_in_the_sample_is_right_without_its_comment_signs() {
    let text: String = docs::sample()
        .replace("  bind: 127.0.0.1:8080\n", "  bind:\n")
        .lines()
        .map(|line| line.replacen("    #-", "    -", 1).replacen("    #  ", "      ", 1) + "\n")
        .collect();
    let text =
        text.replace("cert.pem", "tests/conf/fixtures/cert.pem").replace("key.pem", "tests/conf/fixtures/key.pem");
    // Without its origin, whose comment signs went too.
    let text = text.replace("  origins: []\n", "  origins:\n");
    assert_eq!(file(&text).unwrap().edge.bind, [BindConf { tls: vec![certificate()], ..bind("127.0.0.1:8443") }]);
    for key in KEYS.iter().filter(|key| key.section().starts_with("edge.bind[]")) {
        assert!(docs::sample().contains(&format!(" {}:", key.name())), "{}", key.path);
    }
}

#[test]
fn the_page_of_the_conf_is_true_and_names_every_key() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/conf.md");
    let page = std::fs::read_to_string(path).unwrap();
    assert!(page == docs::page(), "docs/conf.md is old: cargo run -- docs conf > docs/conf.md");
    for key in KEYS {
        assert!(page.contains(&format!("| `{}` |", key.name())) && page.contains(key.help), "{}", key.path);
    }
}
