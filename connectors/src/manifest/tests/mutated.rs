//! Real manifests with parts dropped, swapped, of another kind, or full of templates: loading them gives a manifest or
//! problems, never a panic.
//!
//! The manifests of this tree take part always, the published ones beside the checkout where they are.

use futures::FutureExt as _;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::{Map, Value, json};

use super::super::{ManifestIntegration, compat, session::Session, settings, yaml};
use crate::{
    Link, Settings,
    http::{AddressGuard, HttpClient, HttpClientBuilder},
    oauth::MemoryCredentials,
};

/// Changed manifests in a plain run of the tests. `LISTBACKUP_FUZZ_SECONDS` goes on for as long as it says.
pub(super) const COUNT: u64 = 150;

const FRAGMENTS: [&str; 28] = [
    "{{ config['x'] }}",
    "{{ response.a[0].b | length }}",
    "{{ record['a'] + 1 }}",
    "{{ 'x' * 99999 }}",
    "{{ 2 ** 9999 }}",
    "{{ -7 // 0 }}",
    "{{ duration('P999999999999Y') }}",
    "{{ now_utc() - duration('P9999999999D') }}",
    "{{ timestamp('9999-12-31T23:59:59.999999Z') * 9999999999999999999 }}",
    "{{ format_datetime(99999999999999999, '%Y') }}",
    "{{ ''.join([[]]) }}",
    "{% for a, b in [[1]] %}{{ a }}{% endfor %}",
    "{% for x in config %}{% set y = x %}{{ y }}",
    "{{ 'a'.center(99999999999) ~ 'é'[-99:1:-3] }}",
    "{{ [1, 2][::0] }}",
    "{{ '%*d %s' % (1,) }}",
    "{{ '{0!r:>99999999}'.format(1) }}",
    "{{ 'é' | truncate(1, true, '…') | regex_search('(') }}",
    "{{ unknown",
    "}}{{",
    "{# {{ ",
    "#/definitions",
    "#/streams/0",
    "P99999999999999999999Y",
    "%s %ms %_ms %é %",
    "9223372036854775808",
    "(((((((((((((((((((((((((((((((((((((((((((((((((",
    "\u{feff}\u{2028}\u{0}",
];

const KINDS: [&str; 20] = [
    "DeclarativeStream",
    "SimpleRetriever",
    "HttpRequester",
    "DefaultPaginator",
    "PageIncrement",
    "CursorPagination",
    "RequestPath",
    "RequestOption",
    "DatetimeBasedCursor",
    "MinMaxDatetime",
    "SubstreamPartitionRouter",
    "ListPartitionRouter",
    "ParentStreamConfig",
    "CompositeErrorHandler",
    "SelectiveAuthenticator",
    "OAuthAuthenticator",
    "SessionTokenAuthenticator",
    "AddFields",
    "DpathFlattenFields",
    "NoSuchThing",
];

/// Numbers that follow from a seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }

    pub(super) fn one_of<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.below(texts.len())]
    }
}

/// Every place in a tree, as JSON pointers.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                places(member, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), all);
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{at}/{index}"), all))
        }
        _ => {}
    }
}

fn strange(dice: &mut Dice) -> Value {
    match dice.below(14) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(u64::MAX),
        4 => json!(1e308),
        5 => json!(""),
        6 => json!([]),
        7 => json!({}),
        8 => json!([[["x"]]]),
        9 => json!({ "type": dice.one_of(&KINDS) }),
        10 => json!({ "$ref": "#/definitions" }),
        11 => json!({ "$parameters": { "name": 5, "path": ["x"], "type": "X" } }),
        _ => json!(dice.one_of(&FRAGMENTS)),
    }
}

/// Changes one place of the tree.
fn change(tree: &mut Value, dice: &mut Dice) {
    let mut all = Vec::new();
    places(tree, "", &mut all);
    let (here, there) = (all[dice.below(all.len())].clone(), all[dice.below(all.len())].clone());
    let other = tree.pointer(&there).cloned().unwrap_or_default();
    let kind = dice.below(8);
    if kind < 2 {
        let Some((parent, name)) = here.rsplit_once('/') else { return };
        match tree.pointer_mut(parent) {
            Some(Value::Object(members)) => drop(members.shift_remove(&name.replace("~1", "/").replace("~0", "~"))),
            Some(Value::Array(items)) => drop(items.remove(name.parse().unwrap())),
            _ => {}
        }
        return;
    }
    let Some(slot) = tree.pointer_mut(&here) else { return };
    match kind {
        2 => *slot = other,
        3 => {
            let mine = slot.take();
            *slot = other;
            if let Some(slot) = tree.pointer_mut(&there) {
                *slot = mine;
            }
        }
        4 => *slot = strange(dice),
        5 if slot.is_string() => *slot = json!(dice.one_of(&FRAGMENTS)),
        5 => *slot = json!([slot.take()]),
        6 => *slot = json!({ "$ref": format!("#{there}") }),
        _ => match slot {
            Value::Object(members) => drop(members.insert("type".into(), json!(dice.one_of(&KINDS)))),
            _ => *slot = strange(dice),
        },
    }
}

/// Changes the text itself.
fn spoil(text: &str, dice: &mut Dice) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..=dice.below(4) {
        let (here, there) = (dice.below(lines.len()), dice.below(lines.len()));
        match dice.below(6) {
            0 => drop(lines.drain(here.min(there)..(here.min(there) + dice.below(9)).min(lines.len()))),
            1 => lines.swap(here, there),
            2 => lines[here] = format!("{}{}", " ".repeat(dice.below(9)), lines[here].trim_start()),
            3 => lines[here] = lines[there].clone(),
            4 => {
                let cut = lines[here].chars().take(dice.below(20)).collect();
                lines[here] = cut;
            }
            _ => lines[here].push_str(dice.one_of(&[
                " &a", " *a", " <<: *a", ": [", " }", " |", " >-", " # x", "\t- ", " ? :", " !!str", "'", "\"",
            ])),
        }
        if lines.is_empty() {
            lines.push(String::new());
        }
    }
    lines.join("\n")
}

/// The manifests at hand.
pub(super) fn texts() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["manifests", "../tests/connectors/manifests", "../../shared/manifests/dev"];
    let entries =
        folders.iter().flat_map(|folder| std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten());
    let mut found: Vec<_> = entries
        .map(|entry| if entry.path().is_dir() { entry.path().join("manifest.yaml") } else { entry.path() })
        .filter_map(|path| Some((path.clone(), std::fs::read_to_string(&path).ok()?)))
        .filter(|(path, _)| path.extension().is_some_and(|ending| ending == "yaml"))
        .collect();
    found.sort();
    found
}

pub(super) fn changed(text: &str, dice: &mut Dice) -> String {
    if dice.below(4) == 0 {
        return spoil(text, dice);
    }
    let Ok(node) = yaml::parse(text) else { return String::new() };
    let mut tree = node.to_json();
    for _ in 0..=dice.below(5) {
        change(&mut tree, dice);
    }
    tree.to_string()
}

/// Loads it, and fills in made-up settings when that works.
fn load(text: &str, http: &HttpClient) -> bool {
    let Ok(integration) = ManifestIntegration::parse("changed", "changed.yaml", text) else { return false };
    let mut settings = Map::new();
    let properties = integration.spec.settings_schema.get("properties").and_then(Value::as_object);
    settings.extend(properties.into_iter().flatten().map(|(name, _)| (name.clone(), json!("2024-01-01"))));
    let settings = Value::Object(settings);
    settings::check(&integration.spec.settings_schema, &settings);
    let link = Link {
        settings: Settings::new(settings.clone()),
        http: http.clone(),
        credentials: Arc::new(MemoryCredentials::empty()),
    };
    let session = Arc::new(Session::new(Arc::clone(&integration.engine), link, settings));
    for stream in integration.manifest.streams.iter().filter_map(|listed| listed.stream.sound()) {
        // What has to ask the product is left where it begins to.
        let described = Box::pin(stream.describe(&session)).now_or_never();
        let bound = Box::pin(stream.bound(&session)).now_or_never();
        let started = stream.progress(&session, None, None);
        drop((described, bound, started));
    }
    true
}

/// Goes through changed manifests, for a moment or for as long as the person says who runs the test; `take` says whether one loads.
#[expect(clippy::disallowed_methods, reason = "how long to go on is for the person who runs the test")]
pub(super) fn for_each(what: &str, count_max: u64, mut take: impl FnMut(&str, &mut Dice) -> bool) {
    let seconds: Option<u64> = std::env::var("LISTBACKUP_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let begun = std::time::Instant::now();
    let base = if seconds.is_some() { u64::from(std::process::id()) << 32 } else { 0 };
    let texts = texts();
    assert!(!texts.is_empty());
    let (mut count, mut loaded) = (0, 0);
    while seconds.map_or(count < count_max, |seconds| begun.elapsed() < Duration::from_secs(seconds)) {
        let seed = base + count;
        let mut dice = Dice(seed);
        let (path, text) = &texts[dice.below(texts.len())];
        match catch_unwind(AssertUnwindSafe(|| take(text, &mut dice))) {
            Ok(is_loaded) => loaded += u64::from(is_loaded),
            Err(_) => panic!("seed {seed} of {} makes {what} panic", path.display()),
        }
        count += 1;
    }
    println!("{loaded} of {count} manifests load (seeds from {base})");
    assert!(loaded > 0 && loaded < count, "{loaded} of {count} load");
}

#[test]
fn no_change_of_a_manifest_makes_loading_it_panic() {
    let http = HttpClientBuilder::new(AddressGuard::allowing(Vec::new())).build().unwrap();
    for_each("loading it", COUNT, |text, dice| {
        let text = changed(text, dice);
        compat::compat("changed.yaml", &text);
        load(&text, &http)
    });
}
