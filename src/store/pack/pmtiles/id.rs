//! Tile ids (PMTiles v3 §4.1.1): the place of a tile on the Hilbert curves of all zooms, laid end to end.

use crate::rules::tile::TileId;

/// Number of tiles of all zooms that can be asked for: every id below it has a tile, none above.
pub const COUNT: u64 = first_of(TileId::MAX_ZOOM + 1);

/// The id of the first tile of zoom `z`: the number of tiles of all zooms below, (4^z − 1) / 3.
pub const fn first_of(z: u8) -> u64 {
    ((1 << (2 * z as u32)) - 1) / 3
}

/// The id of a tile.
pub fn encode(tile: TileId) -> u64 {
    let (mut x, mut y) = (u64::from(tile.x()), u64::from(tile.y()));
    let mut distance = 0;
    // From the largest quadrant to the smallest: which quarter of the curve, then turn the plane so that the next
    // smaller curve begins where this quarter's does. Bits above `level` are leftovers of turns and never looked at.
    for level in (0..tile.z()).rev() {
        let (right, low) = ((x >> level) & 1, (y >> level) & 1);
        distance = distance << 2 | ((3 * right) ^ low);
        if low == 0 {
            if right == 1 {
                (x, y) = (!x, !y);
            }
            (x, y) = (y, x);
        }
    }
    first_of(tile.z()) + distance
}

/// The tile of an id; `None` for an id beyond zoom 30.
pub fn decode(id: u64) -> Option<TileId> {
    if id >= COUNT {
        return None;
    }
    // `first_of` grows with z and is 0 for zoom 0, so at least one zoom begins at or below `id`.
    let z = (0..=TileId::MAX_ZOOM).rev().find(|z| first_of(*z) <= id)?;
    let distance = id - first_of(z);
    let (mut x, mut y) = (0u64, 0u64);
    // The reverse: from the smallest quadrant to the largest, undoing the turn of each.
    for level in 0..z {
        let quarter = (distance >> (2 * level)) & 3;
        let right = quarter >> 1;
        let low = (quarter ^ right) & 1;
        if low == 0 {
            if right == 1 {
                let mask = (1 << level) - 1;
                (x, y) = (mask - x, mask - y);
            }
            (x, y) = (y, x);
        }
        x |= right << level;
        y |= low << level;
    }
    TileId::new(z, u32::try_from(x).ok()?, u32::try_from(y).ok()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn tiles() -> impl Strategy<Value = TileId> {
        (0..=TileId::MAX_ZOOM).prop_flat_map(|z| {
            let side = 1u32 << z;
            (Just(z), 0..side, 0..side).prop_map(|(z, x, y)| TileId::new(z, x, y).unwrap())
        })
    }

    #[test]
    fn ids_are_those_of_the_specification() {
        for (z, x, y, id) in [
            (0, 0, 0, 0),
            (1, 0, 0, 1),
            (1, 0, 1, 2),
            (1, 1, 1, 3),
            (1, 1, 0, 4),
            (2, 0, 0, 5),
            (12, 3423, 1763, 19_078_479),
        ] {
            assert_eq!(encode(TileId::new(z, x, y).unwrap()), id);
            assert_eq!(decode(id), TileId::new(z, x, y));
        }
    }

    #[test]
    fn the_last_tile_of_zoom_30_has_the_last_id() {
        let last = decode(COUNT - 1).unwrap();
        assert_eq!((last.z(), last.x(), last.y()), (30, (1 << 30) - 1, 0));
        assert_eq!(decode(COUNT), None);
        assert_eq!(decode(u64::MAX), None);
    }

    #[test]
    fn neighbours_on_the_curve_are_neighbours_on_the_map() {
        for id in first_of(7)..first_of(8) - 1 {
            let (a, b) = (decode(id).unwrap(), decode(id + 1).unwrap());
            assert_eq!(a.x().abs_diff(b.x()) + a.y().abs_diff(b.y()), 1, "{id}");
        }
    }

    proptest! {
        #[test]
        fn every_tile_has_an_id_of_its_own_and_the_one_that_others_give_it(tile in tiles()) {
            let id = encode(tile);
            prop_assert_eq!(decode(id), Some(tile));
            let oracle = pmtiles::TileId::from(pmtiles::TileCoord::new(tile.z(), tile.x(), tile.y()).unwrap());
            prop_assert_eq!(id, oracle.value());
        }

        #[test]
        fn every_id_has_a_tile_of_its_own(id in 0..COUNT) {
            prop_assert_eq!(encode(decode(id).unwrap()), id);
        }
    }
}
