//! Fills of one conf and of the next, side by side: what changes the store reaches both, and the old ones end when nobody needs them.

use std::sync::Arc;

use svc_edge::fill::{FillKey, Fills, lease};
use tokio::time::timeout;

use super::support::*;

/// Fills of another conf, in the process and over the store of `bench`, answered like its own.
fn beside(bench: &Bench) -> Arc<Fills> {
    Fills::new(&bench.all, conf(), bench.cas.clone(), bench.fake.clone())
}

#[tokio::test]
async fn what_is_invalidated_or_purged_is_stored_by_no_fill_of_any_conf() {
    let gate = Gate::new();
    let slow = Answer::halves("xx", &gate);
    let bench = Bench::new(move |_, _| slow.clone());
    let next = beside(&bench);
    let (old_a, old_b) = (bench.join("live/a").unwrap(), bench.join("live/b").unwrap());
    bench.until(|bench| bench.fetches() == 2).await;
    assert_eq!((bench.all.under_way(), next.under_way()), (2, 0));
    next.invalidate(&FillKey::path("live/a")).await.unwrap();
    bench.all.detach(|path| path == "live/b");
    gate.open();
    for reader in [old_a, old_b] {
        assert_eq!(get(reader).await.unwrap(), b"xx", "who reads, reads on");
    }
    assert_eq!((bench.stored("live/a"), bench.stored("live/b")), (None, None));
}

#[tokio::test]
async fn fills_that_are_gone_are_counted_no_more() {
    let bench = Bench::new(|_, _| Answer::ok("x"));
    let next = beside(&bench);
    let waiting = next.join(bench.ask("live/a")).unwrap();
    assert_eq!(bench.all.under_way(), 1);
    drop((waiting, next));
    assert_eq!(bench.all.under_way(), 0);
}

#[tokio::test]
async fn a_lease_ends_with_the_last_who_has_it() {
    let (lease, leased) = lease();
    let one = Arc::new(lease);
    let another = one.clone();
    let ended = tokio::spawn(leased.ended());
    drop(one);
    tokio::task::yield_now().await;
    assert!(!ended.is_finished());
    drop(another);
    timeout(SOON, ended).await.unwrap().unwrap();
}
