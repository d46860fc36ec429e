//! BLAKE3 as the CAS does it: small blobs whole, large ones by segments, and a window of a large one verified as it is read.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use svc_edge::conf::{Conf, Flags};
use svc_edge::rules::encoding::Coding;
use svc_edge::store::Body;
use svc_edge::store::cas::{BlobHasher, Cas, Meta};

mod support;

/// What a chunk of a fill has.
const CHUNK: usize = 64 << 10;

fn main() {
    let mut criterion = support::criterion();
    whole(&mut criterion);
    segmented(&mut criterion);
    windows(&mut criterion);
    criterion.final_summary();
}

fn bytes(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// In one go, as a blob that is read whole is verified.
fn whole(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("blake3_whole");
    for (name, length) in [("4k", 4 << 10), ("64k", 64 << 10), ("256k", 256 << 10), ("1m", 1 << 20)] {
        let bytes = bytes(length);
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(name, |bench| bench.iter(|| blake3::hash(black_box(&bytes))));
    }
    group.finish();
}

/// As a fill is hashed: chunk by chunk, with the tree of its segments.
fn segmented(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("blake3_segmented");
    for (name, length) in [("64k", 64 << 10), ("1m", 1 << 20), ("8m", 8 << 20)] {
        let bytes = bytes(length);
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(name, |bench| {
            bench.iter(|| {
                let mut hasher = BlobHasher::new();
                bytes.chunks(CHUNK).for_each(|chunk| hasher.update(black_box(chunk)));
                hasher.len()
            });
        });
    }
    group.finish();
}

/// A window of 64 KiB of a large blob: of a segment that was verified before, and the first one of a store that was just opened, which reads the
/// list of segments and verifies one of them.
fn windows(criterion: &mut Criterion) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let yaml = format!("edge: {{cas: {{dir: {:?}}}}}", dir.path().join("cas"));
    let conf = Conf::from_parts(Some(("hashing.yaml", yaml.as_bytes())), [], &Flags::default()).unwrap();
    let open = || Cas::open(&conf.edge.cas).unwrap();
    let bytes = bytes(8 << 20);
    let hash = blake3::hash(&bytes);
    let cas = open();
    cas.put("large.bin", &mut &bytes[..], meta()).unwrap();
    let find = |cas: &Cas| cas.blob(&hash).unwrap().unwrap();
    let object = find(&cas);
    assert!(matches!(object.body, Body::Windowed(_)));
    let window = |at: u64| at * CHUNK as u64..(at + 1) * CHUNK as u64;
    let mut group = criterion.benchmark_group("window_64k");
    group.throughput(Throughput::Bytes(CHUNK as u64));
    group.bench_function("verified_before", |bench| bench.iter(|| object.read(black_box(window(3))).unwrap()));
    group.bench_function("first_of_a_store", |bench| {
        bench.iter_batched(open, |cas| find(&cas).read(black_box(window(3))).unwrap(), BatchSize::PerIteration);
    });
    group.finish();
}

fn meta() -> Meta {
    let content_type = "application/octet-stream".into();
    Meta { pinned: true, content_type, coding: Coding::Identity, last_modified: None, extra: None }
}
