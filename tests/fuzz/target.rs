//! One fuzz target for all decoders: `WBSYNC_FUZZ` says which.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use wbsync::testing::decoders::{Decoder, named};

static DECODER: LazyLock<Decoder> = LazyLock::new(|| {
    let name = std::env::var("WBSYNC_FUZZ").expect("WBSYNC_FUZZ names a decoder");
    named(&name).unwrap_or_else(|| panic!("there is no decoder {name:?}"))
});

fuzz_target!(|bytes: &[u8]| {
    (DECODER.read)(bytes);
});
