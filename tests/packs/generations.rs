//! The packs of one conf and of the next: what is kept, opened, retired, and replaced while both are served.

use std::path::PathBuf;
use std::sync::Arc;

use svc_edge::conf::{PackConf, Verify};
use svc_edge::observe::bus::{self, Event};
use svc_edge::store::pack::mounts::Mounts;

use crate::build::*;
use crate::mounts::{archive, rest, settle, tile};

struct Shelf(tempfile::TempDir);

impl Shelf {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A pack whose one tile says `text`, put in place by rename.
    fn put(&self, name: &str, text: &str) -> PathBuf {
        let (new, path) = (self.0.path().join("new"), self.0.path().join(name));
        std::fs::write(&new, archive(format!("\x1a{text}").as_bytes())).unwrap();
        std::fs::rename(new, &path).unwrap();
        path
    }

    fn conf(&self, name: &str) -> PackConf {
        PackConf { name: name.into(), ..conf(&self.0.path().join(name), Verify::Full) }
    }
}

/// Events of packs with this beginning of their names, as `mounted:NAME`.
fn told(events: &mut bus::Listener, prefix: &str) -> Vec<String> {
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        match event {
            Event::PackMounted { pack, .. } if pack.starts_with(prefix) => told.push(format!("mounted:{pack}")),
            Event::PackUnmounted { pack } if pack.starts_with(prefix) => told.push(format!("unmounted:{pack}")),
            Event::PackLost { pack, .. } if pack.starts_with(prefix) => told.push(format!("lost:{pack}")),
            _ => {}
        }
    }
    told.sort();
    told
}

#[test]
fn what_is_unchanged_stays_open_what_is_new_is_opened_and_what_is_gone_is_retired() {
    let shelf = Shelf::new();
    ["next-a", "next-b", "next-c"].iter().for_each(|name| drop(shelf.put(name, name)));
    let old = Mounts::open(&[shelf.conf("next-a"), shelf.conf("next-b")], None).unwrap();
    let mut events = bus::subscribe();
    let (kept, gone) = (old.get("next-a").unwrap(), old.get("next-b").unwrap());
    let next = old.next(&[shelf.conf("next-c"), shelf.conf("next-a")]).unwrap();
    assert!(
        old.get("next-c").is_none() && gone.is_current(),
        "the old ones are what they were until they are superseded"
    );
    assert_eq!(told(&mut events, "next-"), [""; 0], "and nothing has happened yet");
    next.supersede(&old);
    assert!(Arc::ptr_eq(&kept, &next.get("next-a").unwrap()) && kept.is_current());
    assert!(next.get("next-b").is_none() && !gone.is_current());
    assert_eq!(tile(&next, "next-c").unwrap(), b"\x1anext-c");
    assert_eq!(tile(&old, "next-b").unwrap(), b"\x1anext-b", "who holds it ends on it");
    assert_eq!(told(&mut events, "next-"), ["mounted:next-c", "unmounted:next-b"]);
}

#[test]
fn a_pack_of_the_next_conf_that_is_bad_changes_nothing() {
    let shelf = Shelf::new();
    shelf.put("bad-a", "a");
    let old = Mounts::open(&[shelf.conf("bad-a")], None).unwrap();
    std::fs::write(shelf.0.path().join("bad-b"), b"no pack").unwrap();
    assert!(old.next(&[shelf.conf("bad-b")]).is_err());
    assert!(old.next(&[shelf.conf("bad-a"), shelf.conf("bad-a")]).is_err(), "two of one name");
    let patient = PackConf { verify: Verify::None, ..shelf.conf("bad-b") };
    let next = old.next(&[patient]).unwrap();
    assert_eq!(next.lost(), ["bad-b"]);
    assert!(old.get("bad-a").unwrap().is_current() && old.lost().is_empty());
}

#[test]
fn another_conf_of_the_same_file_opens_it_anew_and_keeps_its_tag() {
    let shelf = Shelf::new();
    shelf.put("tag-a", "a");
    let old = Mounts::open(&[shelf.conf("tag-a")], None).unwrap();
    let other = PackConf { cache_control: Some("no-store".into()), ..shelf.conf("tag-a") };
    let next = old.next(&[other]).unwrap();
    let (before, after) = (old.get("tag-a").unwrap(), next.get("tag-a").unwrap());
    assert!(!Arc::ptr_eq(&before, &after));
    assert_eq!(before.pack().unwrap().etag(), after.pack().unwrap().etag());
    assert_eq!(after.conf().cache_control.as_deref(), Some("no-store"));
}

#[test]
fn a_replacement_reaches_every_set_that_has_its_pack() {
    let shelf = Shelf::new();
    shelf.put("both-a", "one");
    shelf.put("both-b", "b");
    let old = Mounts::open(&[shelf.conf("both-a"), shelf.conf("both-b")], None).unwrap();
    let next = old.next(&[shelf.conf("both-a")]).unwrap();
    shelf.put("both-a", "two");
    settle(&old);
    assert_eq!(tile(&next, "both-a").unwrap(), b"\x1atwo");
    assert!(Arc::ptr_eq(&old.get("both-a").unwrap(), &next.get("both-a").unwrap()));
    next.supersede(&old);
    shelf.put("both-a", "three");
    settle(&next);
    assert_eq!(tile(&next, "both-a").unwrap(), b"\x1athree");
}

#[test]
fn a_replacement_that_was_being_opened_when_its_pack_was_taken_out_is_served_by_nobody() {
    let shelf = Shelf::new();
    shelf.put("late-a", "one");
    let old = Mounts::open(&[shelf.conf("late-a")], None).unwrap();
    let next = old.next(&[]).unwrap();
    shelf.put("late-a", "two");
    old.poll();
    old.poll();
    next.supersede(&old);
    rest(&old);
    assert!(next.all().is_empty());
    // And taken in again, it is what stands there.
    let again = next.next(&[shelf.conf("late-a")]).unwrap();
    again.supersede(&next);
    settle(&again);
    assert_eq!(tile(&again, "late-a").unwrap(), b"\x1atwo");
}

#[test]
fn what_was_refused_under_one_conf_is_looked_at_anew_under_another() {
    let shelf = Shelf::new();
    shelf.put("anew-a", "one");
    let old = Mounts::open(&[PackConf { verify: Verify::None, ..shelf.conf("anew-a") }], None).unwrap();
    std::fs::write(shelf.0.path().join("bad"), b"no pack").unwrap();
    std::fs::rename(shelf.0.path().join("bad"), shelf.0.path().join("anew-a")).unwrap();
    settle(&old);
    // The same bad file, under another name: it is told again, and the good one that follows is taken up.
    let other = PackConf { verify: Verify::None, name: "anew-b".into(), ..shelf.conf("anew-a") };
    let next = old.next(&[other]).unwrap();
    next.supersede(&old);
    settle(&next);
    assert_eq!(next.lost(), ["anew-b"]);
    shelf.put("anew-a", "good");
    settle(&next);
    assert_eq!(tile(&next, "anew-b").unwrap(), b"\x1agood");
}
