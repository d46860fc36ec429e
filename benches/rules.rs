//! What the pure rules cost that a hit goes through: its key, its preconditions, its range, the codings that its client accepts.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::hint::black_box;
use std::time::{Duration, UNIX_EPOCH};

use criterion::Criterion;
use http::header::{ACCEPT_ENCODING, HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use svc_edge::rules::encoding::{self, Choice, Coding};
use svc_edge::rules::precondition::{self, Validators, Verdict};
use svc_edge::rules::range::{self, Selection};
use svc_edge::rules::tile::TileId;
use svc_edge::rules::{asset_key, corr_id, date, host};
use svc_edge::store::pack::pmtiles::id;

mod support;

const ETAG: &str = "\"b3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262\"";
const LENGTH: u64 = 1 << 20;

fn main() {
    let mut criterion = support::criterion();
    keys(&mut criterion);
    preconditions(&mut criterion);
    ranges(&mut criterion);
    codings(&mut criterion);
    fields(&mut criterion);
    criterion.final_summary();
}

/// A request's fields: what every browser sends, and these.
fn headers(more: &[(HeaderName, &str)]) -> HeaderMap {
    let usual = [(HOST, "tiles.example"), (USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0")];
    let all = usual.iter().chain(more);
    all.map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
}

fn keys(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("asset_key");
    for (name, path) in [
        ("plain", "fonts/Noto-Sans-Regular/0-255.pbf"),
        ("escaped", "fonts/Noto%20Sans%20Regular/0-255.pbf"),
        ("utf8", "karten/M%C3%BCnchen/stra%C3%9Fen.json"),
        ("refused", "fonts/%2e%2e/secret"),
    ] {
        assert_eq!(asset_key::canonical(path.as_bytes()).is_err(), name == "refused");
        group.bench_function(name, |bench| bench.iter(|| asset_key::canonical(black_box(path.as_bytes())).is_ok()));
    }
    group.finish();
    let tile = TileId::new(14, 8_529, 5_975).unwrap();
    criterion.bench_function("tile_id/z14", |bench| bench.iter(|| id::encode(black_box(tile))));
}

fn preconditions(criterion: &mut Criterion) {
    let modified = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let validators = Validators { etag: Some(ETAG), last_modified: Some(modified), origin_date: None };
    let date = date::format(modified).unwrap();
    let many = format!("\"one\", W/\"two\", \"b3:{}\", {ETAG}", "0".repeat(64));
    let mut group = criterion.benchmark_group("precondition");
    for (name, more, verdict) in [
        ("none", vec![], Verdict::Proceed),
        ("if_none_match", vec![(IF_NONE_MATCH, ETAG)], Verdict::NotModified),
        ("if_none_match_of_four", vec![(IF_NONE_MATCH, many.as_str())], Verdict::NotModified),
        ("if_modified_since", vec![(IF_MODIFIED_SINCE, date.as_str())], Verdict::NotModified),
    ] {
        let headers = headers(&more);
        assert_eq!(precondition::evaluate(&headers, true, &validators), verdict, "{name}");
        group.bench_function(name, |bench| {
            bench.iter(|| precondition::evaluate(black_box(&headers), true, &validators));
        });
    }
    let headers = headers(&[(RANGE, "bytes=0-1"), (IF_RANGE, ETAG)]);
    assert!(precondition::if_range_holds(&headers, &validators));
    group.bench_function("if_range", |bench| {
        bench.iter(|| precondition::if_range_holds(black_box(&headers), &validators));
    });
    group.finish();
}

fn ranges(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("range");
    for (name, field) in [
        ("one", "bytes=65536-131071"),
        ("suffix", "bytes=-16384"),
        ("eight", "bytes=0-1,10-11,20-21,30-31,40-41,50-51,60-61,70-71"),
        ("ignored", "lines=1-2"),
    ] {
        let headers = headers(&[(RANGE, field)]);
        assert_eq!(range::select(&headers, LENGTH, true) == Selection::Ignored, name == "ignored");
        group.bench_function(name, |bench| bench.iter(|| range::select(black_box(&headers), LENGTH, true)));
    }
    group.bench_function("content_range", |bench| {
        bench.iter(|| range::content_range(black_box(&(65_536..131_072)), LENGTH));
    });
    group.finish();
}

fn codings(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("accept_encoding");
    for (name, field, stored, choice) in [
        ("browser", "gzip, deflate, br, zstd", Coding::Gzip, Choice::AsStored),
        ("weights", "br;q=1.0, gzip;q=0.8, *;q=0.1", Coding::Gzip, Choice::AsStored),
        ("refused", "identity, gzip;q=0", Coding::Gzip, Choice::Decode),
        ("identity", "gzip, deflate, br, zstd", Coding::Identity, Choice::AsStored),
    ] {
        let headers = headers(&[(ACCEPT_ENCODING, field)]);
        assert_eq!(encoding::choose(&headers, stored), choice, "{name}");
        group.bench_function(name, |bench| bench.iter(|| encoding::choose(black_box(&headers), stored)));
    }
    group.finish();
}

fn fields(criterion: &mut Criterion) {
    criterion.bench_function("host/name", |bench| bench.iter(|| host::valid(black_box(b"tiles.example:8080"))));
    criterion.bench_function("corr_id/taken", |bench| {
        bench.iter(|| corr_id::acceptable(black_box(b"01HF7YAT00E5M2K5T8V9W3X4Y6")));
    });
    criterion.bench_function("corr_id/made", |bench| bench.iter(|| corr_id::ulid(black_box(1_700_000_000_000), 7)));
    let modified = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    criterion.bench_function("date/format", |bench| bench.iter(|| date::format(black_box(modified))));
}
