//! Range (RFC 9110 §14).

use crate::fixtures::{noise, pmtiles, png};
use crate::server::setup;

#[test]
fn one_range_is_206_and_what_is_no_range_is_ignored() {
    let server = setup().asset("ten", b"0123456789").start();
    let table: &[(&str, u16, &str, Option<&str>)] = &[
        ("bytes=0-0", 206, "0", Some("bytes 0-0/10")),
        ("bytes=2-5", 206, "2345", Some("bytes 2-5/10")),
        ("bytes=5-", 206, "56789", Some("bytes 5-9/10")),
        ("bytes=-3", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-30", 206, "0123456789", Some("bytes 0-9/10")),
        ("bytes=8-99", 206, "89", Some("bytes 8-9/10")),
        ("bytes=8-99999999999999999999999", 206, "89", Some("bytes 8-9/10")),
        ("bytes=-99999999999999999999999", 206, "0123456789", Some("bytes 0-9/10")),
        ("BYTES=0-0", 206, "0", Some("bytes 0-0/10")),
        ("bytes=-0", 416, "", Some("bytes */10")),
        ("bytes=10-", 416, "", Some("bytes */10")),
        ("bytes=99999999999999999999999-", 416, "", Some("bytes */10")),
        ("bytes=5-2", 200, "0123456789", None),
        ("bytes=", 200, "0123456789", None),
        ("bytes=a-b", 200, "0123456789", None),
        ("bytes=--1", 200, "0123456789", None),
        ("bytes 0-1", 200, "0123456789", None),
        ("lines=0-1", 200, "0123456789", None),
        ("bytes=0-1,4-5", 200, "0123456789", None),
    ];
    let mut client = server.client();
    for (range, status, body, content_range) in table {
        let answer = client.request("GET", "/edge/assets/site/ten", &[("Range", range)]);
        assert_eq!((answer.status, answer.header("content-range")), (*status, *content_range), "{range}");
        if *status == 416 {
            assert_eq!(answer.header("x-reason"), Some("invalid_range"));
        } else {
            assert_eq!(answer.text(), *body, "{range}");
            assert_eq!(answer.header("accept-ranges"), Some("bytes"));
        }
        assert_eq!(
            client.request("HEAD", "/edge/assets/site/ten", &[("Range", range)]).status,
            200,
            "HEAD has no Range"
        );
    }
}

#[test]
fn an_empty_object_has_no_range() {
    let server = setup().asset("empty", b"").start();
    assert_eq!(server.get("/edge/assets/site/empty", &[]).header("content-length"), Some("0"));
    for range in ["bytes=-1", "bytes=-0", "bytes=0-", "bytes=0-0"] {
        let answer = server.get("/edge/assets/site/empty", &[("Range", range)]);
        assert_eq!((answer.status, answer.header("content-range")), (416, Some("bytes */0")), "{range}");
    }
}

#[test]
fn several_ranges_are_multipart_where_the_conf_says_so() {
    let large = noise(3_000_000, 7);
    let server = setup().asset("large", &large).edge("  http: {multi_range: true}\n").start();
    let path = "/edge/assets/site/large";
    let answer = server.get(path, &[("Range", "bytes=0-9, 2999990-, 1000000-1500000")]);
    assert_eq!(answer.status, 206);
    assert_eq!(answer.header("content-range"), None);
    let boundary =
        answer.header("content-type").unwrap().strip_prefix("multipart/byteranges; boundary=").unwrap().to_owned();
    let parts = multipart(&answer.body, &boundary);
    assert_eq!(parts.len(), 3);
    for (part, (first, last)) in parts.iter().zip([(0, 9), (2_999_990, 2_999_999), (1_000_000, 1_500_000)]) {
        assert!(part.0.contains(&format!("Content-Range: bytes {first}-{last}/3000000")), "{}", part.0);
        assert_eq!(part.1, large[first..=last]);
    }
    // One left after merging is no multipart.
    let merged = server.get(path, &[("Range", "bytes=0-9,5-19,20-29")]);
    assert_eq!((merged.status, merged.header("content-range")), (206, Some("bytes 0-29/3000000")));
    // The unsatisfiable ones are left out; when nothing remains it is 416.
    assert_eq!(server.get(path, &[("Range", "bytes=0-9,9999999-")]).header("content-range"), Some("bytes 0-9/3000000"));
    assert_eq!(server.get(path, &[("Range", "bytes=9999999-,-0")]).status, 416);
    // More than eight: the whole.
    let many = (0..9).map(|i| format!("{}-{}", i * 10, i * 10 + 1)).collect::<Vec<_>>().join(",");
    let answer = server.get(path, &[("Range", &format!("bytes={many}"))]);
    assert_eq!((answer.status, answer.body.len()), (200, 3_000_000));
}

/// Split a multipart body: each part's header and bytes. Fails on anything before, between or behind.
fn multipart(body: &[u8], boundary: &str) -> Vec<(String, Vec<u8>)> {
    let delimiter = format!("--{boundary}").into_bytes();
    let find = |haystack: &[u8], needle: &[u8]| haystack.windows(needle.len()).position(|window| window == needle);
    let mut parts = Vec::new();
    let start = find(body, &delimiter).unwrap();
    assert!(body[..start].iter().all(|b| b"\r\n".contains(b)));
    let mut rest = &body[start + delimiter.len()..];
    while !rest.starts_with(b"--") {
        rest = rest.strip_prefix(b"\r\n").unwrap();
        let head = find(rest, b"\r\n\r\n").unwrap();
        let end = find(rest, &[b"\r\n".as_slice(), &delimiter].concat()).unwrap();
        parts.push((String::from_utf8(rest[..head].to_vec()).unwrap(), rest[head + 4..end].to_vec()));
        rest = &rest[end + 2 + delimiter.len()..];
    }
    assert!(rest == b"--" || rest == b"--\r\n", "{rest:?}");
    parts
}

#[test]
fn the_raw_archive_is_answered_by_range() {
    let setup = setup();
    let path = setup.dir.path().join("p.pmtiles");
    pmtiles(&path, pmtiles::TileType::Png, pmtiles::Compression::None, &[(0, 0, 0, &png(1)), (1, 0, 0, &png(2))]);
    let bytes = std::fs::read(&path).unwrap();
    let server = setup.pack("p", &path, "").start();
    let head = server.get("/edge/assets/p.pmtiles", &[("Range", "bytes=0-126")]);
    assert_eq!((head.status, head.body.as_slice()), (206, &bytes[..127]));
    assert_eq!(head.header("content-type"), Some("application/vnd.pmtiles"));
    assert_eq!(head.header("content-range"), Some(format!("bytes 0-126/{}", bytes.len()).as_str()));
    assert_eq!(server.get("/edge/assets/p.pmtiles", &[]).body, bytes);
}

#[test]
fn random_windows_of_a_large_object_are_its_bytes() {
    let large = noise(5_000_001, 3);
    let server = setup().asset("large", &large).start();
    let mut client = server.client();
    let mut seed = 1_u64;
    for _ in 0..200 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let first = (seed >> 33) as usize % large.len();
        let last = (first + (seed >> 11) as usize % 700_000).min(large.len() - 1);
        let answer = client.request("GET", "/edge/assets/site/large", &[("Range", &format!("bytes={first}-{last}"))]);
        assert_eq!(answer.status, 206);
        assert!(answer.body == large[first..=last], "{first}-{last}");
    }
}

#[test]
fn a_part_that_turns_out_corrupt_cuts_the_answer_and_is_never_served() {
    use std::os::unix::fs::PermissionsExt as _;
    let large = noise(3_000_000, 8);
    let server = setup().asset("large", &large).edge("  http: {multi_range: true}\n").start();
    for event in ["corrupt", "blob_quarantined", "body_cut", "message"] {
        server.claim(event);
    }
    let hex = blake3::hash(&large).to_hex();
    let file = server.dir.path().join("cas/b3").join(&hex[..2]).join(hex.as_str());
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut damaged = large.clone();
    damaged[2_600_005] ^= 1;
    std::fs::write(&file, &damaged).unwrap();
    let path = "/edge/assets/site/large";
    let mut raw = std::net::TcpStream::connect(server.address).unwrap();
    raw.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: edge.test\r\nConnection: close\r\nRange: bytes=0-99,2600000-2600099,2900000-2900099\r\n\r\n"
    );
    std::io::Write::write_all(&mut raw, request.as_bytes()).unwrap();
    let mut sent = Vec::new();
    let end = std::io::Read::read_to_end(&mut raw, &mut sent);
    assert!(end.as_ref().map_or_else(|error| error.kind() == std::io::ErrorKind::ConnectionReset, |_| true), "{end:?}");
    let has = |needle: &[u8]| sent.windows(needle.len()).any(|window| window == needle);
    assert!(sent.starts_with(b"HTTP/1.1 206") && has(&large[..100]), "the first part is sound and was sent");
    let header = sent.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let text = String::from_utf8_lossy(&sent[..header]).to_ascii_lowercase();
    let length = text.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap().parse::<usize>().unwrap();
    assert!(sent.len() - header < length, "the connection ends short of the promised length");
    for around in [2_600_000, 2_600_005, 2_600_016] {
        assert!(!has(&damaged[around..around + 16]), "bytes of the corrupt segment, at {around}");
        assert!(!has(&large[around..around + 16]), "nor is there a second copy of the right ones");
    }
    assert!(!has(&large[2_900_000..2_900_016]), "nothing follows what failed");
    assert!(!file.exists(), "the blob was moved away");
    assert!(server.metric("edge_verify_failures_total{kind=\"blob\"}") >= 1.0);
    // From now on it is not there, whichever part of it is asked for.
    for range in ["bytes=0-99", "bytes=2600000-2600099"] {
        let status = server.get(path, &[("Range", range)]).status;
        assert!(status == 404 || status == 502, "{range}: {status}");
    }
    server.eventually("nothing in flight", || server.metric("edge_inflight") == 0.0);
}
