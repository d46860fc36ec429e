//! Room for fills: what does not fit makes room behind itself, and what never could is refused at once.

use svc_edge::conf::CasConf;

use super::support::*;
use svc_edge::store::StoreError;
use svc_edge::store::cas::*;

const MIB: usize = 1 << 20;

fn room(dir: &std::path::Path, max_bytes: usize) -> Cas {
    Cas::open(&CasConf { max_bytes: max_bytes as u64, ..conf(dir) }).unwrap()
}

/// Contents of their own for each number.
fn contents(number: usize, length: usize) -> Vec<u8> {
    let mut data = bytes(length);
    data[..8].copy_from_slice(&number.to_le_bytes());
    data
}

#[test]
fn a_fill_larger_than_what_is_free_is_stored_and_the_oldest_make_room_for_it() {
    let dir = temp();
    let cas = room(dir.path(), 4 * MIB);
    for number in 0..35 {
        fill(&cas, &format!("old/{number:02}"), &contents(number, MIB / 10), "old");
        rewind(dir.path(), 10);
    }
    put(&cas, "pinned", &contents(99, MIB / 2), true);
    assert_eq!(fill(&cas, "large", &contents(100, 3 * MIB), "new"), Stored::Added);
    cas.poll().unwrap();
    let stat = cas.stat().unwrap();
    assert!(stat.allocated_bytes <= 4 * MIB as u64, "{stat:?}");
    let left = paths(&cas);
    assert!(left.contains(&"large".into()) && left.contains(&"pinned".into()), "{left:?}");
    let old: Vec<_> = left.iter().filter(|path| path.starts_with("old/")).collect();
    assert!(!old.is_empty() && old.iter().all(|path| ***path >= *"old/25"), "those used last are left: {old:?}");
    assert_eq!((read(&cas, "large").unwrap(), verify(&cas, false)), (contents(100, 3 * MIB), vec![]));
}

#[test]
fn variants_are_evicted_one_by_one_like_any_object() {
    let dir = temp();
    let cas = room(dir.path(), MIB);
    for number in 0..200_usize {
        let key = filled_key("a", Some(&(number / 16).to_string()));
        fill(&cas, &variant(&key, number as u128), &contents(number, 30_000), "v");
        rewind(dir.path(), 10);
        if number % 25 == 0 {
            cas.poll().unwrap();
        }
    }
    cas.poll().unwrap();
    let stat = cas.stat().unwrap();
    assert!(stat.allocated_bytes <= MIB as u64 && stat.objects >= 20, "{stat:?}");
    let newest = cas.candidates(&filled_key("a", Some("12"))).unwrap();
    assert_eq!(newest.len(), 8, "those used last are all there");
    assert!(newest.iter().all(|info| cas.object(info).unwrap().is_some()));
    assert_eq!(verify(&cas, false), []);
}

#[test]
fn a_reservation_shows_no_bytes_and_leaves_none_behind_the_end() {
    let dir = temp();
    let cas = room(dir.path(), 64 * MIB);
    let mut writer = cas.writer().unwrap();
    writer.reserve(8 * MIB as u64).unwrap();
    assert_eq!((writer.len(), writer.reader().metadata().unwrap().len()), (0, 0));
    writer.append(&bytes(MIB)).unwrap();
    assert_eq!(writer.reader().metadata().unwrap().len(), MIB as u64);
    let mut hasher = BlobHasher::new();
    hasher.update(&bytes(MIB));
    let staged = writer.finish_with(hasher, false).unwrap();
    cas.commit(vec![Put { path: "a".into(), meta: meta(false), staged }]).unwrap();
    let allocated = cas.stat().unwrap().allocated_bytes;
    assert!((MIB as u64..2 * MIB as u64).contains(&allocated), "{allocated} bytes are counted");
    assert_eq!(read(&cas, "a").unwrap(), bytes(MIB));
}

#[test]
fn a_length_that_could_never_fit_is_refused_before_a_byte_of_it_came() {
    let dir = temp();
    let cas = room(dir.path(), MIB);
    let mut writer = cas.writer().unwrap();
    assert!(matches!(writer.reserve(MIB as u64 + 1), Err(StoreError::TooLarge(_))));
    writer.reserve(MIB as u64).unwrap();
    // More than any disk has.
    let cas = room(dir.path(), usize::MAX);
    let error = cas.writer().unwrap().reserve(1 << 60).unwrap_err();
    assert!(matches!(error, StoreError::Io(_)), "{error}");
    assert_eq!(count(&dir.path().join("tmp")), 0);
}
