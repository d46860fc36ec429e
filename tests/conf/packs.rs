//! Packs: their names, and what is wrong with them.

use super::*;

#[test]
fn packs_have_the_names_of_their_files_unless_they_are_given_one() {
    let text = "edge:\n  packs:\n    - path: /data/world.v2.mbtiles\n    - {path: a.pmtiles, name: b, verify: none, missing_tile: no_content, cache_control: no-store}\n";
    let packs = file(text).unwrap().edge.packs;
    let second = PackConf {
        verify: Verify::None,
        missing_tile: MissingTile::NoContent,
        cache_control: Some("no-store".into()),
        ..pack("a.pmtiles", "b")
    };
    assert_eq!(packs, [pack("/data/world.v2.mbtiles", "world.v2"), second]);
}

#[test]
fn two_packs_of_one_name_are_an_error_at_the_second() {
    for (text, place) in [
        ("edge:\n  packs:\n    - {path: a/t.pmtiles}\n    - {path: b/t.mbtiles}\n", "4:14"),
        ("edge:\n  packs:\n    - {path: a.pmtiles, name: t}\n    - {path: b.pmtiles, name: t}\n", "4:31"),
        ("edge:\n  packs:\n    - {path: t.pmtiles}\n    - {path: b.pmtiles, name: t}\n", "4:31"),
    ] {
        one_error(file(text), &format!("c.yaml:{place}: "), &["`t` names two packs", "allowed"]);
    }
}

#[test]
fn wrong_packs_are_named_at_their_place() {
    for (text, place, part) in [
        ("edge:\n  packs:\n    - {name: a}\n", "3:7", "`edge.packs[].path`: is required"),
        ("edge:\n  packs:\n    - path:\n", "3:7", "`edge.packs[].path`: has no value"),
        ("edge:\n  packs:\n    - a.pmtiles\n", "3:7", "a map with a `path`"),
        ("edge:\n  packs: a.pmtiles\n", "2:10", "is no list"),
        ("edge:\n  packs:\n", "2:3", "has no value"),
        ("edge:\n  packs:\n    - {path: \".pmtiles\"}\n", "3:14", "is no name of a pack: give one"),
        ("edge:\n  packs:\n    - {path: a.pmtiles, name: a/b}\n", "3:31", "`a/b` is no name of a pack"),
        ("edge:\n  packs:\n    - {path: a.pmtiles, verify: all}\n", "3:33", "`all` is not known"),
    ] {
        one_error(file(text), &format!("c.yaml:{place}: "), &[part]);
    }
}
