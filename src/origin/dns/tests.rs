#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::sync::Semaphore;

use super::*;

const NAME: &str = "a.example";
const TTL: Duration = Duration::from_secs(30);

/// A resolver that answers what it is told to, once for each permit.
struct Told {
    answers: Mutex<Vec<io::Result<Vec<IpAddr>>>>,
    permits: Semaphore,
    asked: AtomicUsize,
}

#[async_trait]
impl Lookup for Told {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        assert_eq!(name, NAME);
        self.asked.fetch_add(1, SeqCst);
        self.permits.acquire().await.unwrap().forget();
        self.answers.lock().unwrap().remove(0)
    }
}

fn told(permits: usize, answers: Vec<io::Result<Vec<IpAddr>>>) -> (Arc<Told>, Dns) {
    let told =
        Arc::new(Told { answers: Mutex::new(answers), permits: Semaphore::new(permits), asked: AtomicUsize::new(0) });
    (told.clone(), Dns::new([NAME.to_owned()].into_iter(), TTL, told))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn refused() -> io::Result<Vec<IpAddr>> {
    Err(io::Error::other("SERVFAIL"))
}

#[test]
fn the_families_take_turns_and_an_address_stands_once() {
    let of = |list: &[&str]| list.iter().map(|text| ip(text)).collect::<Vec<_>>();
    assert_eq!(
        interleave(of(&["::1", "::2", "::1", "10.0.0.1", "10.0.0.2", "10.0.0.3"])),
        of(&["::1", "10.0.0.1", "::2", "10.0.0.2", "10.0.0.3"])
    );
    assert_eq!(interleave(of(&["10.0.0.1", "::1", "::2"])), of(&["10.0.0.1", "::1", "::2"]));
    let many = (0..200).map(|n| IpAddr::from([10, 0, 0, n])).collect();
    assert_eq!(interleave(many).len(), MAX_ADDRESSES);
    assert_eq!(interleave(Vec::new()), Vec::<IpAddr>::new());
}

#[tokio::test]
async fn an_answer_is_kept_for_its_time_and_then_asked_for_again() {
    let (told, dns) = told(9, vec![Ok(vec![ip("10.0.0.1")]), Ok(vec![ip("10.0.0.2")])]);
    let now = Instant::now();
    assert_eq!(*dns.resolve(NAME, now).await.unwrap(), [ip("10.0.0.1")]);
    assert_eq!(*dns.resolve(NAME, now + TTL / 2).await.unwrap(), [ip("10.0.0.1")]);
    assert_eq!(told.asked.load(SeqCst), 1);
    assert_eq!(*dns.resolve(NAME, now + TTL).await.unwrap(), [ip("10.0.0.2")]);
    assert_eq!(told.asked.load(SeqCst), 2);
}

#[tokio::test]
async fn many_who_ask_at_once_cost_one_lookup() {
    let (told, dns) = told(0, vec![Ok(vec![ip("10.0.0.1")])]);
    let (dns, now) = (Arc::new(dns), Instant::now());
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let dns = dns.clone();
            tokio::spawn(async move { dns.resolve(NAME, now).await })
        })
        .collect();
    tokio::task::yield_now().await;
    // One that leaves does not end the lookup of the others.
    asking[0].abort();
    told.permits.add_permits(1);
    for task in asking.into_iter().skip(1) {
        assert_eq!(*task.await.unwrap().unwrap(), [ip("10.0.0.1")]);
    }
    assert_eq!(told.asked.load(SeqCst), 1);
}

#[tokio::test]
async fn a_failure_is_kept_for_two_seconds() {
    let (told, dns) = told(9, vec![refused(), Ok(Vec::new()), Ok(vec![ip("::1")])]);
    let now = Instant::now();
    assert_eq!(dns.resolve(NAME, now).await, Err("SERVFAIL".into()));
    assert_eq!(dns.resolve(NAME, now + NEGATIVE_TTL / 2).await, Err("SERVFAIL".into()));
    assert_eq!(told.asked.load(SeqCst), 1);
    let later = now + NEGATIVE_TTL;
    assert_eq!(dns.resolve(NAME, later).await, Err("the name has no address".into()));
    assert_eq!(*dns.resolve(NAME, later + NEGATIVE_TTL).await.unwrap(), [ip("::1")]);
}

#[tokio::test]
async fn old_addresses_serve_while_the_resolver_fails_but_not_for_ever() {
    let (_, dns) = told(9, vec![Ok(vec![ip("10.0.0.1")]), refused(), refused()]);
    let now = Instant::now();
    dns.resolve(NAME, now).await.unwrap();
    assert_eq!(*dns.resolve(NAME, now + TTL).await.unwrap(), [ip("10.0.0.1")]);
    assert_eq!(dns.resolve(NAME, now + OLD_FOR).await, Err("SERVFAIL".into()));
}

#[tokio::test]
async fn a_resolver_that_hangs_is_asked_once_and_old_addresses_serve_meanwhile() {
    let (told, dns) = told(1, vec![Ok(vec![ip("10.0.0.1")]), Ok(vec![ip("10.0.0.2")])]);
    let now = Instant::now();
    dns.resolve(NAME, now).await.unwrap();
    let later = now + TTL;
    assert_eq!(*dns.resolve(NAME, later).await.unwrap(), [ip("10.0.0.1")], "after a tenth of a second");
    assert_eq!(*dns.resolve(NAME, later).await.unwrap(), [ip("10.0.0.1")], "at once");
    assert_eq!(*dns.resolve(NAME, later + NEGATIVE_TTL).await.unwrap(), [ip("10.0.0.1")]);
    assert_eq!(told.asked.load(SeqCst), 2, "the one that hangs is not joined by more");
    told.permits.add_permits(1);
    while *dns.resolve(NAME, later + Duration::from_secs(1)).await.unwrap() != [ip("10.0.0.2")] {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_lookup_that_panics_is_an_error_and_the_next_one_is_a_new_one() {
    let (_, dns) = told(9, Vec::new());
    let now = Instant::now();
    assert!(dns.resolve(NAME, now).await.is_err(), "its answers are used up: it panics");
    assert!(dns.resolve("another.example", now).await.is_err());
}
