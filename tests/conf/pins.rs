//! The lock file: what it pins, and what is wrong with it, by its own name and line.

use super::*;

const ONE: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

fn with(path: &Path, bytes: &[u8]) -> Loaded {
    std::fs::write(path, bytes).unwrap();
    file(&format!("edge: {{cas: {{lock: {}}}}}", path.display()))
}

#[test]
fn a_lock_file_pins_paths() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("assets.lock");
    let pins = with(&path, format!("# two\n{ONE}  a b\n{ONE}  c/d\n").as_bytes()).unwrap().edge.pins.unwrap();
    assert_eq!((pins.file.as_path(), pins.hashes.len()), (path.as_path(), 2));
    assert_eq!(pins.get("a b").map(|hash| hash[..2].to_vec()), Some(vec![0xaf, 0x13]));
    assert_eq!(pins.get("a%20b"), None);
    assert!(with(&path, b"").unwrap().edge.pins.unwrap().hashes.is_empty());
}

#[test]
fn what_is_wrong_with_a_lock_file_is_named_by_its_own_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("assets.lock");
    for (line, why) in [
        (format!("{ONE} a").into_bytes(), "has no two spaces behind its hash"),
        (b"a  b".to_vec(), "does not begin with 64 hex digits"),
        (format!("{ONE}  ../a").into_bytes(), "a dot segment"),
        (format!("{}  first", ONE.replace('a', "b")).into_bytes(), "pins a path that line 1 pins to another hash"),
        (b"\xff".to_vec(), "is not UTF-8"),
        (vec![b'a'; 5000], "is longer than"),
    ] {
        let text = [format!("{ONE}  first\n\n").into_bytes(), line, b"\nmore\n".to_vec()].concat();
        one_error(with(&path, &text), &format!("{}:3:1: ", path.display()), &[why, "; allowed: 64 hex digits"]);
    }
}

#[test]
fn a_lock_file_that_cannot_be_read_is_an_error_at_the_key() {
    for (name, why) in [("none.lock", "No such file"), (".", "not a regular file"), ("/dev/zero", "not a regular file")]
    {
        let text = format!("edge:\n  cas:\n    lock: {name}\n");
        one_error(
            file(&text),
            "c.yaml:3:11: `edge.cas.lock` names",
            &[why, "; allowed: a file of `svc-edge cas lock`"],
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_lock_files_never_panic_and_each_error_is_one_line(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("assets.lock");
        if let Err(errors) = with(&path, &bytes) {
            prop_assert_eq!(errors.to_string().lines().count(), 1);
        }
    }
}
