//! A pinned path: no byte before all are verified, and nothing else ever.

use std::collections::BTreeMap;
use std::sync::Mutex;

use http::Method;
use log::kv::{Error, Key, Value, VisitSource};
use svc_edge::fill::FillsConf;
use svc_edge::observe::metrics::{VERIFY_FAILURES, VerifyKind};
use tokio::time::timeout;

use super::support::*;

fn pinned(answer: Answer) -> Bench {
    let conf = FillsConf { lock: lock(&[("live/a", b"the pinned bytes")]), range_fill_max: 4, ..conf() };
    Bench::with(conf, &memory_store(), move |_, _| answer.clone())
}

#[tokio::test]
async fn bytes_that_are_not_the_pinned_ones_are_neither_shown_nor_stored() {
    let bench = pinned(Answer::ok("the pinned bytez"));
    let before = VERIFY_FAILURES.get(VerifyKind::Pin);
    let mut reader = bench.join("live/a").unwrap();
    assert!(streamed(&mut reader).await.locked);
    assert_eq!(timeout(SOON, reader.next()).await.unwrap().unwrap_err().cause(), "corrupt");
    assert_eq!(timeout(SOON, reader.finished()).await.unwrap().unwrap_err().cause(), "corrupt");
    assert_eq!(VERIFY_FAILURES.get(VerifyKind::Pin), before + 1);
    assert_eq!(bench.stored("live/a"), None);
}

#[tokio::test]
async fn the_pinned_bytes_are_shown_when_all_of_them_are_verified() {
    let gate = Gate::new();
    let bench = pinned(Answer::halves("the pinned bytes", &gate));
    let mut reader = bench.fills.join(bench.ask_part("live/a")).unwrap();
    let head = streamed(&mut reader).await;
    assert!(head.locked, "and a Range of them waits too, however long the object is");
    bench.until(|bench| bench.fake.taken.load(std::sync::atomic::Ordering::SeqCst) == 8).await;
    let early = timeout(std::time::Duration::from_millis(50), reader.next()).await;
    assert!(early.is_err(), "half of them is nothing yet");
    gate.open();
    assert_eq!(drain(&mut reader).await.unwrap(), b"the pinned bytes");
    timeout(SOON, reader.finished()).await.unwrap().unwrap();
    assert_eq!(bench.stored("live/a").unwrap(), "the pinned bytes");
}

#[tokio::test]
async fn what_cannot_be_compared_with_its_pin_is_not_answered() {
    let table = [
        Answer::ok("the pinned bytes").with("cache-control", "no-store"),
        Answer::ok("the pinned bytes").status(404),
        Answer::ok("the pinned bytes").with("vary", "*"),
    ];
    for answer in table {
        let bench = pinned(answer);
        assert_eq!(headed(&mut bench.join("live/a").unwrap()).await, "unreachable");
        assert_eq!(bench.stored("live/a"), None);
        assert_eq!(bench.fills.remembered(&bench.ask("live/a").key), None);
    }
    let bench = pinned(Answer::ok("the pinned bytes"));
    assert_eq!(bench.fills.pass(bench.ask("live/a"), Method::GET, None).await.err().unwrap().cause(), "unreachable");
    assert_eq!(bench.fetches(), 0, "nothing of it passes through");
}

/// Lines of level `error`, as the fields they have.
struct Lines(Mutex<Vec<BTreeMap<String, String>>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

struct Fields(BTreeMap<String, String>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        self.0.insert(key.to_string(), value.to_string());
        Ok(())
    }
}

impl log::Log for Lines {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() == log::Level::Error
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let mut fields = Fields(BTreeMap::new());
            record.key_values().visit(&mut fields).unwrap();
            self.0.lock().unwrap().push(fields.0);
        }
    }

    fn flush(&self) {}
}

#[tokio::test]
async fn a_mismatch_is_an_error_in_the_log_with_the_path_both_hashes_and_the_origin() {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(log::LevelFilter::Error);
    let conf = FillsConf { lock: lock(&[("other/logged", b"pinned")]), ..conf() };
    let bench = Bench::with(conf, &memory_store(), |_, _| Answer::ok("found"));
    let mut reader = bench.join("other/logged").unwrap();
    assert_eq!(timeout(SOON, reader.finished()).await.unwrap().unwrap_err().cause(), "corrupt");
    let lines = LINES.0.lock().unwrap();
    let line = lines.iter().find(|line| line.get("path").is_some_and(|path| path == "other/logged")).unwrap();
    let expected = [
        ("event", "pin_mismatch".to_owned()),
        ("found", blake3::hash(b"found").to_string()),
        ("origin", "other/".to_owned()),
        ("path", "other/logged".to_owned()),
        ("pinned", blake3::hash(b"pinned").to_string()),
    ];
    assert_eq!(line.iter().map(|(key, value)| (key.as_str(), value.clone())).collect::<Vec<_>>(), expected);
}
