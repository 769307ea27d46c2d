//! Real published manifests. They are not part of the tree; without them the tests say so and pass.

use std::path::Path;

use listbackup_connectors::manifest::ManifestIntegration;

/// Manifests that must load; the others are listed with what they lack.
const LOADING_MIN: usize = 30;

#[test]
fn published_manifests_load_unmodified_and_the_others_say_what_they_lack() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/manifests/dev");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: no published manifests beside the checkout");
        return;
    };
    let mut names: Vec<_> = entries.flatten().filter(|entry| entry.path().is_dir()).map(|entry| entry.path()).collect();
    names.sort();
    let mut loaded = 0;
    for path in &names {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path.join("manifest.yaml")).unwrap();
        match ManifestIntegration::parse(&name, "manifest.yaml", &text) {
            Ok(_) => loaded += 1,
            Err(error) => println!("{name} does not load:\n{error}"),
        }
    }
    println!("{loaded} of {} published manifests load", names.len());
    assert!(loaded >= LOADING_MIN.min(names.len()), "{loaded} of {} load", names.len());
}

#[test]
fn our_own_manifests_load() {
    let registry = listbackup_connectors::registry::Registry::ours();
    assert!(registry.is_ok(), "{}", registry.err().map(|error| error.to_string()).unwrap_or_default());
}
