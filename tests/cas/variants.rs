//! Variants: which of them there are after any sequence of fills, by a model that knows only the rules.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::support::*;
use svc_edge::store::cas::*;

#[test]
fn an_object_without_variants_ends_them_and_a_variant_ends_it() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    for key in ["a".to_owned(), filled_key("a", Some("q"))] {
        assert_eq!(fill(&cas, &key, b"plain", "plain"), Stored::Added);
        assert_eq!(fill(&cas, &variant(&key, 1), b"one", "1"), Stored::Added);
        assert_eq!(fill(&cas, &variant(&key, 2), b"two", "2"), Stored::Added);
        assert_eq!(extras(&cas, &key), ["2", "1"]);
        assert!(!place(dir.path(), &blake3::hash(b"plain")).exists(), "and its blob is gone");
        assert_eq!(fill(&cas, &variant(&key, 1), b"one, again", "1 again"), Stored::Replaced);
        assert_eq!(extras(&cas, &key), ["1 again", "2"], "newest first");
        assert_eq!(fill(&cas, &key, b"plain", "plain again"), Stored::Added);
        assert_eq!(extras(&cas, &key), ["plain again"]);
        cas.drop_object(&key).unwrap();
    }
    assert_eq!(cas.stat().unwrap().blobs, 0);
}

#[test]
fn of_seventeen_variants_the_one_stored_first_goes_and_never_the_new_one() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    for number in 0..16 {
        fill(&cas, &variant("a", 100 - number), &[number as u8], &number.to_string());
        rewind(dir.path(), 10);
    }
    assert_eq!(extras(&cas, "a").len(), 16);
    fill(&cas, &variant("a", 7), b"seventeenth", "new");
    let (left, newest) = (extras(&cas, "a"), "new".to_owned());
    assert_eq!((left.len(), left.first(), left.contains(&"0".to_owned())), (16, Some(&newest), false));
    assert!(!place(dir.path(), &blake3::hash(&[0])).exists());
    // A clock that jumped back makes the new one seem the oldest.
    rewind(dir.path(), 0);
    let index = rusqlite::Connection::open(dir.path().join("index.sqlite")).unwrap();
    index.execute("UPDATE objects SET stored_at = stored_at + 1000000", []).unwrap();
    fill(&cas, &variant("a", 8), b"eighteenth", "newer");
    assert_eq!((extras(&cas, "a").len(), extras(&cas, "a").contains(&"newer".to_owned())), (16, true));
    // Those of another query are none of its own.
    let query = filled_key("a", Some("q"));
    fill(&cas, &variant(&query, 1), b"q", "q");
    assert_eq!((extras(&cas, "a").len(), extras(&cas, &query)), (16, vec!["q".to_owned()]));
    assert_eq!(verify(&cas, false), []);
}

#[derive(Clone, Debug)]
enum Step {
    Fill { query: u8, variant: Option<u8> },
    Batch { query: u8, variants: Vec<Option<u8>> },
    Pin,
    Refresh { query: u8, variant: Option<u8> },
    Drop { query: u8 },
    Purge,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let query = 0..3_u8;
    let varied = prop::option::weighted(0.9, 0..20_u8);
    let step = prop_oneof![
        20 => (query.clone(), varied.clone()).prop_map(|(query, variant)| Step::Fill { query, variant }),
        6 => (query.clone(), prop::collection::vec(varied.clone(), 0..20))
            .prop_map(|(query, variants)| Step::Batch { query, variants }),
        1 => Just(Step::Pin),
        4 => (query.clone(), varied).prop_map(|(query, variant)| Step::Refresh { query, variant }),
        1 => query.prop_map(|query| Step::Drop { query }),
        1 => Just(Step::Purge),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..60)
}

/// What stands at one path: by query (0 for none) and variant, when it was stored.
#[derive(Default)]
struct Model {
    pinned: bool,
    rows: BTreeMap<(u8, Option<u8>), u64>,
    clock: u64,
}

impl Model {
    fn fill(&mut self, query: u8, variant: Option<u8>) {
        self.clock += 1;
        if self.pinned {
            return;
        }
        self.rows.insert((query, variant), self.clock);
        self.rows.retain(|(at, held), _| *at != query || held.is_some() == variant.is_some());
        let varied: Vec<_> = self.rows.iter().filter(|((at, _), _)| *at == query).collect();
        if varied.len() > 16 {
            let (oldest, _) = varied.into_iter().min_by_key(|(_, stored)| **stored).unwrap();
            let oldest = *oldest;
            self.rows.remove(&oldest);
        }
    }

    /// When each candidate was stored, newest first.
    fn candidates(&self, query: u8) -> Vec<String> {
        let mut stored: Vec<_> = self.rows.iter().filter(|((at, _), _)| *at == query).map(|(_, at)| *at).collect();
        stored.sort_by_key(|at| std::cmp::Reverse(*at));
        let pinned = self.pinned.then(|| "-".to_owned());
        pinned.into_iter().chain(stored.into_iter().map(|at| at.to_string())).collect()
    }
}

fn key(query: u8, varied: Option<u8>) -> String {
    let key = filled_key("a", (query > 0).then(|| "q".repeat(query.into())).as_deref());
    varied.map_or(key.clone(), |number| variant(&key, number.into()))
}

fn contents(query: u8, varied: Option<u8>) -> Vec<u8> {
    // Some share their blob, within a query and across.
    vec![query % 2, varied.map_or(99, |number| number % 4)]
}

/// One transaction holds one time: `seq` parts what was stored in the same second, and here every batch is put in pieces of one.
fn apply(step: &Step, dir: &std::path::Path, cas: &mut Cas, model: &mut Model) {
    match step {
        Step::Fill { query, variant } => {
            model.fill(*query, *variant);
            fill(cas, &key(*query, *variant), &contents(*query, *variant), &model.clock.to_string());
        }
        Step::Batch { query, variants } => {
            for variant in variants {
                model.fill(*query, *variant);
                fill(cas, &key(*query, *variant), &contents(*query, *variant), &model.clock.to_string());
            }
        }
        Step::Pin => {
            put(cas, "a", b"pinned", true);
            model.pinned = true;
            model.rows.retain(|(query, _), _| *query != 0);
        }
        Step::Refresh { query, variant } => {
            model.clock += 1;
            let hash = blake3::hash(&contents(*query, *variant));
            let there = model.rows.get_mut(&(*query, *variant)).map(|stored| *stored = model.clock).is_some();
            let done = cas.refresh(&key(*query, *variant), &hash, model.clock.to_string().as_bytes()).unwrap();
            assert_eq!(done, there);
        }
        Step::Drop { query } => {
            let before = model.rows.len();
            model.rows.retain(|(at, _), _| at != query);
            assert_eq!(cas.drop_object(&key(*query, None)).unwrap(), model.rows.len() < before);
        }
        Step::Purge => {
            let count = model.rows.len() as u64 + u64::from(model.pinned);
            assert_eq!(cas.purge(Purge::Path("a")).unwrap().objects, count);
            (model.pinned, model.rows) = (false, BTreeMap::new());
        }
        Step::Reopen => *cas = Cas::open(&conf(dir)).unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_filled_the_candidates_are_those_that_the_rules_leave(steps in steps()) {
        let dir = temp();
        let mut cas = Cas::open(&conf(dir.path())).unwrap();
        let mut model = Model::default();
        for step in &steps {
            apply(step, dir.path(), &mut cas, &mut model);
            for query in 0..3 {
                assert_eq!(extras(&cas, &key(query, None)), model.candidates(query), "{step:?}");
            }
        }
        let blobs: std::collections::BTreeSet<_> =
            model.rows.keys().map(|(query, varied)| contents(*query, *varied)).collect();
        assert_eq!(cas.stat().unwrap().blobs, blobs.len() as u64 + u64::from(model.pinned));
        assert_eq!(verify(&cas, false), []);
    }
}
