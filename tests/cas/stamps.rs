//! Copies in RAM: none outlives what it is a copy of, and few of them suffer from the changes of others.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::support::*;
use svc_edge::store::cas::*;

/// Something that is done to a store, and how it is called.
type Change<'a> = (&'a str, Box<dyn Fn() + 'a>);

/// Stamps of many paths that nobody touches, and how many of them still hold. A few may share a number with a path that is touched.
struct Bystanders(Vec<Stamp>);

impl Bystanders {
    fn of(cas: &Cas) -> Self {
        Self((0..200).map(|number| cas.stamp(&format!("bystander/{number}"))).collect())
    }

    fn left(&self, cas: &Cas) -> usize {
        self.0.iter().filter(|stamp| cas.holds(stamp)).count()
    }
}

#[test]
fn what_changes_at_a_path_ends_the_copies_of_its_family_and_no_others() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    let query = filled_key("a", Some("q"));
    let hash = blake3::hash(b"one");
    let reset = || {
        cas.purge(Purge::Path("a")).unwrap();
        fill(&cas, "a", b"one", "1");
        fill(&cas, &query, b"one", "1");
    };
    let changes: [Change; 9] = [
        (
            "replaced",
            Box::new(|| {
                fill(&cas, "a", b"two", "2");
            }),
        ),
        (
            "other metadata",
            Box::new(|| {
                fill(&cas, "a", b"one", "2");
            }),
        ),
        (
            "its query replaced",
            Box::new(|| {
                fill(&cas, &query, b"two", "2");
            }),
        ),
        (
            "varied",
            Box::new(|| {
                fill(&cas, &variant("a", 1), b"one", "1");
            }),
        ),
        (
            "pinned",
            Box::new(|| {
                put(&cas, "a", b"one", true);
            }),
        ),
        ("refreshed", Box::new(|| assert!(cas.refresh("a", &hash, b"2").unwrap()))),
        ("dropped", Box::new(|| assert!(cas.drop_object("a").unwrap()))),
        ("purged", Box::new(|| assert_eq!(cas.purge(Purge::Path("a")).unwrap().objects, 2))),
        (
            "another variant",
            Box::new(|| {
                fill(&cas, &variant(&query, 2), b"one", "1");
            }),
        ),
    ];
    for (what, change) in changes {
        reset();
        let copies = ["a", &*query, &*variant("a", 9)].map(|key| cas.stamp(key));
        let bystanders = Bystanders::of(&cas);
        assert!(copies.iter().all(|stamp| cas.holds(stamp)));
        change();
        assert!(!copies.iter().any(|stamp| cas.holds(stamp)), "{what}");
        // Our own commits are no news to the housekeeping either.
        cas.poll().unwrap();
        assert!(bystanders.left(&cas) > 195, "{what}: {} of 200 hold", bystanders.left(&cas));
    }
}

#[test]
fn what_makes_no_copy_wrong_ends_none() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    fill(&cas, "a", b"one", "1");
    let (copy, bystanders) = (cas.stamp("a"), Bystanders::of(&cas));
    for number in 0..200 {
        fill(&cas, &format!("new/{number}"), b"new", "1");
        cas.touch(&cas.recency("a"));
        cas.poll().unwrap();
    }
    fill(&cas, "a", b"one", "1");
    put(&cas, "pinned", b"p", true);
    assert!(!cas.refresh("a", &blake3::hash(b"other"), b"2").unwrap());
    assert!(!cas.drop_object("absent").unwrap());
    cas.purge(Purge::Path("absent")).unwrap();
    cas.poll().unwrap();
    assert!(cas.holds(&copy));
    assert!(bystanders.left(&cas) > 195, "{}", bystanders.left(&cas));
}

#[test]
fn copies_end_with_an_eviction_so_that_none_outlives_the_next_fill_of_its_path() {
    let dir = temp();
    let cas = Cas::open(&svc_edge::conf::CasConf { max_objects: 1, ..conf(dir.path()) }).unwrap();
    fill(&cas, "a", b"one", "1");
    rewind(dir.path(), 100);
    let (copy, blob) = (cas.stamp("a"), cas.stamp_blob(&blake3::hash(b"one")));
    fill(&cas, "b", b"two", "1");
    assert!(cas.holds(&copy) && cas.holds(&blob));
    cas.poll().unwrap();
    assert_eq!(paths(&cas), ["b"]);
    assert!(!cas.holds(&copy) && !cas.holds(&blob));
}

#[test]
fn a_copy_by_hash_ends_when_its_blob_is_removed_and_not_before() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    fill(&cas, "a", b"shared", "1");
    fill(&cas, "b", b"shared", "1");
    let copy = cas.stamp_blob(&blake3::hash(b"shared"));
    cas.purge(Purge::Path("a")).unwrap();
    assert!(cas.holds(&copy));
    cas.purge(Purge::Path("b")).unwrap();
    assert!(!cas.holds(&copy));
}

#[test]
fn what_reaches_many_paths_or_came_from_elsewhere_ends_every_copy() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    let other = Cas::open(&conf(dir.path())).unwrap();
    put(&cas, "bad", b"bad", false);
    let changes: [Change; 4] = [
        (
            "a prefix purged",
            Box::new(|| {
                cas.purge(Purge::Prefix("p")).unwrap();
            }),
        ),
        (
            "quarantined",
            Box::new(|| {
                flip(&place(dir.path(), &blake3::hash(b"bad")), 0);
                assert!(cas.head("bad").is_err());
            }),
        ),
        (
            "another handle's fill",
            Box::new(|| {
                fill(&other, "x", b"x", "1");
                cas.poll().unwrap();
            }),
        ),
        (
            "another handle's fill, met by a commit",
            Box::new(|| {
                fill(&other, "x", b"y", "1");
                fill(&cas, "y", b"y", "1");
            }),
        ),
    ];
    use svc_edge::store::Store;
    for (what, change) in changes {
        cas.poll().unwrap();
        let bystanders = Bystanders::of(&cas);
        assert_eq!(bystanders.left(&cas), 200);
        change();
        assert_eq!(bystanders.left(&cas), 0, "{what}");
    }
}

/// A copy as the edge keeps one: what the index said, and the stamp from before it did.
struct Copy {
    stamp: Stamp,
    said: u64,
}

/// The newest number that is said at `key`, where something is.
fn said(cas: &Cas, key: &str) -> Option<u64> {
    let extra = cas.candidates(key).unwrap().into_iter().next()?.extra?;
    Some(String::from_utf8(extra.to_vec()).unwrap().parse().unwrap())
}

#[test]
fn no_copy_holds_behind_the_change_that_made_it_wrong_whatever_runs_at_once() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    const KEYS: usize = 3;
    let keys: [String; KEYS] = std::array::from_fn(|number| filled_key(&format!("path/{number}"), Some("q")));
    // What was done at each key, once its change has returned.
    let done: [AtomicU64; KEYS] = Default::default();
    let bystanders = Bystanders::of(&cas);
    let (busy, reused) = (AtomicBool::new(true), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut copies: [Option<Copy>; KEYS] = Default::default();
                while busy.load(Ordering::Relaxed) {
                    for (at, copy) in copies.iter_mut().enumerate() {
                        let floor = done[at].load(Ordering::Acquire);
                        match copy.as_ref().filter(|copy| cas.holds(&copy.stamp)) {
                            Some(copy) => {
                                assert!(copy.said >= floor, "{} holds when {floor} was done", copy.said);
                                reused.fetch_add(1, Ordering::Relaxed);
                            }
                            None => {
                                let stamp = cas.stamp(&keys[at]);
                                // Nothing is no copy: it may end without a word.
                                *copy = said(&cas, &keys[at]).map(|said| Copy { stamp, said });
                            }
                        }
                    }
                }
            });
        }
        scope.spawn(|| {
            while busy.load(Ordering::Relaxed) {
                cas.poll().unwrap();
            }
        });
        for number in 1..1500_u64 {
            let at = number as usize % KEYS;
            let (key, contents) = (&keys[at], format!("{}", number % 50));
            let (extra, hash) = ((2 * number + 1).to_string(), blake3::hash(contents.as_bytes()));
            match number % 7 {
                0 => {
                    cas.drop_object(key).unwrap();
                }
                1 => {
                    cas.purge(Purge::Path(KeyParts::of(key).path)).unwrap();
                }
                2 => {
                    fill(&cas, &variant(key, u128::from(number % 4)), contents.as_bytes(), &extra);
                }
                3 => {
                    fill(&cas, key, contents.as_bytes(), &(2 * number).to_string());
                    assert!(cas.refresh(key, &hash, extra.as_bytes()).unwrap());
                }
                _ => {
                    fill(&cas, key, contents.as_bytes(), &extra);
                }
            }
            done[at].store(2 * number + 1, Ordering::Release);
        }
        busy.store(false, Ordering::Relaxed);
    });
    assert!(reused.load(Ordering::Relaxed) > 1000, "copies were made use of");
    assert!(bystanders.left(&cas) > 180, "housekeeping beside commits: {} of 200 hold", bystanders.left(&cas));
    assert_eq!(verify(&cas, false), []);
}
