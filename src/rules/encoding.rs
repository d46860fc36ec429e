//! Content codings (RFC 9110 §8.4.1, §12.5.3): what is stored, what a client accepts.

/// A content coding that bytes can be stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// No coding.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}
