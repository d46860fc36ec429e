//! Large blobs on a damaged disk: what a window verifies, and what happens when the file changes under it.

use super::*;

const SEG: usize = SEGMENT as usize;

/// Wait until the ctime of what was written is old enough to be relied on.
fn settle() {
    let until = std::time::Instant::now() + std::time::Duration::from_millis(40);
    while let Some(rest) = until.checked_duration_since(std::time::Instant::now()) {
        std::thread::park_timeout(rest);
    }
}

fn window(cas: &Cas, path: &str) -> Arc<dyn Window> {
    match cas.head(path).unwrap().unwrap().body {
        Body::Windowed(window) => window,
        Body::Whole(_) => panic!("{path} is whole"),
    }
}

#[test]
fn a_large_blob_verifies_only_the_segments_that_a_window_touches() {
    let dir = tempfile::tempdir().unwrap();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    let data = bytes(3 * SEG + 17);
    let hash = put(&cas, "big", &data);
    // Before anything is open: the segments beside the blob are good, one segment of the blob is not.
    flip(&place(dir.path(), &hash), SEG as u64 + 100);
    settle();
    let window = window(&cas, "big");
    let mut buf = vec![0; 1000];
    assert!(!window.try_read_at(&mut buf, 5).unwrap(), "nothing is verified yet");
    window.read_at(&mut buf, 5).unwrap();
    assert_eq!(buf, data[5..1005]);
    window.read_at(&mut buf[..17], 3 * SEG as u64).unwrap();
    assert_eq!(buf[..17], data[3 * SEG..]);
    assert!(window.try_read_at(&mut buf, 2000).unwrap(), "verified and cached");
    assert_eq!(buf, data[2000..3000]);
    assert!(!window.try_read_at(&mut buf, SEG as u64 - 10).unwrap(), "reaches into one that isn't");
    // The first window that touches the bad segment takes the whole blob out.
    assert!(matches!(window.read_at(&mut buf, SEG as u64 - 10), Err(StoreError::Corrupt(_))));
    for result in [window.read_at(&mut buf, 5), window.try_read_at(&mut buf, 5).map(drop), window.check()] {
        assert!(matches!(result, Err(StoreError::Corrupt(_))));
    }
    assert!(cas.head("big").unwrap().is_none());
    assert!(cas.blob(&hash).unwrap().is_none());
    assert_eq!(fs::read_dir(dir.path().join("quarantine")).unwrap().count(), 1);
    // And it can be filled anew.
    put(&cas, "big", &data);
    assert_eq!(cas.head("big").unwrap().unwrap().read(0..data.len() as u64).unwrap(), data);
}

#[test]
fn a_touched_file_is_verified_again_and_a_cut_one_is_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    let data = bytes(2 * SEG + 5);
    let hash = put(&cas, "big", &data);
    let open = window(&cas, "big");
    settle();
    let mut buf = vec![0; data.len()];
    open.read_at(&mut buf, 0).unwrap();
    assert_eq!(buf, data);
    open.check().unwrap();
    assert!(open.try_read_at(&mut buf, 0).unwrap(), "an untouched file stays verified");
    // Touched, not changed.
    fs::set_permissions(place(dir.path(), &hash), fs::Permissions::from_mode(0o444)).unwrap();
    open.check().unwrap();
    assert!(!open.try_read_at(&mut buf, 0).unwrap(), "to be verified again");
    settle();
    open.read_at(&mut buf, 0).unwrap();
    assert!(open.try_read_at(&mut buf, 0).unwrap());
    // Changed in place: the check says touched, the read says corrupt.
    flip(&place(dir.path(), &hash), 2 * SEG as u64 + 1);
    open.check().unwrap();
    open.read_at(&mut buf[..10], 0).unwrap();
    assert!(matches!(open.read_at(&mut buf, 0), Err(StoreError::Corrupt(_))));

    let hash = put(&cas, "cut", &data);
    let open = window(&cas, "cut");
    let file = place(dir.path(), &hash);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    OpenOptions::new().write(true).open(&file).unwrap().set_len(SEG as u64).unwrap();
    assert!(matches!(open.check(), Err(StoreError::Corrupt(_))));
    // It is set aside by a thread of its own; until then it is corrupt to whoever asks.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !matches!(cas.head("cut"), Ok(None)) {
        assert!(std::time::Instant::now() < until);
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_byte_that_changes_between_two_reads_of_one_answer_never_goes_out() {
    let data = bytes(3 * SEG + 17);
    for wait in [true, false] {
        for (at, blocking) in [(5, true), (5, false), (SEG + 7, true), (SEG + 7, false), (3 * SEG + 16, false)] {
            let dir = tempfile::tempdir().unwrap();
            let cas = Cas::open(&conf(dir.path())).unwrap();
            let hash = put(&cas, "big", &data);
            // Not through `flip`: its chmod would move the ctime before the byte changes.
            fs::set_permissions(place(dir.path(), &hash), fs::Permissions::from_mode(0o644)).unwrap();
            let file = OpenOptions::new().write(true).open(place(dir.path(), &hash)).unwrap();
            let open = window(&cas, "big");
            if wait {
                settle();
            }
            let mut buf = vec![0; data.len()];
            open.read_at(&mut buf, 0).unwrap();
            assert!(open.try_read_at(&mut buf, 0).unwrap() || !wait, "warm once its ctime is old enough");
            file.write_all_at(&[!data[at]], at as u64).unwrap();
            // No `check` from here on, as in the middle of an answer.
            let part = &mut buf[..17];
            let from = at.saturating_sub(8).min(data.len() - part.len());
            let touched = if blocking {
                open.read_at(part, from as u64).map(|()| true)
            } else {
                open.try_read_at(part, from as u64)
            };
            match touched {
                Ok(false) => assert!(!blocking, "byte {at}"),
                Err(StoreError::Corrupt(_)) => continue,
                other => panic!("byte {at}: {other:?}, {part:?}"),
            }
            // The way an answer goes on from there.
            assert!(matches!(open.read_at(part, from as u64), Err(StoreError::Corrupt(_))), "byte {at}");
        }
    }
}

#[test]
fn a_read_behind_a_touch_verifies_the_bytes_it_has_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    let data = bytes(3 * SEG);
    let hash = put(&cas, "big", &data);
    let open = window(&cas, "big");
    settle();
    let mut buf = vec![0; data.len()];
    open.read_at(&mut buf, 0).unwrap();
    assert!(open.try_read_at(&mut buf, 0).unwrap());
    // One segment changes; the others are as good as they were, and no `check` comes between.
    flip(&place(dir.path(), &hash), 2 * SEG as u64);
    let part = &mut buf[..SEG + 100];
    part.fill(0);
    open.read_at(part, 0).unwrap();
    assert_eq!(part, &data[..SEG + 100]);
    assert!(!open.try_read_at(&mut buf[..10], 0).unwrap(), "the set was reset");
    // A file that is cut behind what is read is broken as a whole.
    let file = OpenOptions::new().write(true).open(place(dir.path(), &hash)).unwrap();
    file.set_len(2 * SEG as u64 + 1).unwrap();
    assert!(matches!(open.read_at(&mut buf[..10], 0), Err(StoreError::Corrupt(_))));
}

#[test]
fn missing_and_bad_segments_are_made_anew_from_the_whole_blob() {
    let dir = tempfile::tempdir().unwrap();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    let data = bytes(2 * SEG + 5);
    let hash = put(&cas, "big", &data);
    let kept = place(dir.path(), &hash).with_extension("seg");
    let good = fs::read(&kept).unwrap();
    settle();
    for bad in [None, Some(Vec::new()), Some(vec![0; good.len()]), Some(good[..good.len() - 1].to_vec())] {
        let _ = fs::remove_file(&kept);
        if let Some(bad) = bad {
            fs::write(&kept, bad).unwrap();
        }
        let cas = Cas::open(&conf(dir.path())).unwrap();
        let mut buf = vec![0; 100];
        assert!(
            window(&cas, "big").try_read_at(&mut buf, SEG as u64).unwrap(),
            "the hash of the whole verified it all"
        );
        assert_eq!((&buf[..], fs::read(&kept).unwrap()), (&data[SEG..SEG + 100], good.clone()));
    }
    // Neither segments nor the blob are what they should be.
    fs::remove_file(&kept).unwrap();
    flip(&place(dir.path(), &hash), 1);
    let cas = Cas::open(&conf(dir.path())).unwrap();
    assert!(matches!(cas.head("big"), Err(StoreError::Corrupt(_))));
    assert!(cas.head("big").unwrap().is_none());
}

#[test]
fn a_window_past_the_end_is_corrupt_and_never_a_panic() {
    let cas = Cas::open(&CasConf { store: CasBacking::Memory, ..conf(Path::new("/nowhere")) }).unwrap();
    put(&cas, "big", &bytes(SEG + 1));
    let open = window(&cas, "big");
    let mut buf = vec![0; 10];
    for offset in [SEG as u64 - 8, SEG as u64 + 1, u64::MAX, u64::MAX - 9] {
        assert!(matches!(open.read_at(&mut buf, offset), Err(StoreError::Corrupt(_))), "{offset}");
        assert!(matches!(open.try_read_at(&mut buf, offset), Err(StoreError::Corrupt(_))), "{offset}");
    }
    open.read_at(&mut [], SEG as u64 + 1).unwrap();
    assert!(open.try_read_at(&mut [], SEG as u64 + 1).unwrap());
    open.check().unwrap();
}
