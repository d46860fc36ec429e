//! TileJSON 3.0: what a pack tells a map client about itself.

use super::tile::TileType;

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
