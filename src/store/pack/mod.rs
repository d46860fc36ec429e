//! Packs: PMTiles and MBTiles archives on local disk, read-only.
