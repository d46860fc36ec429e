//! TileJSON 3.0: what a pack tells a map client about itself.

use std::borrow::Cow;

use serde::Serialize;

use super::tile::{TileId, TileType};

/// What a pack says of itself, whatever its format; the source of TileJSON and of `pack inspect`.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Human-readable name.
    pub name: Option<String>,
    /// Description.
    pub description: Option<String>,
    /// Attribution, HTML allowed by the specification.
    pub attribution: Option<String>,
    /// Version of the data set.
    pub version: Option<String>,
    /// West, south, east, north in degrees.
    pub bounds: Option<[f64; 4]>,
    /// Longitude, latitude in degrees, and zoom.
    pub center: Option<(f64, f64, u8)>,
    /// Lowest zoom that has tiles.
    pub min_zoom: u8,
    /// Highest zoom that has tiles.
    pub max_zoom: u8,
    /// Type of the tiles.
    pub tile_type: TileType,
    /// The `vector_layers` of the metadata, as they stand there: an array of objects.
    pub vector_layers: Option<serde_json::Value>,
}

/// The TileJSON 3.0.0 document of a pack whose tiles are at `tiles_url`, a template with `{z}`, `{x}` and `{y}`.
///
/// What a client could trip over is left out, as the specification asks readers to treat it (§3): bounds that are not
/// numbers, cross the antimeridian or lie off the globe (what sticks out is cut off), a center outside the bounds, a
/// version that is not made of numbers. `vector_layers` is there for vector tiles, empty where the pack does not tell.
pub fn document(facts: &Facts, tiles_url: &str) -> String {
    let max_zoom = facts.max_zoom.min(TileId::MAX_ZOOM);
    let min_zoom = facts.min_zoom.min(max_zoom);
    let bounds = facts.bounds.and_then(on_the_globe);
    let document = Document {
        tilejson: "3.0.0",
        tiles: [tiles_url],
        scheme: "xyz",
        name: facts.name.as_deref(),
        description: facts.description.as_deref(),
        attribution: facts.attribution.as_deref(),
        version: facts.version.as_deref().and_then(semantic),
        minzoom: min_zoom,
        maxzoom: max_zoom,
        bounds,
        center: facts.center.and_then(|center| within(center, bounds, min_zoom, max_zoom)),
        vector_layers: vector_layers(facts),
    };
    serde_json::to_string(&document).expect("finite numbers, strings and JSON values are always JSON")
}

#[derive(Serialize)]
struct Document<'a> {
    tilejson: &'static str,
    tiles: [&'a str; 1],
    scheme: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attribution: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Cow<'a, str>>,
    minzoom: u8,
    maxzoom: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    bounds: Option<[f64; 4]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    center: Option<(f64, f64, u8)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vector_layers: Option<&'a [serde_json::Value]>,
}

/// The part of `bounds` that lies on the globe (§3.5), if there is one.
fn on_the_globe([west, south, east, north]: [f64; 4]) -> Option<[f64; 4]> {
    // Comparisons with NaN are false, so it never gets through.
    let real = west <= east && south <= north && west <= 180.0 && east >= -180.0 && south <= 90.0 && north >= -90.0;
    let finite = [west, south, east, north].iter().all(|degrees| degrees.is_finite());
    (real && finite).then(|| [west.max(-180.0), south.max(-90.0), east.min(180.0), north.min(90.0)])
}

/// A center that lies within the bounds, its zoom brought between the lowest and the highest (§3.6).
fn within(center: (f64, f64, u8), bounds: Option<[f64; 4]>, min_zoom: u8, max_zoom: u8) -> Option<(f64, f64, u8)> {
    let (lon, lat, zoom) = center;
    let [west, south, east, north] = bounds.unwrap_or([-180.0, -90.0, 180.0, 90.0]);
    let inside = (west..=east).contains(&lon) && (south..=north).contains(&lat);
    inside.then_some((lon, lat, zoom.clamp(min_zoom, max_zoom)))
}

/// A version as semver.org writes it (§3.17). MBTiles counts revisions with one number: `2` becomes `2.0.0`.
fn semantic(version: &str) -> Option<Cow<'_, str>> {
    let core = version.split(['-', '+']).next().unwrap_or(version);
    let numbers = core.split('.').count();
    let plain = core.split('.').all(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    match numbers {
        3 if plain => Some(Cow::Borrowed(version)),
        1 | 2 if plain && core.len() == version.len() => {
            Some(Cow::Owned(format!("{version}{}", &".0.0"[2 * (numbers - 1)..])))
        }
        _ => None,
    }
}

fn vector_layers(facts: &Facts) -> Option<&[serde_json::Value]> {
    match &facts.vector_layers {
        Some(serde_json::Value::Array(layers)) => Some(layers),
        _ if facts.tile_type.is_vector() => Some(&[]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn facts() -> Facts {
        Facts {
            name: Some("a \"map\"".into()),
            description: None,
            attribution: Some("<a href=\"https://x.example\">© X</a>".into()),
            version: Some("3.15.0".into()),
            bounds: Some([5.5, 47.25, 15.0, 55.0]),
            center: Some((10.0, 51.0, 6)),
            min_zoom: 0,
            max_zoom: 14,
            tile_type: TileType::Mvt,
            vector_layers: Some(json!([{"id": "water", "fields": {"class": "String"}}])),
        }
    }

    fn read(facts: &Facts) -> Value {
        serde_json::from_str(&document(facts, "https://m.example/edge/assets/m/{z}/{x}/{y}.mvt")).unwrap()
    }

    #[test]
    fn a_document_says_what_the_pack_says() {
        let expected = json!({
            "tilejson": "3.0.0",
            "tiles": ["https://m.example/edge/assets/m/{z}/{x}/{y}.mvt"],
            "scheme": "xyz",
            "name": "a \"map\"",
            "attribution": "<a href=\"https://x.example\">© X</a>",
            "version": "3.15.0",
            "minzoom": 0,
            "maxzoom": 14,
            "bounds": [5.5, 47.25, 15.0, 55.0],
            "center": [10.0, 51.0, 6],
            "vector_layers": [{"id": "water", "fields": {"class": "String"}}],
        });
        assert_eq!(read(&facts()), expected);
    }

    #[test]
    fn vector_layers_are_there_for_vector_tiles_and_for_no_others() {
        for unknown in [None, Some(json!("layers")), Some(json!({}))] {
            let vector = Facts { vector_layers: unknown.clone(), ..facts() };
            assert_eq!(read(&vector)["vector_layers"], json!([]));
            let raster = Facts { tile_type: TileType::Png, vector_layers: unknown, ..facts() };
            assert_eq!(read(&raster).get("vector_layers"), None);
        }
    }

    #[test]
    fn bounds_that_are_none_are_left_out_and_what_sticks_out_is_cut_off() {
        let table = [
            ([f64::NAN, 0.0, 1.0, 1.0], None),
            ([0.0, 0.0, f64::INFINITY, 1.0], None),
            ([0.0, f64::NEG_INFINITY, 1.0, 1.0], None),
            ([170.0, -10.0, -170.0, 10.0], None),
            ([0.0, 10.0, 1.0, -10.0], None),
            ([200.0, 0.0, 300.0, 1.0], None),
            ([-180.000_000_1, -91.0, 180.000_000_1, 91.0], Some([-180.0, -90.0, 180.0, 90.0])),
            ([7.0, 8.0, 7.0, 8.0], Some([7.0, 8.0, 7.0, 8.0])),
        ];
        for (bounds, expected) in table {
            let read = read(&Facts { bounds: Some(bounds), center: None, ..facts() });
            assert_eq!(read.get("bounds"), expected.map(|bounds| json!(bounds)).as_ref(), "{bounds:?}");
        }
    }

    #[test]
    fn a_center_lies_within_bounds_and_zooms() {
        let center = |center, bounds| {
            read(&Facts { center: Some(center), bounds, min_zoom: 2, ..facts() }).get("center").cloned()
        };
        let bounds = facts().bounds;
        assert_eq!(center((10.0, 51.0, 0), bounds), Some(json!([10.0, 51.0, 2])));
        assert_eq!(center((10.0, 51.0, 255), bounds), Some(json!([10.0, 51.0, 14])));
        assert_eq!(center((0.0, 0.0, 3), bounds), None);
        assert_eq!(center((0.0, 0.0, 3), None), Some(json!([0.0, 0.0, 3])));
        assert_eq!(center((f64::NAN, 0.0, 3), None), None);
        assert_eq!(center((0.0, 90.5, 3), None), None);
    }

    #[test]
    fn a_version_is_semantic_or_left_out() {
        let table = [
            ("1.2.3", Some("1.2.3")),
            ("1.2.3-rc.1+b", Some("1.2.3-rc.1+b")),
            ("2", Some("2.0.0")),
            ("2.1", Some("2.1.0")),
            ("", None),
            ("2-rc", None),
            ("1.2.3.4", None),
            ("1..2", None),
            ("v1", None),
            ("2024-01-01", None),
        ];
        for (version, expected) in table {
            let read = read(&Facts { version: Some(version.into()), ..facts() });
            assert_eq!(read.get("version").and_then(Value::as_str), expected, "{version}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_pack_says_the_document_is_json_within_the_specification(
            name: String,
            version: String,
            bounds: Option<[f64; 4]>,
            center: Option<(f64, f64, u8)>,
            zooms: (u8, u8),
        ) {
            let (min_zoom, max_zoom) = zooms;
            let texts = Facts { name: Some(name.clone()), version: Some(version), ..facts() };
            let facts = Facts { bounds, center, min_zoom, max_zoom, ..texts };
            let read = read(&facts);
            prop_assert_eq!(read["name"].as_str(), Some(name.as_str()));
            let (low, high) = (read["minzoom"].as_u64().unwrap(), read["maxzoom"].as_u64().unwrap());
            prop_assert!(low <= high && high <= 30);
            if let Some(center) = read.get("center") {
                prop_assert!((low..=high).contains(&center[2].as_u64().unwrap()));
            }
            if let Some(bounds) = read.get("bounds") {
                let [west, south, east, north] = [0, 1, 2, 3].map(|side| bounds[side].as_f64().unwrap());
                prop_assert!(-180.0 <= west && west <= east && east <= 180.0);
                prop_assert!(-90.0 <= south && south <= north && north <= 90.0);
            }
        }
    }
}
