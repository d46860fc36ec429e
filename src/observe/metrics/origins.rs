//! Series by origin: the one label whose values come from the conf. They are registered before the first request and bounded,
//! so that no client can make one.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Origins with a series of their own; those above share `other`.
pub const MAX_ORIGINS: usize = 64;

/// The label's value for every origin beyond [`MAX_ORIGINS`].
const OTHER: &str = "other";

/// What the documentation says of the values.
pub(super) const VALUES: &str =
    "each origin's prefix as the conf writes it (`/` for the empty one), and `other` for those beyond 64";

/// The values, in the order in which they were registered. The set ones come first.
static NAMES: [OnceLock<Box<str>>; MAX_ORIGINS] = [const { OnceLock::new() }; MAX_ORIGINS];

/// Which origin a series is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OriginLabel(usize);

impl OriginLabel {
    /// The label of the origin with this prefix, registered now if it is new. For the prefixes of the conf alone.
    pub fn of(prefix: &str) -> Self {
        let name = if prefix.is_empty() { "/" } else { prefix };
        let place = NAMES.iter().position(|slot| &**slot.get_or_init(|| name.into()) == name);
        Self(place.unwrap_or(MAX_ORIGINS))
    }

    /// The value as it stands in labels and logs.
    pub fn as_str(self) -> &'static str {
        NAMES.get(self.0).and_then(OnceLock::get).map_or(OTHER, |name| name)
    }
}

/// A number for each origin. Fills are rare beside hits: one cell each, not one for each thread.
pub struct ByOrigin {
    cells: [AtomicU64; MAX_ORIGINS + 1],
}

impl ByOrigin {
    /// All of them at zero.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self { cells: [const { AtomicU64::new(0) }; MAX_ORIGINS + 1] }
    }

    /// Count one.
    pub fn inc(&self, origin: OriginLabel) {
        self.cells[origin.0].fetch_add(1, Relaxed);
    }

    /// Count one less, for gauges.
    pub fn dec(&self, origin: OriginLabel) {
        self.cells[origin.0].fetch_sub(1, Relaxed);
    }

    /// The value.
    pub fn get(&self, origin: OriginLabel) -> u64 {
        self.cells[origin.0].load(Relaxed)
    }

    /// The label's value and the number of each registered origin; `other` once there is one.
    pub(super) fn series(&self) -> Vec<(&'static str, u64)> {
        let registered = NAMES.iter().take_while(|name| name.get().is_some()).count();
        let shown = if registered == MAX_ORIGINS { MAX_ORIGINS + 1 } else { registered };
        (0..shown).map(OriginLabel).map(|label| (label.as_str(), self.get(label))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_keeps_its_label_and_every_origin_beyond_the_bound_shares_one() {
        static SERIES: ByOrigin = ByOrigin::new();
        let fonts = OriginLabel::of("fonts/");
        assert_eq!(fonts, OriginLabel::of("fonts/"));
        assert_eq!(OriginLabel::of("").as_str(), "/");
        SERIES.inc(fonts);
        assert!(SERIES.series().contains(&("fonts/", 1)));
        assert!(SERIES.series().contains(&("/", 0)), "a registered series stands at zero");
        let many: Vec<_> = (0..2 * MAX_ORIGINS).map(|n| OriginLabel::of(&format!("o{n}/"))).collect();
        let last = many[2 * MAX_ORIGINS - 1];
        assert_eq!(last.as_str(), "other");
        (0..4).for_each(|_| SERIES.inc(last));
        SERIES.dec(last);
        assert_eq!(SERIES.series().len(), MAX_ORIGINS + 1);
        assert_eq!(SERIES.series().last(), Some(&("other", 3)));
        assert_eq!(SERIES.get(fonts), 1, "the first ones keep their own");
    }
}
