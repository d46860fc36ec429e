//! Values as columns hold them. The file may hold anything: what no index of ours ever has is an error that speaks of damage
//! (see [`super::schema::is_damage`]), not a value.

use std::borrow::Cow;

use blake3::Hash;
use bytes::Bytes;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};

use crate::rules::encoding::Coding;
use crate::store::cas::key;
use crate::store::cas::types::{MAX_EXTRA, media_type_or_default};

/// The highest generation, and `seq`: no store lives to see it. Numbers up to here can be added to without a thought.
pub const MAX_SEQ: i64 = 1 << 60;

/// The highest count and length: no disk is that large.
pub const MAX_COUNT: u64 = 1 << 60;

/// A hash: 32 bytes.
pub struct Name(pub Hash);

impl FromSql for Name {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes: [u8; 32] = value.as_blob()?.try_into().map_err(|_| FromSqlError::InvalidType)?;
        Ok(Self(Hash::from_bytes(bytes)))
    }
}

/// A length or a count: 0 to [`MAX_COUNT`].
pub struct Count(pub u64);

impl FromSql for Count {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        let count = u64::try_from(number).ok().filter(|count| *count <= MAX_COUNT);
        count.map(Self).ok_or(FromSqlError::OutOfRange(number))
    }
}

/// A generation, or the `seq` of a row: 0 to [`MAX_SEQ`].
pub struct Seq(pub i64);

impl FromSql for Seq {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        if (0..=MAX_SEQ).contains(&number) { Ok(Self(number)) } else { Err(FromSqlError::OutOfRange(number)) }
    }
}

/// Yes or no: 1 or 0.
pub struct Flag(pub bool);

impl FromSql for Flag {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            0 => Ok(Self(false)),
            1 => Ok(Self(true)),
            number => Err(FromSqlError::OutOfRange(number)),
        }
    }
}

/// A path that a client can ask for, and what a filled object's key has behind it.
pub struct Key(pub String);

impl FromSql for Key {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        key::check(text).map_err(|why| FromSqlError::Other(Box::new(why)))?;
        Ok(Self(text.to_owned()))
    }
}

/// A media type that can stand in a header. Another text becomes the type of unknown bytes: nothing else of the row is in doubt.
pub struct MediaType(pub String);

impl FromSql for MediaType {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(Self(media_type_or_default(Cow::Borrowed(value.as_str()?)).into_owned()))
    }
}

/// What a filled object's row holds for whoever filled it: at most [`MAX_EXTRA`] bytes.
pub struct Extra(pub Option<Bytes>);

impl FromSql for Extra {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_blob_or_null()? {
            Some(bytes) if bytes.len() > MAX_EXTRA => Err(FromSqlError::InvalidType),
            bytes => Ok(Self(bytes.map(Bytes::copy_from_slice))),
        }
    }
}

/// A length or a count as a column holds it.
pub fn column(count: u64) -> i64 {
    // At most 2^60: fits.
    count.min(MAX_COUNT) as i64
}

/// The codings by their numbers in the index; a number never changes its meaning.
const CODINGS: [Coding; 4] = [Coding::Identity, Coding::Gzip, Coding::Brotli, Coding::Zstd];

/// A coding's number in the index and in manifests.
pub fn coding_number(coding: Coding) -> u8 {
    match coding {
        Coding::Identity => 0,
        Coding::Gzip => 1,
        Coding::Brotli => 2,
        Coding::Zstd => 3,
    }
}

/// The coding of a number.
pub fn coding_of(number: i64) -> Option<Coding> {
    CODINGS.get(usize::try_from(number).ok()?).copied()
}
