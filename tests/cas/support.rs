//! Small helpers of the tests of the CAS.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use svc_edge::conf::{CasBacking, CasConf, Durability};
use svc_edge::rules::encoding::Coding;
use svc_edge::store::cas::*;
use svc_edge::store::{Store, StoreError};

pub fn temp() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

pub fn conf(dir: &Path) -> CasConf {
    CasConf {
        dir: dir.to_owned(),
        max_bytes: 1 << 40,
        max_objects: 1_000_000,
        memory_bytes: 0,
        store: CasBacking::Disk,
        durability: Durability::Verify,
    }
}

pub fn meta(pinned: bool) -> Meta {
    Meta { pinned, content_type: "text/plain".into(), coding: Coding::Identity, last_modified: None, extra: None }
}

pub fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

pub fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

pub fn put(cas: &Cas, path: &str, mut bytes: &[u8], pinned: bool) -> Stored {
    cas.put(path, &mut bytes, meta(pinned)).unwrap()
}

/// A fill of `key` with what its origin said of it.
pub fn fill(cas: &Cas, key: &str, bytes: &[u8], extra: &str) -> Stored {
    let meta = Meta { extra: Some(extra.to_owned().into()), ..meta(false) };
    cas.commit(vec![Put { path: key.to_owned(), meta, staged: stage(cas, bytes) }]).unwrap()[0]
}

/// A staged blob.
pub fn stage(cas: &Cas, bytes: &[u8]) -> Staged {
    let mut writer = cas.writer().unwrap();
    writer.write(bytes).unwrap();
    writer.finish(false).unwrap()
}

/// The variant of a number.
pub fn variant(key: &str, number: u128) -> String {
    variant_key(key, number.to_be_bytes())
}

/// What the candidates of a key say of themselves.
pub fn extras(cas: &Cas, key: &str) -> Vec<String> {
    let candidates = cas.candidates(key).unwrap();
    let text = |info: ObjectInfo| info.extra.map_or("-".into(), |extra| String::from_utf8(extra.to_vec()).unwrap());
    candidates.into_iter().map(text).collect()
}

pub fn import(cas: &Cas, dir: &Path, prefix: &str) -> ImportReport {
    cas.import(dir, prefix, &ImportOptions::default(), &mut |_| {}).unwrap()
}

pub fn try_read(cas: &Cas, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(object) = cas.head(path)? else { return Ok(None) };
    object.read(0..object.len()).map(|bytes| Some(bytes.to_vec()))
}

pub fn read(cas: &Cas, path: &str) -> Option<Vec<u8>> {
    try_read(cas, path).unwrap()
}

pub fn list(cas: &Cas) -> Vec<ObjectInfo> {
    let mut objects = Vec::new();
    cas.list("", &mut |object| {
        objects.push(object);
        ControlFlow::Continue(())
    })
    .unwrap();
    objects
}

pub fn paths(cas: &Cas) -> Vec<String> {
    list(cas).into_iter().map(|object| object.path).collect()
}

pub fn verify(cas: &Cas, quarantine: bool) -> Vec<Fault> {
    let mut faults = Vec::new();
    let report = cas.verify(quarantine, &mut |_| {}, &mut |fault| faults.push(fault.clone())).unwrap();
    assert_eq!(report.faults, faults.len() as u64);
    faults
}

pub fn place(dir: &Path, hash: &blake3::Hash) -> PathBuf {
    let hex = hash.to_hex();
    dir.join("b3").join(&hex[..2]).join(hex.as_str())
}

pub fn count(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

/// Whether something in `dir` has a name that begins so.
pub fn has(dir: &Path, beginning: &str) -> bool {
    fs::read_dir(dir).unwrap().any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with(beginning))
}

pub fn fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
}

/// Change one byte of a read-only file.
pub fn flip(path: &Path, at: u64) {
    use std::os::unix::fs::{FileExt, PermissionsExt};
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// Let everything that is stored have been stored and used this many seconds earlier.
pub fn rewind(dir: &Path, seconds: u32) {
    let index = rusqlite::Connection::open(dir.join("index.sqlite")).unwrap();
    let sql = "UPDATE objects SET stored_at = stored_at - ?1, last_used = last_used - ?1";
    index.execute(sql, [seconds]).unwrap();
}
