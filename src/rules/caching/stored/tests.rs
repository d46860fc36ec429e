#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::rules::caching::fixture::{after, date, headers, store};

fn example() -> StoredAnswer {
    StoredAnswer {
        status: 203,
        headers: headers("date: x\nlink: <a>\nx-unknown: 1\nlink: <b>\nempty:"),
        request_time: after(0) + Duration::from_nanos(1),
        response_time: after(2),
        vary: vec![(http::header::ACCEPT, Some(b"a,b".to_vec())), (http::header::ACCEPT_LANGUAGE, None)],
    }
}

#[test]
fn what_is_stored_is_what_came_without_what_was_for_the_connection() {
    let response = "Connection: x-hop\nX-Hop: 1\nKeep-Alive: a\nTransfer-Encoding: chunked\nProxy-Authenticate: a
        Content-Length: 5\nAge: 7\nX-Unknown: 1\nLink: <a>\nLink: <b>\nContent-Range: odd\nSet-Cookie2: a\nPragma: x";
    let stored = store(200, &format!("{response}\ndate: {}\ncache-control: max-age=60", date(-3))).unwrap();
    let expected = headers(&format!(
        "content-length: 5\nage: 7\nx-unknown: 1\nlink: <a>\nlink: <b>\ncontent-range: odd\nset-cookie2: a\npragma: x
        date: {}\ncache-control: max-age=60",
        date(-3)
    ));
    assert_eq!(stored.headers, expected);
    assert_eq!((stored.status, stored.request_time, stored.response_time), (200, after(0), after(0)));
}

#[test]
fn an_answer_without_a_date_gets_the_time_it_came() {
    for fields in ["", "date: foo"] {
        let stored = store(200, &format!("{fields}\ncache-control: max-age=60")).unwrap();
        assert_eq!(stored.headers.get_all(DATE).iter().collect::<Vec<_>>(), [&date(0)[..]], "{fields}");
    }
}

#[test]
fn the_layout_is_version_1_to_the_byte() {
    let answer = StoredAnswer {
        status: 200,
        headers: headers("a: bc"),
        request_time: UNIX_EPOCH + Duration::new(1, 2),
        response_time: UNIX_EPOCH + Duration::new(3, 4),
        vary: vec![(HeaderName::from_static("d"), None), (HeaderName::from_static("e"), Some(vec![]))],
    };
    let expected = [
        &[1, 0, 200][..],
        &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2],
        &[0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 4],
        &[0, 1, 0, 1, b'a', 0, 2, b'b', b'c'],
        &[0, 2, 0, 1, b'd', 0, 0, 0, 0, 1, b'e', 1, 0, 0],
    ]
    .concat();
    assert_eq!(answer.encode(), Ok(expected));
}

#[test]
fn what_was_cut_or_continued_or_is_of_another_version_is_not_read() {
    let bytes = example().encode().unwrap();
    assert_eq!(StoredAnswer::decode(&bytes), Some(example()));
    for length in 0..bytes.len() {
        assert_eq!(StoredAnswer::decode(&bytes[..length]), None, "{length}");
    }
    assert_eq!(StoredAnswer::decode(&[&bytes[..], &[0]].concat()), None);
    for version in [0, 2, 255] {
        let mut other = bytes.clone();
        other[0] = version;
        assert_eq!(StoredAnswer::decode(&other), None, "{version}");
    }
    // The nanoseconds of the first time.
    let mut nanos = bytes.clone();
    nanos[11..15].fill(255);
    assert_eq!(StoredAnswer::decode(&nanos), None);
    let mut far = bytes;
    far[3..11].fill(255);
    assert_eq!(StoredAnswer::decode(&far), None, "a time that no clock shows");
}

#[test]
fn what_is_too_large_is_neither_written_nor_read() {
    let with = |length: usize| {
        let mut answer = example();
        answer.headers = HeaderMap::new();
        answer.headers.insert("a", HeaderValue::from_bytes(&vec![b'x'; length]).unwrap());
        answer
    };
    let overhead = with(0).encode().unwrap().len();
    let largest = with(ENCODED_MAX - overhead);
    assert_eq!(StoredAnswer::decode(&largest.encode().unwrap()), Some(largest));
    assert_eq!(with(ENCODED_MAX - overhead + 1).encode(), Err(Why::TooLarge));
    assert_eq!(with(70_000).encode(), Err(Why::TooLarge));
    let mut zeros = vec![0; ENCODED_MAX + 1];
    zeros[0] = VERSION;
    assert_eq!(StoredAnswer::decode(&zeros), None);
}

fn any_answer() -> impl Strategy<Value = StoredAnswer> {
    let name = "[a-z][a-z0-9-]{0,12}";
    let fields = prop::collection::vec((name, "[ -~\u{e9}]{0,40}"), 0..20);
    let vary = prop::collection::vec((name, prop::option::of(prop::collection::vec(any::<u8>(), 0..40))), 0..8);
    (any::<u16>(), fields, 0..u64::from(u32::MAX), 0..1_000_000_000_u32, vary).prop_map(
        |(status, fields, seconds, nanos, vary)| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            let request_time = UNIX_EPOCH + Duration::new(seconds, nanos);
            StoredAnswer {
                status,
                headers,
                request_time,
                response_time: request_time + Duration::from_secs(1),
                vary: vary.into_iter().map(|(name, value)| (HeaderName::try_from(name).unwrap(), value)).collect(),
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(answer in any_answer()) {
        prop_assert_eq!(StoredAnswer::decode(&answer.encode().unwrap()), Some(answer));
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_what_is_read_can_be_written(
        answer in any_answer(), at: prop::sample::Index, byte: u8, noise: Vec<u8>,
    ) {
        let mut bytes = answer.encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        for bytes in [bytes, noise] {
            if let Some(read) = StoredAnswer::decode(&bytes) {
                let written = read.encode().unwrap();
                prop_assert_eq!(StoredAnswer::decode(&written), Some(read));
            }
        }
    }
}
