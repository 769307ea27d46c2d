//! How long manifests take to load: the published ones beside the checkout, and those of this tree.
//!
//! `cargo bench --package listbackup-house --bench manifests` prints one line for each and ends with an error when one takes
//! longer than it may.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use listbackup_connectors::manifest::ManifestIntegration;

const LIMIT: Duration = Duration::from_millis(50);
/// The middle one of these counts.
const ROUNDS: usize = 5;

fn main() -> ExitCode {
    let mut slow = 0;
    for (path, text) in manifests() {
        let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(&path).display().to_string();
        let mut times = Vec::with_capacity(ROUNDS);
        let mut is_loaded = false;
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            is_loaded = ManifestIntegration::parse("bench", "manifest.yaml", &text).is_ok();
            times.push(begun.elapsed());
        }
        times.sort();
        let middle = times[ROUNDS / 2];
        slow += usize::from(middle > LIMIT);
        let refused = if is_loaded { "" } else { "  (refused)" };
        println!("{:>8.2} ms {:>9} bytes  {name}{refused}", middle.as_secs_f64() * 1e3, text.len());
    }
    if slow > 0 {
        println!("{slow} manifests take longer than {} ms", LIMIT.as_millis());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn manifests() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["connectors/manifests", "tests/connectors/manifests", "../shared/manifests/dev"];
    let entries =
        folders.iter().flat_map(|folder| std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten());
    let mut found: Vec<_> = entries
        .map(|entry| if entry.path().is_dir() { entry.path().join("manifest.yaml") } else { entry.path() })
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .filter_map(|path| Some((path.clone(), std::fs::read_to_string(&path).ok()?)))
        .collect();
    found.sort();
    found
}
