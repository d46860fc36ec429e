//! What bytes are, by how they begin: packs, codings of tiles, types of tiles.

use crate::rules::encoding::Coding;
use crate::rules::tile::TileType;

/// Bytes that must be read to tell the format of a pack.
pub const FORMAT_LEN: usize = 16;

/// The format of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// PMTiles of any version.
    PmTiles,
    /// A SQLite database; whether it is an MBTiles one, its tables tell.
    MbTiles,
}

/// The format of a file that begins with `bytes`; the file's name has no say.
pub fn format(bytes: &[u8]) -> Option<Format> {
    // Version 1 and 2 of PMTiles begin with "PM" alone: known well enough to say which version is missing.
    if bytes.starts_with(b"PMTiles") || bytes.starts_with(b"PM\x01\x00") || bytes.starts_with(b"PM\x02\x00") {
        Some(Format::PmTiles)
    } else if bytes.starts_with(b"SQLite format 3\0") {
        Some(Format::MbTiles)
    } else {
        None
    }
}

/// How a tile that doesn't say is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// In a coding that HTTP knows, or none.
    Coded(Coding),
    /// A zlib stream (RFC 1950). HTTP's `deflate` means that, but many clients take it for something else.
    Zlib,
}

/// The coding of a tile by its first bytes. Brotli has no mark: it can't be told from no coding.
pub fn stored(bytes: &[u8]) -> Stored {
    match bytes {
        [0x1f, 0x8b, ..] => Stored::Coded(Coding::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Stored::Coded(Coding::Zstd),
        // The header of zlib: method 8, window at most 32 KiB, and a check that makes it a multiple of 31 (RFC 1950 §2.2).
        [method, flags, ..]
            if method & 0x0f == 8
                && method >> 4 <= 7
                && flags & 0x20 == 0
                && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0 =>
        {
            Stored::Zlib
        }
        _ => Stored::Coded(Coding::Identity),
    }
}

/// Whether bytes that are said to be in `coding` begin as that coding does.
pub fn begins_as(coding: Coding, bytes: &[u8]) -> bool {
    match coding {
        Coding::Gzip => bytes.starts_with(&[0x1f, 0x8b]),
        // A frame, or a skippable one before it (RFC 8878 §3.1.2).
        Coding::Zstd => {
            bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
                || matches!(bytes, [first, 0x2a, 0x4d, 0x18, ..] if first & 0xf0 == 0x50)
        }
        Coding::Brotli => !bytes.is_empty(),
        Coding::Identity => true,
    }
}

/// The type of a tile by its first bytes, after decoding. MapLibre tiles have no mark.
pub fn tile_type(bytes: &[u8]) -> TileType {
    match bytes {
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => TileType::Png,
        [0xff, 0xd8, 0xff, ..] => TileType::Jpeg,
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => TileType::Webp,
        [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', b'f' | b's', ..] => TileType::Avif,
        // Field 3, length-delimited: the first layer, the only field a vector tile begins with.
        [0x1a, ..] => TileType::Mvt,
        _ => TileType::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_are_told_by_their_magic() {
        assert_eq!(format(b"PMTiles\x03........"), Some(Format::PmTiles));
        assert_eq!(format(b"PM\x02\x00............"), Some(Format::PmTiles));
        assert_eq!(format(b"SQLite format 3\0"), Some(Format::MbTiles));
        assert_eq!(format(b"PK\x03\x04"), None);
        assert_eq!(format(b""), None);
    }

    #[test]
    fn a_raw_vector_tile_is_not_taken_for_zlib() {
        for flags in 0..=255 {
            assert_eq!(stored(&[0x1a, flags, 0, 0]), Stored::Coded(Coding::Identity));
        }
        for header in [[0x78, 0x01], [0x78, 0x5e], [0x78, 0x9c], [0x78, 0xda]] {
            assert_eq!(stored(&header), Stored::Zlib);
        }
        assert_eq!(stored(&[0x1f, 0x8b, 8]), Stored::Coded(Coding::Gzip));
        assert_eq!(stored(&[]), Stored::Coded(Coding::Identity));
    }

    #[test]
    fn images_are_told_by_their_signatures() {
        assert_eq!(tile_type(b"\x89PNG\r\n\x1a\n"), TileType::Png);
        assert_eq!(tile_type(b"\xff\xd8\xff\xe0"), TileType::Jpeg);
        assert_eq!(tile_type(b"RIFF\x10\0\0\0WEBPVP8 "), TileType::Webp);
        assert_eq!(tile_type(b"\0\0\0\x20ftypavif"), TileType::Avif);
        assert_eq!(tile_type(b"\x1a\x05layer"), TileType::Mvt);
        assert_eq!(tile_type(b"RIFF\x10\0\0\0WAVE"), TileType::Unknown);
    }
}
