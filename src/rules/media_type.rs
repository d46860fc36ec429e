//! Media types: by the extension of a path where nobody told, and which of them are worth compressing.

use std::borrow::Cow;

/// What is said of bytes that nothing is known of.
pub const DEFAULT: &str = "application/octet-stream";

/// Where `mime_guess` has nothing, something outdated, or something that the clients of maps trip over. Lower case.
const OVERRIDES: &[(&str, &str)] = &[
    // Glyph ranges and, from most tile servers, vector tiles.
    ("pbf", "application/x-protobuf"),
    ("mvt", "application/vnd.mapbox-vector-tile"),
    ("mlt", "application/vnd.maplibre-vector-tile"),
    ("pmtiles", "application/vnd.pmtiles"),
    ("mbtiles", "application/vnd.sqlite3"),
    ("gpkg", "application/geopackage+sqlite3"),
    ("json", "application/json"),
    ("geojson", "application/geo+json"),
    ("topojson", "application/json"),
    ("map", "application/json"),
    ("webmanifest", "application/manifest+json"),
    // RFC 9239: one type for scripts and modules; browsers refuse modules of any other.
    ("js", "text/javascript"),
    ("mjs", "text/javascript"),
    ("wasm", "application/wasm"),
    ("md", "text/markdown"),
    // `text/xml` with a charset would overrule the document's own declaration (RFC 7303 §3.2).
    ("xml", "application/xml"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    // RFC 8081.
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("ttf", "font/ttf"),
    ("otf", "font/otf"),
    ("avif", "image/avif"),
    ("webp", "image/webp"),
    ("ktx2", "image/ktx2"),
    ("ico", "image/x-icon"),
    ("glb", "model/gltf-binary"),
    ("gltf", "model/gltf+json"),
    ("ts", "video/mp2t"),
    ("gz", "application/gzip"),
    ("zst", "application/zstd"),
];

/// Text types that come often, with the charset already behind them.
const TEXT_WITH_CHARSET: &[&str] = &[
    "text/html; charset=utf-8",
    "text/css; charset=utf-8",
    "text/javascript; charset=utf-8",
    "text/plain; charset=utf-8",
    "text/csv; charset=utf-8",
    "text/markdown; charset=utf-8",
];

/// The media type of an asset by the extension of its path: what follows the last dot of the last segment, in any case.
/// A dot that begins a segment begins a name, not an extension. Text is said to be UTF-8.
pub fn of(path: &str) -> Cow<'static, str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => with_charset(of_extension(extension)),
        _ => Cow::Borrowed(DEFAULT),
    }
}

/// Whether bytes of this media type get smaller by a content coding. Images, fonts and archives that are compressed in
/// themselves do not, nor does anything unknown: those are never re-coded. Parameters and case don't matter.
pub fn compressible(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or(media_type).trim();
    let Some((kind, subtype)) = essence.split_once('/') else { return false };
    if kind.eq_ignore_ascii_case("text") {
        return true;
    }
    // Structured suffixes (RFC 6838 §4.2.8): what is written in text.
    if let Some((_, suffix)) = subtype.rsplit_once('+') {
        return ["json", "xml", "yaml", "json-seq"].iter().any(|known| suffix.eq_ignore_ascii_case(known));
    }
    COMPRESSIBLE.iter().any(|known| essence.eq_ignore_ascii_case(known))
}

/// Types outside `text/` and without a suffix that compress.
const COMPRESSIBLE: &[&str] = &[
    "application/json",
    "application/javascript",
    "application/x-javascript",
    "application/ecmascript",
    "application/xml",
    "application/yaml",
    "application/x-protobuf",
    "application/protobuf",
    "application/vnd.mapbox-vector-tile",
    "application/vnd.maplibre-vector-tile",
    "application/wasm",
    "application/rtf",
    "application/x-sh",
    "application/vnd.ms-fontobject",
    "application/x-font-ttf",
    "application/font-sfnt",
    "font/ttf",
    "font/otf",
    "font/sfnt",
    "font/collection",
    "image/bmp",
    "image/x-icon",
    "image/vnd.microsoft.icon",
];

fn of_extension(extension: &str) -> &'static str {
    OVERRIDES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(extension))
        .map(|(_, media_type)| *media_type)
        .or_else(|| mime_guess::from_ext(extension).first_raw())
        .unwrap_or(DEFAULT)
}

fn with_charset(media_type: &'static str) -> Cow<'static, str> {
    if !media_type.starts_with("text/") {
        return Cow::Borrowed(media_type);
    }
    let known = TEXT_WITH_CHARSET.iter().find(|known| known.split(';').next() == Some(media_type));
    known.map_or_else(|| Cow::Owned(format!("{media_type}; charset=utf-8")), |known| Cow::Borrowed(*known))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_extension_that_a_map_needs_has_its_type() {
        let table = [
            ("fonts/Noto Sans/0-255.pbf", "application/x-protobuf"),
            ("t/0/0/0.mvt", "application/vnd.mapbox-vector-tile"),
            ("planet.pmtiles", "application/vnd.pmtiles"),
            ("planet.mbtiles", "application/vnd.sqlite3"),
            ("f.woff2", "font/woff2"),
            ("f.woff", "font/woff"),
            ("f.ttf", "font/ttf"),
            ("f.otf", "font/otf"),
            ("style.json", "application/json"),
            ("a.geojson", "application/geo+json"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("app.mjs", "text/javascript; charset=utf-8"),
            ("app.js.map", "application/json"),
            ("a.wasm", "application/wasm"),
            ("a.avif", "image/avif"),
            ("a.webp", "image/webp"),
            ("a.PNG", "image/png"),
            ("a.jpg", "image/jpeg"),
            ("a.svg", "image/svg+xml"),
            ("a.webmanifest", "application/manifest+json"),
            ("README.md", "text/markdown; charset=utf-8"),
            ("index.html", "text/html; charset=utf-8"),
            ("a.css", "text/css; charset=utf-8"),
            ("a.txt", "text/plain; charset=utf-8"),
            ("a.vcard", "text/vcard; charset=utf-8"),
            ("a.xml", "application/xml"),
            ("a.tar.gz", "application/gzip"),
            ("a.b/c", DEFAULT),
            ("LICENSE", DEFAULT),
            (".json", DEFAULT),
            ("x/.json", DEFAULT),
            ("a.", DEFAULT),
            ("a.no-such-extension", DEFAULT),
            ("", DEFAULT),
        ];
        for (path, expected) in table {
            assert_eq!(of(path), expected, "{path}");
        }
    }

    #[test]
    fn only_what_gets_smaller_is_compressible() {
        for media_type in [
            "text/html",
            "TEXT/HTML; charset=utf-8",
            "text/csv;header=present",
            "application/json",
            "application/json; x=y",
            "application/geo+json",
            "image/svg+xml",
            "application/vnd.mapbox-vector-tile",
            "application/x-protobuf",
            "font/ttf",
            "application/wasm",
            "application/problem+json",
            "model/gltf+json",
        ] {
            assert!(compressible(media_type), "{media_type}");
        }
        for media_type in [
            "image/png",
            "image/jpeg",
            "IMAGE/WEBP",
            "image/avif",
            "font/woff",
            "font/woff2",
            "application/vnd.pmtiles",
            "application/vnd.sqlite3",
            "application/geopackage+sqlite3",
            "application/gzip",
            "application/zip",
            "video/mp4",
            DEFAULT,
            "",
            "json",
            "text",
            "application/json-not",
        ] {
            assert!(!compressible(media_type), "{media_type}");
        }
    }

    #[test]
    fn the_table_of_overrides_is_in_order_to_be_read() {
        for (index, (extension, media_type)) in OVERRIDES.iter().enumerate() {
            assert_eq!(*extension, extension.to_lowercase());
            assert!(media_type.contains('/') && !media_type.contains([';', ' ']), "{media_type}");
            assert!(OVERRIDES[..index].iter().all(|(other, _)| other != extension), "{extension} stands twice");
        }
    }

    proptest! {
        #[test]
        fn any_path_has_a_type_that_a_header_can_carry(path: String, extension in "[a-z0-9]{1,5}") {
            for path in [path.clone(), format!("{path}.{extension}")] {
                let media_type = of(&path);
                prop_assert!(http::HeaderValue::from_str(&media_type).is_ok() && media_type.contains('/'));
                prop_assert!(!media_type.starts_with("text/") || media_type.ends_with("; charset=utf-8"));
            }
            compressible(&path);
        }
    }
}
