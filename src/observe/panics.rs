//! Panics that are caught where they are expected: their place is kept for the one who catches them, and they print nothing.
//!
//! Rust's own hook prints what a panic says, which may be made from a request, and not as a line of the log. It stays in charge of all others.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether this thread is inside of [`catch`].
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
    /// Where the last panic inside of it was.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A panic that was caught.
#[derive(Debug)]
pub struct Panic {
    place: String,
    text: &'static str,
}

impl Panic {
    /// `file:line:column`; empty if it is not known.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What it says, if that is a text of the program; what was put together when it ran is left out, as a request may be in it.
    pub fn text(&self) -> &'static str {
        self.text
    }
}

/// Keep the places of panics that are caught here. Once for the process; further calls do nothing.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = take_hook();
        set_hook(Box::new(move |info| {
            // A thread that is being torn down has lost its locals, and catches nothing.
            if EXPECTED.try_with(Cell::get).unwrap_or(false) {
                let place = info.location().map(ToString::to_string).unwrap_or_default();
                let _ = PLACE.try_with(|kept| kept.replace(place));
            } else {
                others(info);
            }
        }));
    });
}

/// Run `body`; an error, if it panics. The caller answers for what it leaves behind.
pub fn catch<T>(body: impl FnOnce() -> T) -> Result<T, Panic> {
    let before = EXPECTED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(body));
    EXPECTED.set(before);
    done.map_err(|said| Panic { place: PLACE.take(), text: literal(said.as_ref()) })
}

fn literal(said: &(dyn Any + Send)) -> &'static str {
    said.downcast_ref::<&'static str>().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_panic_that_is_caught_says_its_place_and_nothing_of_what_came_from_outside() {
        install();
        assert_eq!(catch(|| 7).unwrap(), 7);
        let secret = "secret".to_owned();
        let panic = catch(|| panic!("bad {secret}")).unwrap_err();
        assert_eq!(panic.text(), "");
        let (file, at) = panic.place().split_once(':').unwrap();
        assert!(file.ends_with("panics.rs") && at.contains(':'), "{panic:?}");
        let panic = catch(|| panic!("a text of the program")).unwrap_err();
        assert_eq!(panic.text(), "a text of the program");
        let inner = catch(|| catch(|| panic!("inner")).map_err(|panic| panic.text())).unwrap();
        assert_eq!(inner, Err::<(), _>("inner"));
        assert!(!EXPECTED.get());
    }
}
