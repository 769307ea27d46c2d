//! The routes of the design and the route table are the same, but for those named here.

use std::{collections::BTreeSet, path::Path};

use listbackup::{routes::served, state::Service};

/// What the design writes in short.
const IN_SHORT: [(&str, &str); 1] =
    [("POST /webhooks/{}/deliveries/redeliver", "POST /webhooks/{}/deliveries/{}/redeliver")];

/// Of the design, and served beside the table.
const BESIDE_THE_TABLE: [(&str, &str); 1] =
    [("GET /system/docs", "the page to try it is a folder of files, not a handler")];

/// Beyond the design, and why.
const BEYOND: [(&str, &str); 19] = [
    ("DELETE /accounts/{}/deletion", "calls off an end that was announced"),
    ("GET /accounts/{}/keys", "shows which key what is stored is sealed with"),
    ("POST /accounts/{}/keys/rotate", "a new key for what is stored from now on"),
    ("POST /accounts/{}/keys/destroy", "makes everything stored unreadable for good"),
    ("GET /integrations/{}/oauth/app", "the OAuth app that counts"),
    ("PUT /integrations/{}/oauth/app", "an OAuth client once, and not in each source"),
    ("DELETE /integrations/{}/oauth/app", "undoes it"),
    ("GET /sources/health", "which sources are stale, over all of them"),
    ("GET /sources/{}/health", "how fresh each stream of a source is"),
    ("DELETE /data/snapshots/{}/pin", "undoes a pin"),
    ("DELETE /data/snapshots/{}/hold", "undoes a hold"),
    ("GET /data/snapshots/{}/diff/{}/streams/{}", "the records behind the figures of a comparison"),
    ("GET /data/restores", "the restores that were ordered"),
    ("GET /data/restores/{}", "how a restore goes"),
    ("GET /data/restores/{}/records", "what became of each record of a restore"),
    ("GET /activity/chain", "the log's chain, for whoever checks it elsewhere"),
    ("GET /activity/verify", "checks the log's chain"),
    ("GET /activity/export", "the log as a file"),
    ("GET /webhooks/{}", "one webhook, for who changes it under its tag"),
];

#[test]
fn the_route_table_is_that_of_the_design() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/design/6-api.md");
    let Ok(text) = std::fs::read_to_string(file) else {
        return println!("skipped: no design beside the checkout");
    };
    let design = routes_of_design(&text);
    let table: BTreeSet<String> = served(&Service::ALL.into_iter().collect())
        .iter()
        .map(|route| plain(route.method.as_str(), route.path))
        .collect();
    let beside = |route: &&String| BESIDE_THE_TABLE.iter().any(|(known, _)| known == route);
    let missing: Vec<_> = design.difference(&table).filter(|route| !beside(route)).collect();
    let more: Vec<_> = table.difference(&design).map(String::as_str).collect();
    let beyond: Vec<_> = BEYOND.iter().map(|(route, _)| *route).collect();
    assert_eq!(missing, Vec::<&String>::new(), "the design has routes that are not in the table");
    assert_eq!(more.iter().collect::<BTreeSet<_>>(), beyond.iter().collect(), "routes beyond the design, and BEYOND");
    assert!(design.len() > 90, "the table of the design is read to its end: {design:?}");
}

/// Verb and path, with every name of a place as `{}`.
fn plain(verb: &str, path: &str) -> String {
    let places = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
    format!("{verb} {}", places.collect::<Vec<_>>().join("/"))
}

fn in_full(route: String) -> String {
    IN_SHORT.iter().find(|(short, _)| *short == route).map_or(route, |(_, full)| (*full).to_owned())
}

/// The routes in code spans of the design's table. A span without a verb has that of the span before it; a path that begins with `…`
/// goes on from where the one before it has the same word, or from its end; one with a single word stands beside the last one.
fn routes_of_design(text: &str) -> BTreeSet<String> {
    let mut routes = BTreeSet::new();
    for row in text.lines().filter(|line| line.starts_with('|')) {
        let (mut verbs, mut last) = (Vec::new(), String::new());
        for span in row.split('`').skip(1).step_by(2) {
            let (own_verbs, path) = span.split_once(' ').unwrap_or(("", span));
            if !path.starts_with(['/', '…'])
                || !own_verbs.chars().all(|letter| letter.is_ascii_uppercase() || letter == '/')
            {
                continue;
            }
            if !own_verbs.is_empty() {
                verbs = own_verbs.split('/').collect();
            }
            last = whole(path, &last, !own_verbs.is_empty());
            routes.extend(verbs.iter().map(|verb| in_full(plain(verb, &last))));
        }
    }
    routes
}

fn whole(path: &str, last: &str, has_verb: bool) -> String {
    if let Some(rest) = path.strip_prefix('…') {
        let first = rest.split('/').nth(1).unwrap_or_default();
        let same = last.split('/').position(|part| part == first);
        let kept: Vec<_> = last.split('/').take(same.unwrap_or(usize::MAX)).collect();
        return format!("{}{rest}", kept.join("/"));
    }
    let is_one_word = path.matches('/').count() == 1;
    match last.rsplit_once('/') {
        Some((before, _)) if is_one_word && !has_verb => format!("{before}{path}"),
        _ => path.to_owned(),
    }
}
