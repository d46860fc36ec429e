//! What must hold in every order of steps.

use std::future::poll_fn;
use std::task::Poll;

use shuttle::future::block_on;
use shuttle::sync::mpsc;
use shuttle::thread;

use crate::flight::Joined;
use crate::harness::{CANCELLED, LOST, World, explore, read};

const KEY: &str = "a/b";

/// A client that misses: looks into the store, joins or starts, and looks again where it is told to. What it was answered with.
fn miss(world: &World, text: &'static str) -> Result<&'static str, &'static str> {
    loop {
        let seen = world.flights.seen(KEY);
        if let Some(hit) = world.stored() {
            return Ok(hit);
        }
        match world.flights.join(KEY, Some(seen), true) {
            Joined::LookAgain => {}
            Joined::Boarded(mut seat) => return read(&mut seat),
            Joined::Started(mut seat, writer) => {
                world.fill(writer, text);
                return read(&mut seat);
            }
        }
    }
}

#[test]
fn no_reader_misses_a_wake_up_and_all_read_the_same() {
    explore(|world| {
        let Joined::Started(mut first, writer) = world.flights.join(KEY, None, true) else { panic!("the first") };
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let world = world.clone();
                thread::spawn(move || match world.flights.join(KEY, None, true) {
                    Joined::Boarded(mut seat) => assert_eq!(read(&mut seat), Ok("x")),
                    // It was over before: this one starts anew.
                    Joined::Started(mut seat, writer) => {
                        world.fill(writer, "x");
                        assert_eq!(read(&mut seat), Ok("x"));
                    }
                    Joined::LookAgain => panic!("nothing was looked at"),
                })
            })
            .collect();
        let filler = {
            let world = world.clone();
            thread::spawn(move || world.fill(writer, "x"))
        };
        assert_eq!(read(&mut first), Ok("x"));
        drop(first);
        readers.into_iter().chain([filler]).for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn every_step_is_heard_before_the_next_is_taken() {
    explore(|world| {
        let Joined::Started(first, writer) = world.flights.join(KEY, None, true) else { panic!("the first") };
        let Joined::Boarded(second) = world.flights.join(KEY, None, true) else { panic!("the second") };
        let (heard, hears) = mpsc::channel();
        let readers = [first, second].map(|mut seat| {
            let heard = heard.clone();
            thread::spawn(move || {
                assert!(block_on(poll_fn(|cx| seat.poll_head(cx))).is_ok());
                heard.send(0).unwrap();
                for step in 1..=3 {
                    // A wait that is given up for another one, as under a deadline, leaves nothing behind that would keep this from being woken.
                    let not_yet = block_on(poll_fn(|cx| Poll::Ready(seat.poll_end(cx).is_pending())));
                    assert!(not_yet);
                    // The third byte never comes: what is heard then is that there are no more.
                    assert!(block_on(poll_fn(|cx| seat.poll_bytes(step, cx))).is_ok());
                    heard.send(step).unwrap();
                }
                assert!(block_on(poll_fn(|cx| seat.poll_end(cx))).is_ok());
            })
        });
        let both_heard = |step| (0..2).for_each(|_| assert_eq!(hears.recv(), Ok(step)));
        writer.head(world.payload("x"));
        both_heard(0);
        writer.progress(1);
        both_heard(1);
        writer.progress(2);
        both_heard(2);
        writer.whole();
        both_heard(3);
        writer.finish(None, Ok(world.payload("x")));
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn however_many_miss_there_is_one_fill() {
    explore(|world| {
        let clients: Vec<_> = (0..3)
            .map(|_| {
                let world = world.clone();
                thread::spawn(move || assert_eq!(miss(&world, "x"), Ok("x")))
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        assert_eq!(*world.fetches.lock().unwrap(), 1, "filled again what was stored");
    });
}

#[test]
fn a_fill_is_given_up_only_when_nobody_reads_it() {
    explore(|world| {
        let Joined::Started(first, writer) = world.flights.join(KEY, None, true) else { panic!("the first") };
        let leaves = thread::spawn(move || drop(first));
        let stays = {
            let world = world.clone();
            thread::spawn(move || match world.flights.join(KEY, None, true) {
                Joined::Boarded(mut seat) => assert_eq!(read(&mut seat), Ok("x"), "given up under a reader"),
                Joined::Started(mut seat, writer) => {
                    world.fill(writer, "x");
                    assert_eq!(read(&mut seat), Ok("x"));
                }
                Joined::LookAgain => panic!("nothing was looked at"),
            })
        };
        if !writer.cancel_if_abandoned(CANCELLED) {
            writer.head(world.payload("x"));
            if !writer.cancel_if_abandoned(CANCELLED) {
                world.fill(writer, "x");
            }
        }
        leaves.join().unwrap();
        stays.join().unwrap();
    });
}

#[test]
fn the_filler_hears_when_the_last_reader_leaves() {
    explore(|world| {
        let Joined::Started(first, writer) = world.flights.join(KEY, None, true) else { panic!("the first") };
        let Joined::Boarded(second) = world.flights.join(KEY, None, true) else { panic!("the second") };
        let readers = [first, second].map(|seat| thread::spawn(move || drop(seat)));
        block_on(poll_fn(|cx| writer.poll_abandoned(cx)));
        assert!(writer.cancel_if_abandoned(CANCELLED), "nobody is there, and nobody came");
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn a_fill_that_fails_fails_its_readers_and_nobody_who_comes_later() {
    explore(|world| {
        let Joined::Started(mut first, writer) = world.flights.join(KEY, None, true) else { panic!("the first") };
        let late = {
            let world = world.clone();
            thread::spawn(move || match world.flights.join(KEY, None, true) {
                Joined::Boarded(mut seat) => assert_eq!(read(&mut seat), Err(LOST)),
                Joined::Started(mut seat, writer) => {
                    world.fill(writer, "x");
                    assert_eq!(read(&mut seat), Ok("x"));
                }
                Joined::LookAgain => panic!("nothing was looked at"),
            })
        };
        let filler = {
            let world = world.clone();
            thread::spawn(move || {
                writer.head(world.payload("x"));
                writer.progress(1);
                drop(writer);
            })
        };
        assert_eq!(read(&mut first), Err(LOST));
        [late, filler].into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn what_was_whole_is_read_to_its_end_though_its_commit_fails() {
    explore(|world| {
        let Joined::Started(mut seat, writer) = world.flights.join(KEY, None, true) else { panic!("the first") };
        let filler = {
            let world = world.clone();
            thread::spawn(move || {
                writer.head(world.payload("x"));
                writer.progress(2);
                writer.whole();
                writer.finish(None, Err("disk"));
            })
        };
        let progress = block_on(poll_fn(|cx| seat.poll_bytes(3, cx)));
        assert!(progress.is_ok_and(|progress| progress.whole && progress.written == 2), "{progress:?}");
        assert_eq!(read(&mut seat), Err("disk"), "and its end is known");
        filler.join().unwrap();
    });
}

#[test]
fn what_was_invalidated_while_it_was_filled_is_not_stored() {
    explore(|world| {
        let Joined::Started(seat, writer) = world.flights.join(KEY, None, true) else { panic!("the first") };
        drop(seat);
        let committer = {
            let world = world.clone();
            // The committer's steps, as `commit.rs` takes them.
            thread::spawn(move || {
                if !writer.is_detached() {
                    world.store(Some("old"));
                    if writer.is_detached() {
                        world.store(None);
                    }
                }
                writer.finish(None, Ok(world.payload("old")));
            })
        };
        world.flights.detach(|key| key == KEY);
        world.store(None);
        committer.join().unwrap();
        assert_eq!(world.stored(), None, "an answer from before the change");
    });
}

#[test]
fn a_fill_with_two_names_is_found_by_both_and_leaves_none_behind() {
    explore(|world| {
        let Joined::Started(mut seat, writer) = world.flights.join(KEY, None, true) else { panic!("the first") };
        let other = {
            let world = world.clone();
            thread::spawn(move || match world.flights.join("a/b\0v1", None, true) {
                Joined::Boarded(mut seat) => assert_eq!(read(&mut seat), Ok("x")),
                Joined::Started(mut seat, writer) => {
                    world.fill(writer, "y");
                    assert_eq!(read(&mut seat), Ok("y"));
                }
                Joined::LookAgain => panic!("nothing was looked at"),
            })
        };
        let detacher = {
            let world = world.clone();
            thread::spawn(move || world.flights.detach(|key| key == KEY))
        };
        writer.alias("a/b\0v1");
        world.fill(writer, "x");
        assert_eq!(read(&mut seat), Ok("x"));
        [other, detacher].into_iter().for_each(|thread| thread.join().unwrap());
    });
}
