//! Random sequences of operations, compared with a model: a map of what was put.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::support::*;
use svc_edge::conf::CasConf;
use svc_edge::store::cas::*;

#[derive(Clone, Debug)]
enum Step {
    Put { path: u8, contents: u8, pinned: bool },
    Batch { paths: Vec<(u8, u8)> },
    Purge { path: u8 },
    PurgeBelow { group: u8 },
    Evict { max_objects: u64 },
    Gc,
    Reopen,
    LoseIndex,
    Corrupt { contents: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let path = 0..12_u8;
    let contents = 0..8_u8;
    let step = prop_oneof![
        8 => (path.clone(), contents.clone(), any::<bool>())
            .prop_map(|(path, contents, pinned)| Step::Put { path, contents, pinned }),
        2 => prop::collection::vec((path.clone(), contents.clone()), 0..6).prop_map(|paths| Step::Batch { paths }),
        3 => path.prop_map(|path| Step::Purge { path }),
        1 => (0..3_u8).prop_map(|group| Step::PurgeBelow { group }),
        2 => (0..8_u64).prop_map(|max_objects| Step::Evict { max_objects }),
        1 => Just(Step::Gc),
        2 => Just(Step::Reopen),
        1 => Just(Step::LoseIndex),
        1 => contents.prop_map(|contents| Step::Corrupt { contents }),
    ];
    prop::collection::vec(step, 1..40)
}

fn path(number: u8) -> String {
    format!("group{}/{number}", number % 3)
}

/// Contents of many sizes: none, small, two that are read by segments.
fn contents(number: u8) -> Vec<u8> {
    let sizes = [0, 1, 100, 5000, 262_144, 262_145, 600_000, 20];
    let mut data = bytes(sizes[usize::from(number)]);
    if let Some(first) = data.first_mut() {
        *first = number;
    }
    data
}

/// What must be so.
#[derive(Default)]
struct Model {
    /// What each path answers: its contents, and whether it is pinned.
    objects: BTreeMap<u8, (u8, bool)>,
    /// What was pinned last at each path, until it is purged: a rebuilt index has it again if its blob is whole.
    pins: BTreeMap<u8, u8>,
}

impl Model {
    fn put(&mut self, path: u8, contents: u8, pinned: bool) {
        if pinned || !self.objects.get(&path).is_some_and(|(_, pinned)| *pinned) {
            self.objects.insert(path, (contents, pinned));
        }
        if pinned {
            self.pins.insert(path, contents);
        }
    }

    fn keep(&mut self, keep: impl Fn(u8) -> bool) {
        self.objects.retain(|path, _| keep(*path));
        self.pins.retain(|path, _| keep(*path));
    }
}

fn apply(step: &Step, cas: &mut Cas, conf: &CasConf, model: &mut Model) {
    match step {
        Step::Put { path: at, contents: what, pinned } => {
            put(cas, &path(*at), &contents(*what), *pinned);
            model.put(*at, *what, *pinned);
        }
        Step::Batch { paths } => {
            let puts = paths.iter().map(|(at, what)| {
                let mut writer = cas.writer().unwrap();
                contents(*what).chunks(70_000).for_each(|chunk| writer.write(chunk).unwrap());
                Put { path: path(*at), meta: meta(false), staged: writer.finish(false).unwrap() }
            });
            let stored = cas.commit(puts.collect()).unwrap();
            assert_eq!(stored.len(), paths.len());
            paths.iter().for_each(|(at, what)| model.put(*at, *what, false));
        }
        Step::Purge { path: at } => {
            cas.purge(Purge::Path(&path(*at))).unwrap();
            model.keep(|path| path != *at);
        }
        Step::PurgeBelow { group } => {
            cas.purge(Purge::Prefix(&format!("group{group}"))).unwrap();
            model.keep(|path| path % 3 != *group);
        }
        Step::Evict { max_objects } => {
            let small = Cas::open(&CasConf { max_objects: *max_objects, ..conf.clone() }).unwrap();
            small.poll().unwrap();
            let stat = small.stat().unwrap();
            assert!(stat.objects <= (*max_objects).max(stat.pinned), "{stat:?}");
            let left = paths(&small);
            model.objects.retain(|at, _| left.contains(&path(*at)));
        }
        Step::Gc => drop(cas.gc(&mut |_| {}).unwrap()),
        Step::Reopen => *cas = Cas::open(conf).unwrap(),
        Step::LoseIndex => {
            std::fs::remove_file(conf.dir.join("index.sqlite")).unwrap();
            *cas = Cas::open(conf).unwrap();
            let whole = |what: &u8| place(&conf.dir, &blake3::hash(&contents(*what))).exists();
            model.objects =
                model.pins.iter().filter(|(_, what)| whole(what)).map(|(at, what)| (*at, (*what, true))).collect();
        }
        Step::Corrupt { contents: what } => {
            let data = contents(*what);
            let at = place(&conf.dir, &blake3::hash(&data));
            if at.exists() && !data.is_empty() {
                flip(&at, data.len() as u64 - 1);
                let faults = verify(cas, true);
                assert!(faults.iter().any(|fault| matches!(fault, Fault::Corrupt { .. })), "{faults:?}");
                model.objects.retain(|_, (held, _)| held != what);
            }
        }
    }
}

fn compare(cas: &Cas, model: &Model) {
    let expected: Vec<_> = model.objects.iter().map(|(at, (_, pinned))| (path(*at), *pinned)).collect();
    let mut found: Vec<_> = list(cas).into_iter().map(|object| (object.path, object.pinned)).collect();
    found.sort();
    let mut expected = expected;
    expected.sort();
    assert_eq!(found, expected);
    for (at, (what, _)) in &model.objects {
        assert_eq!(read(cas, &path(*at)).unwrap(), contents(*what), "{}", path(*at));
    }
    let distinct: std::collections::BTreeSet<_> = model.objects.values().map(|(what, _)| what).collect();
    assert_eq!(cas.stat().unwrap().blobs, distinct.len() as u64, "no blob is counted that nothing names");
    let faults = verify(cas, false);
    assert!(faults.iter().all(|fault| matches!(fault, Fault::Lost { .. })), "{faults:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_each_path_holds_what_was_put_last_and_every_blob_is_whole(steps in steps()) {
        let dir = temp();
        let conf = conf(dir.path());
        let mut cas = Cas::open(&conf).unwrap();
        let mut model = Model::default();
        for step in &steps {
            apply(step, &mut cas, &conf, &mut model);
            compare(&cas, &model);
        }
    }
}
