//! Loads whatever text as a manifest.

#![no_main]

use libfuzzer_sys::fuzz_target;
use listbackup_connectors::manifest::ManifestIntegration;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(ManifestIntegration::parse("fuzz", "fuzz.yaml", text));
    }
});
