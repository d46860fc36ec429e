//! Cache directives, read exactly (RFC 9111 §5.2, RFC 9213 §2.1): of requests into a few numbers without allocation, of
//! answers into what a shared cache does with them.
//!
//! Where a directive of an answer can't be understood, what it forbids is taken to be forbidden and what it permits is
//! not taken to be permitted: a lifetime that is no number is over (§4.2.1). A directive of a request that has no
//! valid argument is as if it were not there, since following it is a courtesy (§5.2.1).

mod line;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, PRAGMA};

pub(super) use self::line::delta_seconds;
use self::line::{Argument, DELTA_MAX, Directive, Directives};
use crate::rules::fields::Fields;
use crate::rules::header::{elements, trim};
use crate::rules::structured::{self, Value};

/// What a request says about caching (RFC 9111 §5.2.1, RFC 5861 §4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// No stored answer without asking the origin.
    pub no_cache: bool,
    /// Nothing of this exchange may be stored. What is stored already may answer it (§5.2.1.5).
    pub no_store: bool,
    /// A stored answer, or 504.
    pub only_if_cached: bool,
    /// No answer older than these seconds.
    pub max_age: Option<u32>,
    /// No answer that gets stale within these seconds.
    pub min_fresh: Option<u32>,
    /// An answer that has been stale for no more than these seconds is welcome too.
    pub max_stale: Option<u32>,
    /// The same, when the origin fails.
    pub stale_if_error: Option<u32>,
}

impl RequestDirectives {
    /// A request that says nothing, or whose directives the conf ignores.
    pub const fn none() -> Self {
        Self {
            no_cache: false,
            no_store: false,
            only_if_cached: false,
            max_age: None,
            min_fresh: None,
            max_stale: None,
            stale_if_error: None,
        }
    }

    /// What the fields of a request say. `Pragma: no-cache` counts where there is no `Cache-Control` (§5.4).
    pub fn of(request: &impl Fields) -> Self {
        let mut found = Self::none();
        if !request.has(&CACHE_CONTROL) {
            let pragma = request.lines(&PRAGMA);
            found.no_cache = pragma.flat_map(elements).any(|element| element.eq_ignore_ascii_case(b"no-cache"));
            return found;
        }
        for line in request.lines(&CACHE_CONTROL) {
            for directive in Directives::new(line) {
                found.take(&directive);
            }
        }
        found
    }

    /// Of a directive that comes twice, the stricter counts.
    fn take(&mut self, directive: &Directive<'_>) {
        let seconds = directive.argument.seconds();
        if directive.is(b"no-cache") {
            self.no_cache = true;
        } else if directive.is(b"no-store") {
            self.no_store = true;
        } else if directive.is(b"only-if-cached") {
            self.only_if_cached = true;
        } else if directive.is(b"max-age") {
            self.max_age = stricter(self.max_age, seconds, u32::min);
        } else if directive.is(b"min-fresh") {
            self.min_fresh = stricter(self.min_fresh, seconds, u32::max);
        } else if directive.is(b"max-stale") {
            // Without a number, any staleness is welcome (§5.2.1.2).
            let any = matches!(directive.argument, Argument::Absent).then_some(u32::MAX);
            self.max_stale = stricter(self.max_stale, seconds.or(any), u32::min);
        } else if directive.is(b"stale-if-error") {
            self.stale_if_error = stricter(self.stale_if_error, seconds, u32::min);
        }
    }
}

/// Whether nobody on the way may change the content of a message with these fields, its coding included
/// (RFC 9111 §5.2.2.6, RFC 9110 §7.7). That is no matter of caching, so `CDN-Cache-Control` does not take it back.
pub fn no_transform(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(CACHE_CONTROL).iter();
    lines.any(|line| Directives::new(line.as_bytes()).any(|directive| directive.is(b"no-transform")))
}

fn stricter(known: Option<u32>, new: Option<u32>, pick: fn(u32, u32) -> u32) -> Option<u32> {
    match (known, new) {
        (Some(known), Some(new)) => Some(pick(known, new)),
        (known, new) => known.or(new),
    }
}

/// How much of an answer a `private` or `no-cache` is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Scope {
    /// Nothing: the directive is not there.
    #[default]
    Nothing,
    /// The fields that it lists.
    Fields(Vec<HeaderName>),
    /// The answer as a whole.
    Whole,
}

impl Scope {
    fn widen(&mut self, by: Self) {
        match (&mut *self, by) {
            (Self::Fields(names), Self::Fields(more)) => names.extend(more),
            (Self::Whole, _) | (_, Self::Nothing) => {}
            (_, wider) => *self = wider,
        }
    }

    /// The fields listed in an argument. One that lists none, or a thing that is no name, is about the whole.
    fn listed(text: impl Iterator<Item = u8>) -> Self {
        let text: Vec<u8> = text.collect();
        let names: Result<Vec<_>, _> = text
            .split(|byte| *byte == b',')
            .map(trim)
            .filter(|name| !name.is_empty())
            .map(HeaderName::from_bytes)
            .collect();
        match names {
            Ok(names) if !names.is_empty() => Self::Fields(names),
            _ => Self::Whole,
        }
    }
}

/// What an answer says about caching (RFC 9111 §5.2.2, RFC 5861, RFC 8246). Numbers are seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ResponseDirectives {
    pub no_store: bool,
    pub no_cache: Scope,
    pub private: Scope,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub immutable: bool,
    pub max_age: Option<u32>,
    pub s_maxage: Option<u32>,
    pub stale_while_revalidate: Option<u32>,
    pub stale_if_error: Option<u32>,
    /// They came in `CDN-Cache-Control`: `Cache-Control` and `Expires` do not count (RFC 9213 §2.2).
    pub targeted: bool,
    /// A quoted string did not end, or stood where none can: what else the line said can't be known.
    pub broken: bool,
}

impl ResponseDirectives {
    /// What the fields of an answer say to this cache.
    pub fn of(response: &HeaderMap) -> Self {
        Self::targeted(response).unwrap_or_else(|| {
            let mut found = Self::default();
            for line in response.get_all(CACHE_CONTROL) {
                for directive in Directives::new(line.as_bytes()) {
                    found.take(&directive);
                }
            }
            found
        })
    }

    /// Whether a shared cache may not answer with it once it is stale, whoever would permit it (§4.2.4).
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.s_maxage.is_some()
    }

    fn take(&mut self, directive: &Directive<'_>) {
        let argument = &directive.argument;
        let bare = matches!(argument, Argument::Absent);
        self.broken |= matches!(argument, Argument::Unterminated);
        let scope = || match argument {
            Argument::Text(text) => Scope::listed(text.bytes()),
            _ => Scope::Whole,
        };
        let name = directive.name;
        if directive.is(b"no-store") {
            self.no_store = true;
        } else if directive.is(b"no-cache") {
            self.no_cache.widen(scope());
        } else if directive.is(b"private") {
            self.private.widen(scope());
        } else if directive.is(b"must-revalidate") {
            self.must_revalidate = true;
        } else if directive.is(b"proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if directive.is(b"public") {
            self.public |= bare;
        } else if directive.is(b"must-understand") {
            self.must_understand |= bare;
        } else if directive.is(b"immutable") {
            self.immutable |= bare;
        } else if let Some(number) = self.number(|known| name.eq_ignore_ascii_case(known.as_bytes())) {
            // A number that is none, or that contradicts an earlier one, is over (§4.2.1).
            let seconds = argument.seconds().unwrap_or(0);
            *number = Some(if number.is_some_and(|known| known != seconds) { 0 } else { seconds });
        }
    }

    /// The place of the number whose directive `is` names.
    fn number(&mut self, is: impl Fn(&str) -> bool) -> Option<&mut Option<u32>> {
        [
            ("max-age", &mut self.max_age),
            ("s-maxage", &mut self.s_maxage),
            ("stale-while-revalidate", &mut self.stale_while_revalidate),
            ("stale-if-error", &mut self.stale_if_error),
        ]
        .into_iter()
        .find_map(|(name, number)| is(name).then_some(number))
    }

    /// What `CDN-Cache-Control` says. `None` where it is not there, empty, no Dictionary, or has a value of a type that
    /// the directive does not have: then it is to be ignored as a whole (RFC 9213 §2.1).
    fn targeted(response: &HeaderMap) -> Option<Self> {
        let mut found = Self { targeted: true, ..Self::default() };
        let (mut any, mut typed) = (false, true);
        let lines = response.get_all("cdn-cache-control");
        structured::dictionary(lines.iter().map(http::HeaderValue::as_bytes), |key, value| {
            any = true;
            typed &= found.take_member(key, value);
        })
        .ok()?;
        (any && typed).then_some(found)
    }

    /// Take a member in; the last of a key counts. Whether the value's type is the directive's.
    fn take_member(&mut self, key: &str, value: Value<'_>) -> bool {
        let scope = match key {
            "no-cache" => Some(&mut self.no_cache),
            "private" => Some(&mut self.private),
            _ => None,
        };
        if let Some(scope) = scope {
            *scope = match value {
                Value::Boolean(true) => Scope::Whole,
                Value::Boolean(false) => Scope::Nothing,
                // A backslash is no part of a name, so that an escape makes it the whole.
                Value::String(text) | Value::Token(text) => Scope::listed(text.bytes()),
                _ => return false,
            };
            return true;
        }
        let flag = match key {
            "no-store" => Some(&mut self.no_store),
            "must-revalidate" => Some(&mut self.must_revalidate),
            "proxy-revalidate" => Some(&mut self.proxy_revalidate),
            "public" => Some(&mut self.public),
            "must-understand" => Some(&mut self.must_understand),
            "immutable" => Some(&mut self.immutable),
            _ => None,
        };
        if let Some(flag) = flag {
            let Value::Boolean(set) = value else { return false };
            *flag = set;
            return true;
        }
        if let Some(number) = self.number(|known| key == known) {
            let Value::Integer(seconds) = value else { return false };
            // Below zero is over; above what counts is the most that counts.
            *number = Some(u32::try_from(seconds.clamp(0, i64::from(DELTA_MAX))).unwrap_or(DELTA_MAX));
        }
        true
    }
}

#[cfg(test)]
mod tests;
