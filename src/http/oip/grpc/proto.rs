//! The messages and calls of proto/inference.proto, as `scripts/generate-proto` wrote them.

include!(concat!(env!("CARGO_MANIFEST_DIR"), "/proto/inference.rs"));

/// The file itself, for clients that ask what there is to call.
pub(super) const DESCRIPTOR: &[u8] =
    include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/proto/inference.bin"));
