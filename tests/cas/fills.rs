//! Objects that were filled: their keys, their metadata, which of them could answer, what ends them.

use std::time::{Duration, SystemTime};

use super::support::*;
use svc_edge::conf::{CasBacking, CasConf};
use svc_edge::store::cas::*;

#[test]
fn a_filled_object_comes_back_with_its_metadata_and_its_verified_body() {
    for backing in [CasBacking::Disk, CasBacking::Memory] {
        let dir = temp();
        let cas = Cas::open(&CasConf { store: backing, ..conf(dir.path()) }).unwrap();
        let key = filled_key("fonts/a", Some("v=1"));
        for (bytes, extra) in [(bytes(700_000), "large"), (b"small".to_vec(), "small")] {
            fill(&cas, &key, &bytes, extra);
            let [info] = &cas.candidates(&key).unwrap()[..] else { panic!("one candidate") };
            assert_eq!((info.extra.as_deref(), info.size), (Some(extra.as_bytes()), bytes.len() as u64));
            let object = cas.object(info).unwrap().unwrap();
            assert_eq!(object.read(0..object.len()).unwrap(), bytes);
            assert_eq!((object.hash, &*object.content_type), (Some(blake3::hash(&bytes)), "text/plain"));
        }
        assert!(cas.candidates("fonts/a").unwrap().is_empty(), "another key");
        assert!(cas.info("fonts/a").unwrap().is_none());
    }
}

#[test]
fn an_object_that_was_replaced_or_removed_since_its_row_was_read_is_looked_for_anew() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    fill(&cas, "a", b"one", "1");
    let before = cas.info("a").unwrap().unwrap();
    fill(&cas, "a", b"two", "2");
    assert!(cas.object(&before).unwrap().is_none(), "its blob is gone with it");
    assert_eq!(read(&cas, "a").unwrap(), b"two");
    let before = cas.info("a").unwrap().unwrap();
    std::fs::remove_file(place(dir.path(), &blake3::hash(b"two"))).unwrap();
    assert!(cas.object(&before).unwrap().is_none());
    assert!(cas.info("a").unwrap().is_none(), "a row without a blob is taken out");
}

#[test]
fn keys_and_metadata_that_the_index_must_not_hold_are_refused_before_anything_is_written() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    let extra = |length: usize| Some(vec![7; length].into());
    let put = |path: &str, meta: Meta| Put { path: path.into(), meta, staged: stage(&cas, b"x") };
    for bad in [
        put("../a", meta(false)),
        put("a\0", meta(false)),
        put("a\0?q\n", meta(false)),
        put("a\0v123", meta(false)),
        put("a\0?q", meta(true)),
        put(&variant("a", 1), meta(true)),
        put("a", Meta { extra: extra(1), ..meta(true) }),
        put("a", Meta { extra: extra(MAX_EXTRA + 1), ..meta(false) }),
    ] {
        let what = format!("{:?} {}", bad.path, bad.meta.pinned);
        assert!(bad.check().is_err(), "{what}");
        assert!(cas.commit(vec![put("good", meta(false)), bad]).is_err(), "{what}");
    }
    assert_eq!(paths(&cas), Vec::<String>::new());
    fill(&cas, "a", b"x", &"e".repeat(MAX_EXTRA));
    assert_eq!(cas.info("a").unwrap().unwrap().extra.unwrap().len(), MAX_EXTRA);
    assert!(cas.refresh("a", &blake3::hash(b"x"), &[0; MAX_EXTRA + 1]).is_err());
}

#[test]
fn a_pinned_object_answers_for_its_path_whatever_is_filled_there() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    let query = filled_key("a", Some("q"));
    let keys = ["a".to_owned(), variant("a", 1), query.clone(), variant(&query, 1)];
    fill(&cas, &keys[1], b"varied", "varied");
    fill(&cas, &query, b"query", "query");
    put(&cas, "a", b"pinned", true);
    for key in &keys {
        assert_eq!(fill(&cas, key, b"late", "late"), Stored::Kept, "{key:?}");
        assert!(!cas.refresh(key, &blake3::hash(b"pinned"), b"late").unwrap(), "{key:?}");
    }
    assert!(!cas.drop_object("a").unwrap(), "an origin says nothing of what was imported");
    assert_eq!(extras(&cas, "a"), ["-"], "its variants went when it came");
    assert_eq!(extras(&cas, &query), ["-", "query"], "the pinned one before what was filled");
    assert_eq!(read(&cas, "a").unwrap(), b"pinned");
    assert!(
        !place(dir.path(), &blake3::hash(b"late")).exists() && !place(dir.path(), &blake3::hash(b"varied")).exists()
    );
    // Once it is purged, the path is filled like any other.
    assert_eq!(cas.purge(Purge::Path("a")).unwrap().objects, 2);
    assert_eq!(fill(&cas, "a", b"late", "late"), Stored::Added);
}

#[test]
fn a_refresh_changes_what_the_origin_said_of_the_blob_it_spoke_of_and_of_no_other() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    let (one, two) = (variant("a", 1), variant("a", 2));
    fill(&cas, &one, b"one", "1");
    fill(&cas, &two, b"two", "2");
    rewind(dir.path(), 500);
    let before = cas.info(&one).unwrap().unwrap();
    assert!(cas.refresh(&one, &before.hash, b"1, refreshed").unwrap());
    let after = cas.info(&one).unwrap().unwrap();
    assert_eq!((after.extra.as_deref(), after.hash), (Some(&b"1, refreshed"[..]), before.hash));
    assert!(after.stored_at > before.stored_at && after.last_used >= before.last_used);
    assert!(SystemTime::now().duration_since(after.stored_at).unwrap() < Duration::from_secs(60));
    assert_eq!(extras(&cas, "a"), ["1, refreshed", "2"], "it is the newest now");
    assert!(!cas.refresh(&one, &blake3::hash(b"two"), b"x").unwrap(), "another blob");
    assert!(!cas.refresh("a", &before.hash, b"x").unwrap(), "another key");
    assert!(!cas.refresh("absent", &before.hash, b"x").unwrap());
    assert_eq!(extras(&cas, "a"), ["1, refreshed", "2"]);
    drop(cas);
    assert_eq!(extras(&Cas::open(&conf(dir.path())).unwrap(), "a"), ["1, refreshed", "2"], "and it stays");
}

#[test]
fn dropping_an_object_ends_it_and_its_variants_and_leaves_other_queries() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    let query = filled_key("a", Some("q"));
    for number in 0..5 {
        fill(&cas, &variant("a", number), b"shared", "a");
        fill(&cas, &variant(&query, number), b"shared", "q");
    }
    fill(&cas, "ab", b"sibling", "ab");
    assert!(cas.drop_object("a").unwrap());
    assert!(!cas.drop_object("a").unwrap() && !cas.drop_object("never").unwrap());
    assert_eq!((extras(&cas, "a").len(), extras(&cas, &query).len(), extras(&cas, "ab").len()), (0, 5, 1));
    assert!(place(dir.path(), &blake3::hash(b"shared")).exists(), "others name it");
    assert!(cas.drop_object(&variant(&query, 3)).unwrap(), "a variant stands for all of them");
    assert!(extras(&cas, &query).is_empty() && !place(dir.path(), &blake3::hash(b"shared")).exists());
    assert_eq!(verify(&cas, false), []);
}

#[test]
fn a_purge_of_a_path_takes_its_queries_and_variants_and_one_of_a_prefix_those_below_it() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    let fill_all = || {
        for path in ["p", "p/a", "p/ab", "p2/a"] {
            fill(&cas, &variant(path, 1), b"v", path);
            for number in 0..3 {
                let query = filled_key(path, Some(&number.to_string()));
                fill(&cas, &query, path.as_bytes(), path);
                fill(&cas, &variant(&query, 7), b"v", path);
            }
            // The variants took the place of the others.
            assert_eq!(cas.list_below(path), 4);
        }
    };
    fill_all();
    let removed = cas.purge(Purge::Path("p/a")).unwrap();
    assert_eq!((removed.objects, removed.blobs), (4, 0), "their blob has other names");
    assert_eq!(["p", "p/a", "p/ab", "p2/a"].map(|path| cas.list_below(path)), [4, 0, 4, 4]);
    fill_all();
    assert_eq!(cas.purge(Purge::Prefix("p")).unwrap().objects, 8);
    assert_eq!(["p", "p/a", "p/ab", "p2/a"].map(|path| cas.list_below(path)), [4, 0, 0, 4]);
    assert_eq!(cas.purge(Purge::Prefix("")).unwrap().blobs, 1, "a blob that all of them name goes once");
    assert_eq!(cas.stat().unwrap().blobs, 0);
}

/// Counting in tests.
trait Count {
    fn list_below(&self, path: &str) -> usize;
}

impl Count for Cas {
    /// Objects whose path is `path`.
    fn list_below(&self, path: &str) -> usize {
        paths(self).iter().filter(|key| KeyParts::of(key).path == path).count()
    }
}

#[test]
fn stat_counts_filled_objects_and_variants_and_thousands_of_queries_are_purged_at_once() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    put(&cas, "pinned/v", b"p", true);
    let puts = (0..2500).map(|number: u128| {
        let key = filled_key("a", Some(&format!("v{number}")));
        let key = if number.is_multiple_of(100) { variant(&key, number) } else { key };
        Put { path: key, meta: meta(false), staged: stage(&cas, b"x") }
    });
    cas.commit(puts.collect()).unwrap();
    let stat = cas.stat().unwrap();
    assert_eq!((stat.objects, stat.pinned, stat.variants, stat.blobs), (2501, 1, 25, 2));
    assert_eq!(cas.purge(Purge::Path("a")).unwrap().objects, 2500);
    assert_eq!(paths(&cas), ["pinned/v"]);
}

#[test]
fn metadata_is_lost_with_the_index_and_so_is_what_was_filled() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    fill(&cas, &variant("a", 1), b"filled", "1");
    put(&cas, "pinned", b"pinned", true);
    drop(cas);
    std::fs::remove_file(dir.path().join("index.sqlite")).unwrap();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    assert_eq!((paths(&cas), extras(&cas, "a").len()), (vec!["pinned".to_owned()], 0));
    assert_eq!(fill(&cas, &variant("a", 1), b"filled", "1"), Stored::Added, "its blob was there and is taken");
    assert_eq!(verify(&cas, false), []);
}
