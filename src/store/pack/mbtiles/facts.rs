//! What an MBTiles database says of itself: its `metadata` table, and its `tiles` where that is silent.

use rusqlite::types::ValueRef;

use super::connect::Pool;
use crate::conf::Verify;
use crate::rules::encoding::Coding;
use crate::rules::tile::{TileId, TileType};
use crate::rules::tilejson::Facts;
use crate::store::decode::{self, Caps};
use crate::store::pack::metadata::{self, Metadata};
use crate::store::pack::sniff::{self, Stored};
use crate::store::{StoreError, decode::FLOOR};

/// Rows of `metadata` that are read; the specification names twelve.
const MAX_ROWS: usize = 1000;

/// Read the rows of `metadata` as text, numbers included. Names are unique in a sound database; where they aren't, all are here.
///
/// Errors: those of [`Pool::run`]; [`StoreError::TooLarge`] above 4 MiB, counted as they become in JSON, or 1,000 rows.
pub fn rows(pool: &Pool) -> Result<Vec<(String, String)>, StoreError> {
    let (rows, whole) = pool.run(|connection| {
        let mut statement = connection.prepare("SELECT name, value FROM metadata")?;
        let mut result = statement.query([])?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(row) = result.next()? {
            let (Some(name), Some(value)) = (text(row.get_ref(0)?), text(row.get_ref(1)?)) else { continue };
            bytes += name.len() + in_json(&value);
            if bytes as u64 > metadata::MAX_BYTES || rows.len() == MAX_ROWS {
                return Ok((rows, false));
            }
            rows.push((name, value));
        }
        Ok((rows, true))
    })?;
    match whole {
        true => Ok(rows),
        false => Err(StoreError::TooLarge("metadata of more than 4 MiB or 1,000 rows".into())),
    }
}

/// The facts of a database. With [`Verify::None`] what can't be read is left out instead of being an error.
pub fn read(pool: &Pool, verify: Verify) -> Result<Facts, StoreError> {
    let lenient = verify == Verify::None;
    let rows = match rows(pool) {
        Err(error) if lenient => {
            log::warn!("metadata of an unverified pack left out: {error}");
            Vec::new()
        }
        result => result?,
    };
    let row = |name: &str| rows.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let owned = |name: &str| row(name).map(str::to_owned);
    let (min_zoom, max_zoom) = match (row("minzoom").and_then(zoom), row("maxzoom").and_then(zoom)) {
        (Some(min), Some(max)) if min <= max => (min, max),
        _ => match zooms_of_tiles(pool) {
            Err(_) if lenient => (0, TileId::MAX_ZOOM),
            result => result?,
        },
    };
    let tile_type = match row("format").map(named_type) {
        Some(known) if known != TileType::Unknown => known,
        _ => first_tile_type(pool).unwrap_or(TileType::Unknown),
    };
    // Many databases have something else in this row, or nothing: that keeps no tile from being served.
    let layers = row("json").and_then(|json| Metadata::parse(json.as_bytes()).ok()).and_then(|json| json.vector_layers);
    Ok(Facts {
        name: owned("name"),
        description: owned("description"),
        attribution: owned("attribution"),
        version: owned("version"),
        bounds: row("bounds").and_then(bounds),
        center: row("center").and_then(center),
        min_zoom,
        max_zoom,
        tile_type,
        vector_layers: layers,
    })
}

fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Null | ValueRef::Blob(_) => None,
    }
}

/// The bytes that a text has in TileJSON: there a control character takes six.
fn in_json(text: &str) -> usize {
    let escapes = text.bytes().map(|byte| match byte {
        b'"' | b'\\' => 1,
        0..0x20 => 5,
        _ => 0,
    });
    text.len() + escapes.sum::<usize>()
}

fn zoom(text: &str) -> Option<u8> {
    text.trim().parse().ok().filter(|zoom| *zoom <= TileId::MAX_ZOOM)
}

fn numbers<const N: usize>(text: &str) -> Option<[f64; N]> {
    let mut parts = text.split(',').map(|part| part.trim().parse::<f64>().ok().filter(|number| number.is_finite()));
    let mut numbers = [0.0; N];
    for number in &mut numbers {
        *number = parts.next()??;
    }
    parts.next().is_none().then_some(numbers)
}

/// `west,south,east,north` in degrees.
fn bounds(text: &str) -> Option<[f64; 4]> {
    let [west, south, east, north] = numbers(text)?;
    let valid = west >= -180.0 && east <= 180.0 && west <= east && south >= -90.0 && north <= 90.0 && south <= north;
    valid.then_some([west, south, east, north])
}

/// `longitude,latitude,zoom`.
fn center(text: &str) -> Option<(f64, f64, u8)> {
    let [lon, lat, zoom] = numbers(text)?;
    let valid = lon.abs() <= 180.0 && lat.abs() <= 90.0 && (0.0..=f64::from(TileId::MAX_ZOOM)).contains(&zoom);
    valid.then_some((lon, lat, zoom as u8))
}

/// The type that a `format` row names, by extension (MBTiles 1.3) or by media type, as that version allows for the rest.
fn named_type(format: &str) -> TileType {
    match format.trim().to_ascii_lowercase().as_str() {
        "pbf" | "mvt" | "application/x-protobuf" | "application/vnd.mapbox-vector-tile" => TileType::Mvt,
        "png" | "png8" | "png24" | "png32" | "image/png" => TileType::Png,
        "jpg" | "jpeg" | "image/jpeg" => TileType::Jpeg,
        "webp" | "image/webp" => TileType::Webp,
        "avif" | "image/avif" => TileType::Avif,
        "mlt" | "application/vnd.maplibre-vector-tile" | "application/vnd.maplibre-tile" => TileType::Mlt,
        _ => TileType::Unknown,
    }
}

/// The lowest and the highest zoom of `tiles`; (0, 0) where it is empty. Two queries: each is one step down the index then.
fn zooms_of_tiles(pool: &Pool) -> Result<(u8, u8), StoreError> {
    let edge =
        |sql: &'static str| pool.run(|connection| connection.query_row(sql, [], |row| row.get::<_, Option<i64>>(0)));
    let clamp = |zoom: Option<i64>| zoom.map_or(0, |zoom| zoom.clamp(0, i64::from(TileId::MAX_ZOOM)) as u8);
    let min = edge("SELECT min(zoom_level) FROM tiles")?;
    let max = edge("SELECT max(zoom_level) FROM tiles")?;
    Ok((clamp(min), clamp(max)))
}

/// The type of the first tile at hand.
fn first_tile_type(pool: &Pool) -> Option<TileType> {
    let bytes = pool
        .run(|connection| {
            connection.query_row("SELECT tile_data FROM tiles LIMIT 1", [], |row| match row.get_ref(0)? {
                ValueRef::Blob(bytes) => Ok(bytes.to_vec()),
                _ => Ok(Vec::new()),
            })
        })
        .ok()?;
    // A signature stands in the first bytes, but a decoder that stops early can't tell a cut stream: decode it all, capped.
    let caps = Caps { ratio: u32::MAX, bytes: 64 * FLOOR };
    let decoded = match sniff::stored(&bytes) {
        Stored::Coded(Coding::Identity) => return Some(sniff::tile_type(&bytes)),
        Stored::Coded(coding) => decode::decode(coding, &bytes, caps).ok()?,
        Stored::Zlib => decode::decode_zlib(&bytes, caps).ok()?,
    };
    Some(sniff::tile_type(&decoded))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn bounds_and_center_are_read_or_left_out() {
        assert_eq!(bounds("-180, -85.05,180,85.05"), Some([-180.0, -85.05, 180.0, 85.05]));
        assert_eq!(center("8.5,47.3,12"), Some((8.5, 47.3, 12)));
        for bad in ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "NaN,0,1,1", "inf,0,1,1", "10,0,5,1", "-181,0,0,0", "0,0,0,91"]
        {
            assert_eq!(bounds(bad), None, "{bad}");
        }
        for bad in ["1,2", "1,2,31", "1,2,-1", "200,2,3", "1,2,3,4"] {
            assert_eq!(center(bad), None, "{bad}");
        }
    }

    #[test]
    fn zooms_outside_0_to_30_are_not_believed() {
        assert_eq!(zoom(" 14 "), Some(14));
        assert_eq!((zoom("31"), zoom("-1"), zoom("x"), zoom("999")), (None, None, None, None));
    }

    #[test]
    fn formats_are_known_by_extension_and_by_media_type() {
        assert_eq!(named_type("pbf"), TileType::Mvt);
        assert_eq!(named_type(" JPG"), TileType::Jpeg);
        assert_eq!(named_type("image/webp"), TileType::Webp);
        assert_eq!(named_type("mlt"), TileType::Mlt);
        assert_eq!(named_type("grid.json"), TileType::Unknown);
    }
}
