//! One contract for every store: what `Store` promises, each store must keep.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "packs/build.rs"]
mod build;

use build::{Schema, conf, pyramid, simple_pmtiles, write_mbtiles};
use svc_edge::conf::{CasBacking, CasConf, Durability, Verify};
use svc_edge::rules::encoding::Coding;
use svc_edge::store::cas::{Cas, Meta};
use svc_edge::store::decode::{Caps, decode};
use svc_edge::store::pack::Pack;
use svc_edge::store::{Body, Store};

/// A store, and every key in it with the bytes that are behind it before any content coding.
type Made = (Box<dyn Store>, Vec<(String, Vec<u8>)>);

/// Keys that no store has, whatever it holds; asking must neither panic nor find anything.
const HOSTILE: [&str; 20] = [
    "",
    "/",
    "//",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "0/0",
    "0/0/0/0",
    "-1/0/0",
    "99/0/0",
    "1/9/9",
    "0/0/0\0",
    "\0",
    "4294967296/4294967296/4294967296",
    "%30/0/0",
    "0\\0\\0",
    "é/ü/ß",
    "00/00/00",
    " 0/0/0",
    "0/0/0 ",
];

/// Hold a store to its contract. `make` opens the same content each time.
fn contract(make: impl Fn() -> Made) {
    let (store, known) = make();
    assert!(!known.is_empty() && !store.name().is_empty());
    every_known_key_is_found(&*store, &known);
    windows_are_exact(&*store, &known[0].0);
    unknown_keys_are_none(&*store);
    threads_agree(&*store, &known);
    let (again, _) = make();
    for (key, _) in &known {
        let (one, other) = (store.head(key).unwrap().unwrap(), again.head(key).unwrap().unwrap());
        assert_eq!((one.len(), one.hash, one.etag), (other.len(), other.hash, other.etag), "{key} after opening anew");
    }
}

fn every_known_key_is_found(store: &dyn Store, known: &[(String, Vec<u8>)]) {
    for (key, content) in known {
        let object = store.head(key).unwrap().unwrap_or_else(|| panic!("{key} is known"));
        let bytes = store.read(&object, 0..object.len()).unwrap();
        let caps = Caps { ratio: u32::MAX, bytes: 1 << 30 };
        assert_eq!(&decode(object.coding, &bytes, caps).unwrap()[..], &content[..], "{key}");
        let hash = blake3::hash(&bytes);
        assert_eq!(object.hash, Some(hash), "{key}");
        assert_eq!(&*object.etag, format!("\"b3:{}\"", hash.to_hex()), "{key}");
        assert!(object.content_type.contains('/'), "{key}");
    }
}

fn windows_are_exact(store: &dyn Store, key: &str) {
    let object = store.head(key).unwrap().unwrap();
    let length = object.len();
    let whole = store.read(&object, 0..length).unwrap();
    assert!(length >= 3 && whole.len() as u64 == length);
    for window in [0..0, length..length, 0..1, length - 1..length, 1..length - 1, 0..length] {
        let expected = &whole[window.start as usize..window.end as usize];
        assert_eq!(&store.read(&object, window.clone()).unwrap()[..], expected, "{window:?}");
    }
    let backwards = std::ops::Range { start: 2, end: 1 };
    for window in [0..length + 1, length..length + 1, length + 1..length + 1, u64::MAX - 1..u64::MAX, backwards] {
        assert!(store.read(&object, window.clone()).is_err(), "{window:?} is past the end");
    }
    if let Body::Windowed(body) = &object.body {
        body.check().unwrap();
        let mut piece = vec![0; 2];
        if body.try_read_at(&mut piece, 1).unwrap() {
            assert_eq!(piece, whole[1..3]);
        }
        assert!(body.read_at(&mut piece, length - 1).is_err());
    }
}

fn unknown_keys_are_none(store: &dyn Store) {
    assert!(matches!(store.head("no/such/key"), Ok(None)));
    let long = "a/".repeat(100_000);
    for key in HOSTILE.iter().copied().chain([&*long]) {
        // An error is allowed, an object isn't.
        assert!(!matches!(store.head(key), Ok(Some(_))), "{:?}", &key[..key.len().min(40)]);
    }
}

fn threads_agree(store: &dyn Store, known: &[(String, Vec<u8>)]) {
    let read_all = || -> Vec<_> {
        let read = |(key, _): &(String, Vec<u8>)| {
            let object = store.head(key).unwrap().unwrap();
            (object.etag.clone(), store.read(&object, 0..object.len()).unwrap())
        };
        known.iter().map(read).collect()
    };
    let expected = read_all();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(read_all)).collect();
        for thread in threads {
            assert!(thread.join().unwrap() == expected);
        }
    });
}

fn keys(tiles: &[build::Content]) -> Vec<(String, Vec<u8>)> {
    tiles.iter().map(|((z, x, y), data)| (format!("{z}/{x}/{y}"), data.clone())).collect()
}

#[test]
fn a_pmtiles_pack_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pack");
    let tiles = pyramid(4);
    simple_pmtiles(&path, &tiles);
    contract(|| (Box::new(Pack::open(&conf(&path, Verify::Full)).unwrap()), keys(&tiles)));
}

#[test]
fn an_mbtiles_pack_keeps_the_contract_with_a_table_and_with_a_view() {
    for schema in [Schema::Flat, Schema::View] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pack");
        let tiles = pyramid(4);
        let coded: Vec<_> = tiles.iter().map(|(address, data)| (*address, build::gzip(data))).collect();
        write_mbtiles(&path, &coded, schema, &[]);
        contract(|| (Box::new(Pack::open(&conf(&path, Verify::Full)).unwrap()), keys(&tiles)));
    }
}

/// A CAS with small objects, one of many segments, and one without bytes behind a path of its own.
#[test]
fn a_cas_keeps_the_contract_on_disk_and_in_memory() {
    let mut content = vec![("a.txt".to_owned(), b"hello, world".to_vec()), ("dir/b.bin".to_owned(), vec![7; 300_000])];
    let large: Vec<u8> =
        (0..2_000_003_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[..1].to_vec()).collect();
    content.insert(0, ("large".to_owned(), large));
    content.push(("empty".to_owned(), Vec::new()));
    let dir = tempfile::tempdir().unwrap();
    for store in [CasBacking::Disk, CasBacking::Memory] {
        let conf = CasConf {
            dir: dir.path().join("cas"),
            max_bytes: 1 << 30,
            max_objects: 1000,
            memory_bytes: 1 << 20,
            store,
            durability: Durability::Verify,
        };
        contract(|| {
            let cas = Cas::open(&conf).unwrap();
            for (path, bytes) in &content {
                let meta = Meta {
                    pinned: true,
                    content_type: "text/plain".into(),
                    coding: Coding::Identity,
                    last_modified: None,
                    extra: None,
                };
                cas.put(path, &mut bytes.as_slice(), meta).unwrap();
            }
            (Box::new(cas), content.clone())
        });
    }
}

/// The raw archive, as a store of one object: the one body that is read by windows.
struct Archive(Pack);

impl Store for Archive {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn head(&self, key: &str) -> Result<Option<svc_edge::store::Object>, svc_edge::store::StoreError> {
        Ok((key == "archive").then(|| self.0.archive()).flatten())
    }
}

#[test]
fn windows_of_a_raw_archive_are_exact() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pack");
    simple_pmtiles(&path, &pyramid(2));
    let store = Archive(Pack::open(&conf(&path, Verify::Header)).unwrap());
    windows_are_exact(&store, "archive");
    unknown_keys_are_none(&store);
    threads_agree(&store, &[("archive".to_owned(), Vec::new())]);
    let object = store.head("archive").unwrap().unwrap();
    assert_eq!(object.coding, Coding::Identity);
    assert_eq!(&store.read(&object, 0..object.len()).unwrap()[..], &std::fs::read(&path).unwrap()[..]);
}
