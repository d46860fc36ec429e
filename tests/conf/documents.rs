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
        .lines()
        .map(|line| line.replacen("    #-", "    -", 1).replacen("    #  ", "      ", 1) + "\n")
        .collect();
    assert_eq!(file(&text).unwrap().edge.origins, [origin("fonts/", "https://fonts.example/s/")]);
    for key in KEYS.iter().filter(|key| key.section() == "edge.origins[]") {
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
