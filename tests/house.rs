//! The rules of the house, kept by tests: where things live, what may know what, and what never gets into the tree.
//! Lengths of functions, sleeping, reading the clock and the like are lints: `clippy.toml`.

#[path = "support/tree.rs"]
mod tree;

use listbackup_engine::tables::{self, Attribute, TableSchema};
use tree::{SourceFile, rust_files, text_files};

/// Code below `folder` may not name any of `forbidden`.
struct Arrow {
    folder: &'static str,
    forbidden: &'static [&'static str],
    why: &'static str,
}

const ARROWS: &[Arrow] = &[
    Arrow {
        folder: "connectors/",
        forbidden: &["actix", "aws_", "listbackup_engine", "listbackup::", "rusqlite"],
        why: "connectors are a leaf: no actors, no cloud, no storage",
    },
    Arrow {
        folder: "engine/",
        forbidden: &["actix_web", "listbackup::"],
        why: "the engine does not know the API above it",
    },
    Arrow {
        folder: "api/",
        forbidden: &["aws_sdk", "aws_config"],
        why: "the program picks adapters and knows nothing of what is behind them",
    },
    Arrow {
        folder: "engine/src/adapters/embedded/",
        forbidden: &["aws_sdk", "aws_config", "crate::adapters::aws"],
        why: "the embedded stores are whole without the feature `aws`",
    },
    Arrow {
        folder: "engine/src/model/",
        forbidden: &[
            "actix",
            "tokio",
            "std::fs",
            "crate::snapshot",
            "crate::run::",
            "crate::actors",
            "crate::adapters",
        ],
        why: "nouns do no I/O and know no layer above them",
    },
    Arrow {
        folder: "engine/src/accounts/",
        forbidden: &["actix", "tokio", "std::fs", "crate::snapshot", "crate::actors", "crate::adapters"],
        why: "changes to accounts are rows and events, without actors and snapshots",
    },
    Arrow {
        folder: "engine/src/billing/",
        forbidden: &["actix", "tokio", "std::fs", "crate::snapshot", "crate::actors", "crate::adapters"],
        why: "plans and payments are rows, events and requests, without actors and snapshots",
    },
    Arrow {
        folder: "engine/src/invariants",
        forbidden: &[
            "actix",
            "tokio",
            "std::fs",
            "crate::snapshot",
            "crate::run::",
            "crate::actors",
            "crate::adapters",
        ],
        why: "invariants judge what they are told, so that every layer may call them",
    },
    Arrow {
        folder: "engine/src/ports",
        forbidden: &["actix", "crate::adapters", "crate::run::", "crate::actors"],
        why: "ports do not know who implements or uses them",
    },
    Arrow {
        folder: "engine/src/adapters/",
        forbidden: &["actix", "crate::run::", "crate::actors"],
        why: "adapters implement ports and hold no rule of a run",
    },
    Arrow {
        folder: "engine/src/snapshot/",
        forbidden: &["actix", "crate::export", "crate::run::", "crate::actors", "crate::adapters"],
        why: "the store knows nothing of exports, runs, actors and adapters",
    },
    Arrow {
        folder: "engine/src/export/",
        forbidden: &["actix", "crate::run::", "crate::actors", "crate::adapters", "crate::ports"],
        why: "exports read snapshots and nothing else",
    },
    Arrow {
        folder: "engine/src/run/",
        forbidden: &["actix", "crate::actors", "crate::adapters"],
        why: "every rule of a run is a plain function that a test can call",
    },
];

/// Files, or folders with a slash at the end, that may define traits, and why. Everywhere else a trait needs two production implementations and a line here.
const TRAITS: &[(&str, &str)] = &[
    ("connectors/src/connector.rs", "the contract of connectors"),
    ("engine/src/ports/", "the engine's view of the world, one file a port"),
    ("engine/src/tables.rs", "Row: which table a noun lives in"),
    ("engine/src/model/id.rs", "IdKind: the prefix of an id"),
];

/// Files over 400 lines before their tests, and why that is a decision.
const LONG_FILES: &[(&str, &str)] = &[];
const MAX_FILE_LINES: usize = 400;

/// What would tell of somebody's machine, or tie the tree to a mirror.
const FOREIGN_PLACES: &[&str] = &[
    concat!("/wo", "rk/"),
    "/tmp/brief",
    "/var/cache/",
    "/root/",
    "index.crates.io",
    "static.crates.io",
    "files.pythonhosted.org",
    "pypi.org/simple",
    "deb.debian.org",
];

#[test]
fn layer_arrows_never_point_up() {
    let mut broken = Vec::new();
    for file in rust_files() {
        for arrow in ARROWS.iter().filter(|arrow| file.path.starts_with(arrow.folder)) {
            for (number, line) in file.code_lines() {
                for name in arrow.forbidden.iter().filter(|name| names(line, name)) {
                    broken.push(format!("{}:{number} names {name}: {}", file.path, arrow.why));
                }
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn above_the_ports_nothing_asks_which_stores_there_are() {
    const MARKS: [&str; 5] = ["feature =", "adapters::", "dynamodb", "sqs", "if aws"];
    let asks = |line: &str| MARKS.iter().any(|mark| line.to_lowercase().contains(mark));
    let broken: Vec<_> = rust_files()
        .iter()
        .filter(|file| file.path.starts_with("engine/src/") && !file.path.starts_with("engine/src/adapters/"))
        .flat_map(|file| {
            file.production_lines()
                .filter(|(_, line)| !is_comment(line) && !line.contains("aws_lc_rs") && asks(line))
                .map(|(number, line)| format!("{}:{number} {}", file.path, line.trim()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert_none(&broken);
}

#[test]
fn traits_live_where_the_layout_says() {
    let defines_trait = |line: &str| {
        let words: Vec<_> = line.split_whitespace().take(3).collect();
        matches!(words.as_slice(), ["trait", ..] | ["pub" | "pub(crate)" | "pub(super)", "trait", ..])
    };
    let broken: Vec<_> = rust_files()
        .iter()
        .filter(|file| !TRAITS.iter().any(|(path, _)| is_at(file, path)) && !file.is_test())
        .flat_map(|file| {
            file.production_lines()
                .filter(|(_, line)| defines_trait(line))
                .map(|(number, line)| format!("{}:{number} {}: list it here with a reason", file.path, line.trim()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert_none(&broken);
}

#[test]
fn long_files_are_decisions() {
    let mut broken = Vec::new();
    for file in rust_files() {
        let lines = file.production_lines().count();
        let is_listed = LONG_FILES.iter().any(|(path, _)| *path == file.path);
        if lines > MAX_FILE_LINES && !is_listed {
            broken.push(format!("{} has {lines} lines before its tests: split it by noun", file.path));
        }
        if lines <= MAX_FILE_LINES && is_listed {
            broken.push(format!("{} is short again: strike it off the list", file.path));
        }
    }
    assert_none(&broken);
}

#[test]
fn every_file_says_what_it_is() {
    let silent = rust_files().into_iter().filter(|file| !file.text.starts_with("//! "));
    assert_none(&silent.map(|file| format!("{} does not start with `//! `", file.path)).collect::<Vec<_>>());
}

#[test]
fn nothing_panics_outside_tests() {
    let panics = [".unwrap()", ".expect(\"", "panic!("];
    let mut broken = Vec::new();
    for file in rust_files().iter().filter(|file| !file.is_test()) {
        for (number, line) in file.production_lines().filter(|(_, line)| !is_comment(line)) {
            if let Some(found) = panics.iter().find(|found| line.contains(**found)) {
                broken.push(format!("{}:{number} {found}: return an error", file.path));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn nothing_is_left_for_later() {
    let marks = ["#[ignore", "todo!(", "unimplemented!(", "TODO", "FIXME"];
    assert_none(&lines_with(&marks, &["tests/house.rs"]));
}

#[test]
fn no_path_of_a_machine_and_no_mirror_is_in_the_tree() {
    assert_none(&lines_with(FOREIGN_PLACES, &["tests/house.rs"]));
}

#[test]
fn lock_files_name_the_public_registries_only() {
    let mut broken = Vec::new();
    for file in text_files() {
        let (key, public) = match file.path.rsplit('/').next() {
            Some("Cargo.lock") => ("source = ", "registry+https://github.com/rust-lang/crates.io-index"),
            Some("package-lock.json") => ("\"resolved\": ", "https://registry.npmjs.org/"),
            _ => continue,
        };
        for (number, line) in file.lines() {
            if line.contains(key) && !line.contains(public) {
                broken.push(format!("{}:{number} {}", file.path, line.trim()));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn connectors_of_others_are_not_in_the_tree() {
    // Written by the builder that most published manifests come from; ours are written by hand.
    let builder_marks = ["autoImportSchema", "testedStreams", "x-airbyte-workspaces"];
    let homes = [
        "connectors/manifests/",
        "tests/connectors/manifests/",
        "api/src/cli/connector/",
        "tests/fixtures/",
        "benches/support/",
    ];
    let mut broken = lines_with(&builder_marks, &["tests/house.rs", "connectors/src/manifest/"]);
    for file in text_files() {
        let is_manifest = file.path.ends_with(".yaml") && file.text.contains("type: DeclarativeSource");
        if is_manifest && !homes.iter().any(|home| file.path.starts_with(home)) {
            broken.push(format!("{} is a manifest outside of {homes:?}", file.path));
        }
    }
    assert_none(&broken);
}

#[test]
fn every_table_is_documented_with_its_keys_and_indexes() {
    let document = std::fs::read_to_string("deploy/README.md").expect("tests run in the root of the checkout");
    let missing: Vec<_> =
        tables::ALL.iter().map(|table| table_row(table)).filter(|row| !document.contains(row)).collect();
    assert_none(&missing.iter().map(|row| format!("deploy/README.md lacks the row {row}")).collect::<Vec<_>>());
}

#[test]
fn links_between_documents_lead_to_files() {
    let mut broken = Vec::new();
    for file in text_files().iter().filter(|file| file.path.ends_with(".md")) {
        let folder = std::path::Path::new(&file.path).parent().unwrap_or(std::path::Path::new(""));
        for (number, line) in file.lines() {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
            for target in targets.filter(|target| !target.is_empty() && !target.contains("://")) {
                if !folder.join(target).exists() {
                    broken.push(format!("{}:{number} {target}", file.path));
                }
            }
        }
    }
    assert_none(&broken);
}

/// A table's row in the documentation.
fn table_row(table: &TableSchema) -> String {
    let key = |partition: &Attribute, sort: &Option<Attribute>| match sort {
        Some(sort) => format!("`{}` + `{}`", partition.name, sort.name),
        None => format!("`{}`", partition.name),
    };
    let indexes: Vec<_> =
        table.indexes.iter().map(|index| format!("{}: {}", index.name, key(&index.partition, &index.sort))).collect();
    let indexes = if indexes.is_empty() { "none".to_owned() } else { indexes.join("; ") };
    format!("| `{}` | {} | {indexes} |", table.name, key(&table.partition, &table.sort))
}

/// True when `name` stands in the line and is not the end of a longer word.
fn names(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// True for the file at a path, and for all files in a folder.
fn is_at(file: &SourceFile, path: &str) -> bool {
    file.path == path || (path.ends_with('/') && file.path.starts_with(path))
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// Places of any of the marks, except in files below `exempt`.
fn lines_with(marks: &[&str], exempt: &[&str]) -> Vec<String> {
    let find = |file: &SourceFile| {
        file.lines()
            .filter_map(|(number, line)| Some((number, marks.iter().find(|mark| names(line, mark))?)))
            .map(|(number, mark)| format!("{}:{number} {mark}", file.path))
            .collect::<Vec<_>>()
    };
    text_files().iter().filter(|file| !exempt.iter().any(|path| file.path.starts_with(path))).flat_map(find).collect()
}

#[track_caller]
fn assert_none(broken: &[String]) {
    assert!(broken.is_empty(), "{} places break this rule:\n{}", broken.len(), broken.join("\n"));
}
