//! Bodies that come as streams: hashed in one place, written in another; and many of them committed together.

use svc_edge::conf::{CasBacking, CasConf, Durability};

use super::support::*;
use svc_edge::store::StoreError;
use svc_edge::store::cas::*;

#[test]
fn a_blob_that_is_hashed_apart_from_its_writing_is_the_same_blob() {
    for backing in [CasBacking::Disk, CasBacking::Memory] {
        let dir = temp();
        let cas = Cas::open(&CasConf { store: backing, ..conf(dir.path()) }).unwrap();
        for (size, step) in [(0, 1), (1, 1), (262_144, 70_000), (262_145, 262_144), (2_000_003, 65_536)] {
            let data = bytes(size);
            let (mut writer, mut hasher) = (cas.writer().unwrap(), BlobHasher::new());
            writer.reserve(size as u64).unwrap();
            // The hash runs ahead of the disk, on another thread.
            std::thread::scope(|scope| {
                scope.spawn(|| data.chunks(step).for_each(|chunk| hasher.update(chunk)));
                data.chunks(1000).for_each(|chunk| writer.append(chunk).unwrap());
            });
            assert_eq!((hasher.len(), hasher.is_empty(), writer.len()), (size as u64, size == 0, size as u64));
            let staged = writer.finish_with(hasher, false).unwrap();
            assert_eq!((staged.hash(), staged.len()), (blake3::hash(&data), size as u64));
            cas.commit(vec![Put { path: "a".into(), meta: meta(false), staged }]).unwrap();
            assert_eq!(read(&cas, "a").unwrap(), data, "{size} bytes");
        }
        assert_eq!(verify(&cas, false), []);
    }
}

#[test]
fn a_blob_of_which_more_or_less_was_hashed_than_written_comes_to_nothing() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    for (hashed, written) in [(999, 1000), (1001, 1000), (0, 1), (1, 0)] {
        let (mut writer, mut hasher) = (cas.writer().unwrap(), BlobHasher::new());
        writer.append(&bytes(written)).unwrap();
        hasher.update(&bytes(hashed));
        assert!(matches!(writer.finish_with(hasher, false), Err(StoreError::Corrupt(_))), "{hashed} of {written}");
    }
    // A file that somebody cut meanwhile.
    let mut writer = cas.writer().unwrap();
    writer.write(&bytes(1000)).unwrap();
    writer.reader().set_len(10).unwrap();
    assert!(matches!(writer.finish(false), Err(StoreError::Corrupt(_))));
    // Written and appended: no hasher has seen all of it.
    let mut writer = cas.writer().unwrap();
    writer.write(b"seen").unwrap();
    writer.append(b"unseen").unwrap();
    assert!(matches!(writer.finish(false), Err(StoreError::Corrupt(_))));
    assert_eq!(paths(&cas), Vec::<String>::new());
}

#[test]
fn a_batch_of_unsynced_blobs_is_committed_whole_where_fills_are_durable() {
    for backing in [CasBacking::Disk, CasBacking::Memory] {
        let dir = temp();
        let cas = Cas::open(&CasConf { durability: Durability::Fsync, store: backing, ..conf(dir.path()) }).unwrap();
        assert!(cas.durable());
        // Some share a blob, some blobs are there before, and some are put twice at one key.
        for _ in 0..2 {
            let put = |number: usize| Put {
                path: format!("p/{}", number % 90),
                meta: meta(false),
                staged: stage(&cas, &bytes(number % 40 * 100)),
            };
            let stored = cas.commit((0..100).map(put).collect()).unwrap();
            assert_eq!(stored.len(), 100);
        }
        for number in 10..90_usize {
            assert_eq!(read(&cas, &format!("p/{number}")).unwrap(), bytes(number % 40 * 100));
        }
        assert_eq!(read(&cas, "p/5").unwrap(), bytes(95 % 40 * 100), "the later of one batch rules");
        assert_eq!((cas.stat().unwrap().blobs, verify(&cas, false)), (40, vec![]));
    }
}
