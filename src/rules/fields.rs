//! The field lines of a request by name, whatever holds them: a header map, or the bytes of a header as they came.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Field lines (RFC 9110 §5.2).
pub trait Fields {
    /// The values of the lines of `name`, in the order in which they came.
    fn lines(&self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &[u8]>;

    /// Whether there is a line of `name`.
    fn has(&self, name: &HeaderName) -> bool {
        self.lines(name).next().is_some()
    }
}

impl Fields for HeaderMap {
    fn lines(&self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.get_all(name).iter().map(HeaderValue::as_bytes)
    }

    fn has(&self, name: &HeaderName) -> bool {
        self.contains_key(name)
    }
}
