//! From a tile as a pack holds it to a tile as it goes over the wire.

use std::borrow::Cow;
use std::time::SystemTime;

use bytes::Bytes;

use super::sniff::{self, Stored};
use crate::rules::encoding::Coding;
use crate::rules::tile::TileType;
use crate::store::decode::{self, Caps};
use crate::store::{Body, Object, StoreError};

/// The largest tile that is read, in bytes: 16 MiB. A directory may claim 4 GiB of a sparse file.
pub const MAX_LEN: u64 = 16 << 20;

/// The most that a tile may decode to in a verification, in bytes: 64 MiB, none of which is held.
const MAX_DECODED: u64 = 64 << 20;

/// What a pack has at an address.
#[derive(Clone)]
pub enum Tile {
    /// A tile.
    Found(Object),
    /// A zoom that the pack has, but no tile there.
    Absent,
    /// A zoom that the pack doesn't have.
    OutsideZoom,
}

/// The entity tag of bytes with a known hash: `"b3:<64 hex>"`, quotes included.
pub fn etag(hash: &blake3::Hash) -> Box<str> {
    format!("\"b3:{}\"", hash.to_hex()).into()
}

/// Make the object of a tile that a pack of `tile_type` holds as `bytes`, said to be in the coding `declared` (`None`: the pack
/// doesn't say).
///
/// - A declared gzip or zstd that doesn't begin like one is [`StoreError::Corrupt`]: no client could read it.
/// - Where nothing is declared the coding is told from the first bytes. Raw bytes of a vector pack that don't begin as a
///   vector tile may be Brotli, which has no mark: they go out as `application/octet-stream`, claiming nothing.
/// - Images are never coded in HTTP (their formats compress already): a coded one is decoded here, under the default caps.
/// - zlib, which can't be sent as a content coding that all clients agree on, is decoded as well.
///
/// The entity tag is of the bytes as they result.
pub fn object(
    bytes: Vec<u8>,
    declared: Option<Coding>,
    tile_type: TileType,
    last_modified: Option<SystemTime>,
) -> Result<Object, StoreError> {
    let stored = match declared {
        Some(coding) if !sniff::begins_as(coding, &bytes) => {
            return Err(StoreError::Corrupt("a tile that isn't in the compression its pack declares".into()));
        }
        Some(coding) => Stored::Coded(coding),
        None => sniff::stored(&bytes),
    };
    let is_image = !tile_type.is_vector() && tile_type != TileType::Unknown;
    let (bytes, coding) = match stored {
        Stored::Zlib => (decode::decode_zlib(&bytes, Caps::default())?, Coding::Identity),
        Stored::Coded(Coding::Identity) => (Bytes::from(bytes), Coding::Identity),
        Stored::Coded(coding) if is_image => (decode::decode(coding, &bytes, Caps::default())?, Coding::Identity),
        Stored::Coded(coding) => (Bytes::from(bytes), coding),
    };
    let could_be_brotli = declared.is_none()
        && stored == Stored::Coded(Coding::Identity)
        && tile_type == TileType::Mvt
        && sniff::tile_type(&bytes) != TileType::Mvt;
    let content_type = if could_be_brotli { TileType::Unknown } else { tile_type }.media_type();
    let hash = blake3::hash(&bytes);
    Ok(Object {
        body: Body::Whole(bytes),
        etag: etag(&hash),
        hash: Some(hash),
        last_modified,
        content_type: Cow::Borrowed(content_type),
        coding,
    })
}

/// Whether a tile decodes, without keeping it: what a full verification asks of each. The only cap is 64 MiB, as a tile that
/// compresses well is no fault.
pub fn check(bytes: &[u8], declared: Option<Coding>) -> Result<(), StoreError> {
    let caps = Caps { ratio: u32::MAX, bytes: MAX_DECODED };
    match declared.map_or_else(|| sniff::stored(bytes), Stored::Coded) {
        Stored::Zlib => decode::check_zlib(bytes, caps),
        Stored::Coded(coding) => decode::check(coding, bytes, caps),
    }
    .map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::io::Write;

    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest of an image";

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn body(object: &Object) -> Bytes {
        object.read(0..object.len()).unwrap()
    }

    #[test]
    fn a_coded_vector_tile_passes_through_with_the_tag_of_its_coded_bytes() {
        let stored = gzip(b"\x1a\x03abc");
        for declared in [Some(Coding::Gzip), None] {
            let tile = object(stored.clone(), declared, TileType::Mvt, None).unwrap();
            assert_eq!((body(&tile), tile.coding), (stored.clone().into(), Coding::Gzip));
            assert_eq!(tile.etag, etag(&blake3::hash(&stored)));
        }
    }

    #[test]
    fn a_coded_image_is_decoded_and_tagged_by_what_is_sent() {
        for declared in [Some(Coding::Gzip), None] {
            let tile = object(gzip(PNG), declared, TileType::Png, None).unwrap();
            assert_eq!((&body(&tile)[..], tile.coding, &*tile.content_type), (PNG, Coding::Identity, "image/png"));
            assert_eq!(tile.hash, Some(blake3::hash(PNG)));
        }
    }

    #[test]
    fn a_zlib_tile_is_decoded() {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"\x1a\x03abc").unwrap();
        let tile = object(encoder.finish().unwrap(), None, TileType::Mvt, None).unwrap();
        assert_eq!((&body(&tile)[..], tile.coding), (&b"\x1a\x03abc"[..], Coding::Identity));
    }

    #[test]
    fn a_tile_that_is_not_in_its_declared_compression_is_corrupt() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let result = object(b"\x1a\x03abc".to_vec(), Some(coding), TileType::Mvt, None);
            assert!(matches!(result, Err(StoreError::Corrupt(_))));
        }
    }

    #[test]
    fn bytes_that_may_be_brotli_claim_no_type() {
        let unknown = object(b"\x0b\x02\x80abc\x03".to_vec(), None, TileType::Mvt, None).unwrap();
        assert_eq!((&*unknown.content_type, unknown.coding), ("application/octet-stream", Coding::Identity));
        let raw = object(b"\x1a\x03abc".to_vec(), None, TileType::Mvt, None).unwrap();
        assert_eq!(&*raw.content_type, "application/vnd.mapbox-vector-tile");
    }

    #[test]
    fn an_image_that_is_a_bomb_is_too_large() {
        let bomb = gzip(&vec![0; 20 << 20]);
        assert!(matches!(object(bomb.clone(), Some(Coding::Gzip), TileType::Png, None), Err(StoreError::TooLarge(_))));
        assert!(check(&bomb, Some(Coding::Gzip)).is_ok());
        assert!(check(&bomb[..bomb.len() - 1], Some(Coding::Gzip)).is_err());
    }
}
