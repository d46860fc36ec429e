//! What a tile is: its type, its address, what names it in HTTP.

/// The type of a pack's tiles (PMTiles v3 §3.1, "Tile Type"; MBTiles 1.3 `format`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TileType {
    /// Not told, or not known to us.
    Unknown,
    /// Mapbox Vector Tile.
    Mvt,
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP.
    Webp,
    /// AVIF.
    Avif,
    /// MapLibre Vector Tile.
    Mlt,
}

impl TileType {
    /// The media type of a tile.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Unknown => "application/octet-stream",
            Self::Mvt => "application/vnd.mapbox-vector-tile",
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
            Self::Avif => "image/avif",
            Self::Mlt => "application/vnd.maplibre-vector-tile",
        }
    }

    /// The extensions a tile of this type may be asked by; the first one stands in TileJSON.
    /// A tile of unknown type is asked without one.
    pub const fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Unknown => &[],
            Self::Mvt => &["mvt", "pbf"],
            Self::Png => &["png"],
            Self::Jpeg => &["jpg", "jpeg"],
            Self::Webp => &["webp"],
            Self::Avif => &["avif"],
            Self::Mlt => &["mlt"],
        }
    }

    /// Vector tiles: an absent one is 204, and their bytes compress.
    pub const fn is_vector(self) -> bool {
        matches!(self, Self::Mvt | Self::Mlt)
    }
}

/// A tile's address in the XYZ scheme: `z` at most 30, `x` and `y` below 2^z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TileId {
    z: u8,
    x: u32,
    y: u32,
}

impl TileId {
    /// The highest zoom of a tile.
    pub const MAX_ZOOM: u8 = 30;

    /// The tile at `z/x/y`; `None` where there is no such place.
    pub fn new(z: u8, x: u32, y: u32) -> Option<Self> {
        (z <= Self::MAX_ZOOM && u64::from(x) < 1 << z && u64::from(y) < 1 << z).then_some(Self { z, x, y })
    }

    /// Zoom.
    pub fn z(self) -> u8 {
        self.z
    }

    /// Column, from the west.
    pub fn x(self) -> u32 {
        self.x
    }

    /// Row, from the north.
    pub fn y(self) -> u32 {
        self.y
    }
}
