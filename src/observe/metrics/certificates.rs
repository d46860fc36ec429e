//! Series by certificate: those that the conf names, bounded by it, and swapped whole when it changes.

use std::sync::{PoisonError, RwLock};

/// What the documentation says of the values.
pub(super) const VALUES: &str = "the first subjectAltName of each certificate in use, else the stem of its file's name";

/// A number for each certificate.
pub struct ByCertificate {
    series: RwLock<Vec<(String, i64)>>,
}

impl ByCertificate {
    /// No certificate.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self { series: RwLock::new(Vec::new()) }
    }

    /// These are in use now, each with its number; no name stands twice.
    pub fn set(&self, series: Vec<(String, i64)>) {
        *self.series.write().unwrap_or_else(PoisonError::into_inner) = series;
    }

    /// Those in use.
    pub(super) fn series(&self) -> Vec<(String, i64)> {
        self.series.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_no_longer_in_use_has_no_series() {
        static SERIES: ByCertificate = ByCertificate::new();
        assert!(SERIES.series().is_empty());
        SERIES.set(vec![("a.example".into(), 5), ("b.example".into(), 7)]);
        SERIES.set(vec![("b.example".into(), 8)]);
        assert_eq!(SERIES.series(), [("b.example".to_owned(), 8)]);
    }
}
