//! The content-addressed store: blobs named by the BLAKE3 of their bytes, and an index from path to blob.
