//! Many at once: what one client is answered is what that client asked for, in the coding it accepts, of one version.

use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::fixtures::{Tile, gunzip, gzip, mbtiles, noise, pmtiles, png, tag};
use crate::http::{Client, Response};
use crate::server::{Server, Setup, setup};

/// A resource and all that may be answered of it.
struct Known {
    path: String,
    content_type: &'static str,
    /// Without a coding.
    plain: Vec<u8>,
    /// In gzip, where it is stored so.
    coded: Option<Vec<u8>>,
    /// The tag of what has none by its bytes: a raw archive.
    etag: Option<String>,
}

/// One representation of it.
struct Representation<'a> {
    bytes: &'a [u8],
    coding: Option<&'static str>,
    etag: String,
    /// A coded resource, decoded, is answered whole only.
    ranges: bool,
}

impl Known {
    fn new(path: String, content_type: &'static str, plain: Vec<u8>) -> Self {
        Self { path, content_type, plain, coded: None, etag: None }
    }

    fn to(&self, gzip_accepted: bool) -> Representation<'_> {
        let (bytes, coding) = match &self.coded {
            Some(coded) if gzip_accepted => (coded, Some("gzip")),
            _ => (&self.plain, None),
        };
        let etag = self.etag.clone().unwrap_or_else(|| tag(bytes));
        Representation { bytes, coding, etag, ranges: self.coded.is_none() || coding.is_some() }
    }

    /// What every answer about it says, whatever its status.
    fn check(&self, answer: &Response, expected: &Representation, what: &str) {
        let context = format!("{} {what}", self.path);
        assert_eq!(answer.header("etag"), Some(expected.etag.as_str()), "{context}");
        assert_eq!(answer.header("vary"), self.coded.is_some().then_some("Accept-Encoding"), "{context}");
        if answer.status != 304 {
            assert_eq!(answer.header("content-type"), Some(self.content_type), "{context}");
            assert_eq!(answer.header("content-encoding"), expected.coding, "{context}");
        }
    }
}

/// A small generator, the same sequence in every run (Knuth's MMIX constants).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// The 21 tiles of zooms 0 to 2, each with bytes of its own.
fn pyramid(content: impl Fn(u8) -> Vec<u8>) -> Vec<(u8, u32, u32, Vec<u8>)> {
    let places = (0..3_u8).flat_map(|z| (0..1 << z).flat_map(move |x| (0..1 << z).map(move |y| (z, x, y))));
    (1_u8..).zip(places).map(|(seed, (z, x, y))| (z, x, y, content(seed))).collect()
}

fn write(
    path: &Path,
    tile_type: pmtiles::TileType,
    compression: pmtiles::Compression,
    tiles: &[(u8, u32, u32, Vec<u8>)],
) {
    let tiles: Vec<Tile> = tiles.iter().map(|(z, x, y, bytes)| (*z, *x, *y, bytes.as_slice())).collect();
    pmtiles(path, tile_type, compression, &tiles);
}

/// Packs and assets of every kind, and the model of what each path answers; `memory` bounds the hot set.
fn world(memory: &str) -> (Server, Vec<Known>) {
    let mut known = Vec::new();
    let setup = setup();
    let dir = setup.dir.path().to_owned();
    let images = pyramid(png);
    // Lengths differ: a body answered under another's header would show in its framing too.
    let vectors = pyramid(|seed| noise(500 + 37 * usize::from(seed), seed));
    write(&dir.join("i.pmtiles"), pmtiles::TileType::Png, pmtiles::Compression::None, &images);
    write(&dir.join("v.pmtiles"), pmtiles::TileType::Mvt, pmtiles::Compression::Gzip, &vectors);
    let coded: Vec<_> =
        vectors.iter().map(|(z, x, y, bytes)| (*z, *x, *y, gzip(&[bytes, &b"m"[..]].concat()))).collect();
    let tiles: Vec<Tile> = coded.iter().map(|(z, x, y, bytes)| (*z, *x, *y, bytes.as_slice())).collect();
    mbtiles(&dir.join("m.mbtiles"), "pbf", &tiles);
    let mvt = "application/vnd.mapbox-vector-tile";
    for (z, x, y, bytes) in images {
        known.push(Known::new(format!("/edge/assets/i/{z}/{x}/{y}.png"), "image/png", bytes));
    }
    for (z, x, y, bytes) in vectors {
        // The writer's gzip is not ours: its bytes are learned below.
        let coded = Some(Vec::new());
        known.push(Known { coded, ..Known::new(format!("/edge/assets/v/{z}/{x}/{y}.mvt"), mvt, bytes) });
    }
    for (z, x, y, bytes) in coded {
        let plain = gunzip(&bytes);
        known.push(Known { coded: Some(bytes), ..Known::new(format!("/edge/assets/m/{z}/{x}/{y}"), mvt, plain) });
    }
    let mut setup: Setup = setup
        .pack("i", &dir.join("i.pmtiles"), "")
        .pack("v", &dir.join("v.pmtiles"), "")
        .pack("m", &dir.join("m.mbtiles"), "")
        .edge(&format!("  cas: {{dir: {}, memory_bytes: {memory}}}\n", dir.join("cas").display()));
    let types = [("txt", "text/plain; charset=utf-8"), ("css", "text/css; charset=utf-8"), ("png", "image/png")];
    for number in 0..24_u8 {
        let (extension, media_type) = types[usize::from(number) % 3];
        // Small ones, held whole, and every sixth in segments.
        let bytes = noise(if number % 6 == 5 { 300_000 } else { 200 } + 11 * usize::from(number), 100 + number);
        setup = setup.asset(&format!("{number}.{extension}"), &bytes);
        known.push(Known::new(format!("/edge/assets/site/{number}.{extension}"), media_type, bytes));
    }
    let server = setup.unlimited().start();
    learn(&server, &dir, &mut known);
    (server, known)
}

/// What can't be known beforehand: the writer's gzip, TileJSON, the tags of archives. Each is held against what can.
fn learn(server: &Server, dir: &Path, known: &mut Vec<Known>) {
    for one in known.iter_mut().filter(|one| one.coded.as_ref().is_some_and(Vec::is_empty)) {
        let answer = server.get(&one.path, &[("Accept-Encoding", "gzip")]);
        assert!(gunzip(&answer.body) == one.plain, "{}", one.path);
        one.coded = Some(answer.body);
    }
    for name in ["i", "v"] {
        let path = format!("/edge/assets/{name}.pmtiles");
        let bytes = std::fs::read(dir.join(format!("{name}.pmtiles"))).unwrap();
        let etag = server.get(&path, &[]).header("etag").map(str::to_owned);
        known.push(Known { etag, ..Known::new(path, "application/vnd.pmtiles", bytes) });
    }
    for name in ["i", "v", "m"] {
        let path = format!("/edge/assets/{name}.json");
        let answer = server.get(&path, &[]);
        assert!(answer.text().contains(&format!("/edge/assets/{name}/{{z}}/")), "{path}");
        known.push(Known::new(path, "application/json", answer.body));
    }
}

/// One random request of one random resource, held against the model.
fn act(client: &mut Client, known: &[Known], random: &mut Random) {
    let one = &known[random.below(known.len())];
    let accepted = random.below(2) == 0;
    let expected = one.to(accepted);
    let accept = if accepted { "br;q=0.1, gzip" } else { "identity" };
    let (first, length) = (random.below(expected.bytes.len()), 1 + random.below(5000));
    let last = (first + length - 1).min(expected.bytes.len() - 1);
    let range = format!("bytes={first}-{last}");
    let other = &known[random.below(known.len())];
    let foreign = other.to(!accepted).etag;
    let kind = random.below(8);
    let condition = match kind {
        3 | 6 => Some(("Range", range.as_str())),
        4 => Some(("If-None-Match", expected.etag.as_str())),
        5 if foreign != expected.etag => Some(("If-None-Match", foreign.as_str())),
        7 if foreign != expected.etag => Some(("If-Match", foreign.as_str())),
        _ => None,
    };
    let mut headers = vec![("Accept-Encoding", accept)];
    headers.extend(condition);
    if kind == 6 {
        headers.push(("If-Range", expected.etag.as_str()));
    }
    let method = if kind == 2 { "HEAD" } else { "GET" };
    let what = format!("{method} {headers:?}");
    let answer = client.request(method, &one.path, &headers);
    match (kind, condition) {
        (4, _) => assert_eq!(answer.status, 304, "{} {what}", one.path),
        (7, Some(_)) => {
            assert_eq!(answer.status, 412, "{} {what}", one.path);
            return;
        }
        (3 | 6, _) if expected.ranges => {
            let told = format!("bytes {first}-{last}/{}", expected.bytes.len());
            assert_eq!(
                (answer.status, answer.header("content-range")),
                (206, Some(told.as_str())),
                "{} {what}",
                one.path
            );
            assert!(answer.body == expected.bytes[first..=last], "{} {what}", one.path);
        }
        _ => {
            assert_eq!(answer.status, 200, "{} {what}", one.path);
            assert_eq!(answer.header("content-length"), Some(expected.bytes.len().to_string().as_str()));
            assert!(method == "HEAD" || answer.body == expected.bytes, "{} {what}", one.path);
        }
    }
    one.check(&answer, &expected, &what);
}

#[test]
fn no_answer_ever_has_the_bytes_or_the_headers_of_another() {
    // With room for everything, and with so little that objects come and go all the time.
    for (seed, memory) in [(1, "64MiB"), (2, "256KiB")] {
        let (server, known) = world(memory);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (server, known) = (&server, &known);
                scope.spawn(move || {
                    let mut random = Random(seed * 1000 + thread);
                    let mut client = server.client();
                    for round in 0..400 {
                        act(&mut client, known, &mut random);
                        if round % 100 == 99 {
                            client = server.client();
                        }
                    }
                });
            }
        });
    }
}

#[test]
fn cold_lookups_of_one_key_at_once_all_get_its_bytes() {
    let (tile, small, large) = (noise(50_000, 1), noise(20_000, 2), noise(3_000_000, 3));
    let setup = setup();
    let v = setup.dir.path().join("v.pmtiles");
    pmtiles(&v, pmtiles::TileType::Mvt, pmtiles::Compression::Gzip, &[(0, 0, 0, &tile)]);
    let m = mbtiles(&setup.dir.path().join("m.mbtiles"), "pbf", &[(0, 0, 0, &gzip(&tile))]);
    let server = setup.pack("v", &v, "").pack("m", &m, "").asset("small", &small).asset("large", &large).start();
    let hash = format!("/edge/cas/b3/{}", blake3::hash(&small).to_hex());
    for (path, plain) in [
        ("/edge/assets/v/0/0/0", &tile),
        ("/edge/assets/m/0/0/0", &tile),
        ("/edge/assets/site/small", &small),
        (hash.as_str(), &small),
        ("/edge/assets/site/large", &large),
    ] {
        let start = Barrier::new(32);
        std::thread::scope(|scope| {
            for thread in 0..32 {
                let (server, start) = (&server, &start);
                scope.spawn(move || {
                    let mut client = server.client();
                    let accept = ["gzip", "identity"][thread % 2];
                    start.wait();
                    let answer = client.request("GET", path, &[("Accept-Encoding", accept)]);
                    assert_eq!(answer.status, 200, "{path} to {accept}: {:?}", answer.header("x-reason"));
                    assert_eq!(answer.header("etag"), Some(tag(&answer.body).as_str()), "{path} to {accept}");
                    let coded = answer.header("content-encoding") == Some("gzip");
                    assert!(!coded || accept == "gzip", "{path} to {accept}");
                    let body = if coded { gunzip(&answer.body) } else { answer.body };
                    assert!(body == *plain, "{path} to {accept}");
                });
            }
        });
        // Nobody was counted twice or forgotten.
        server.eventually("nothing in flight", || server.metric("edge_inflight") == 0.0);
    }
}

#[test]
fn while_a_pack_is_replaced_every_answer_is_entirely_of_one_version() {
    const VERSIONS: usize = 5;
    let versions: Vec<_> = (0..VERSIONS).map(|seed| noise(40_000 + 1000 * seed, seed as u8)).collect();
    let setup = setup();
    let path = setup.dir.path().join("v.pmtiles");
    let write = |path: &Path, version: usize| {
        let tile: Tile = (0, 0, 0, &versions[version]);
        pmtiles(path, pmtiles::TileType::Mvt, pmtiles::Compression::Gzip, &[tile]);
    };
    write(&path, 0);
    let server = setup.pack("v", &path, "").unlimited().start();
    let (done, seen) = (AtomicBool::new(false), [const { AtomicUsize::new(0) }; VERSIONS]);
    let ask = |client: &mut Client, accept: &str| {
        let answer = client.request("GET", "/edge/assets/v/0/0/0.mvt", &[("Accept-Encoding", accept)]);
        assert_eq!(answer.status, 200, "{:?}", answer.header("x-reason"));
        assert_eq!(answer.header("etag"), Some(tag(&answer.body).as_str()), "the tag is of these very bytes");
        assert_eq!(answer.header("content-encoding"), (accept == "gzip").then_some("gzip"));
        let body = if accept == "gzip" { gunzip(&answer.body) } else { answer.body };
        versions.iter().position(|version| *version == body).expect("bytes of no version")
    };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (server, done, seen) = (&server, &done, &seen);
            scope.spawn(move || {
                let mut client = server.client();
                while !done.load(Ordering::Acquire) {
                    seen[ask(&mut client, ["gzip", "identity"][thread % 2])].fetch_add(1, Ordering::Relaxed);
                }
                // After the last replacement was seen by one, nobody gets what was before.
                for accept in ["gzip", "identity"] {
                    assert_eq!(ask(&mut client, accept), VERSIONS - 1);
                }
            });
        }
        // Whatever happens, those who ask must end, or the scope would wait for them for ever.
        let _stop = Stop(&done);
        for version in 1..VERSIONS {
            let next = server.dir.path().join("next.pmtiles");
            write(&next, version);
            std::fs::rename(&next, &path).unwrap();
            server.eventually("replaced", || ask(&mut server.client(), "gzip") == version);
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    for (version, seen) in seen.iter().enumerate() {
        assert!(seen.load(Ordering::Relaxed) > 0, "nobody asked while version {version} was served");
    }
}

/// Says that it is over when it is dropped, in a panic too.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
