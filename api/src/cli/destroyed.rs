//! How commands over all accounts tell of those whose keys were destroyed.

use listbackup_engine::snapshot::KeyDestruction;
use serde_json::{Value, json};

use super::output;

/// A line each.
pub fn tell(destroyed: &[KeyDestruction]) {
    destroyed.iter().for_each(|destruction| output::line(&line(destruction)));
}

/// A line each on standard error, where the document has no place for them.
pub fn note(destroyed: &[KeyDestruction]) {
    destroyed.iter().for_each(|destruction| output::note(&line(destruction)));
}

/// A list for a document.
pub fn documents(destroyed: &[KeyDestruction]) -> Vec<Value> {
    let document = |destruction: &KeyDestruction| {
        let act = &destruction.act;
        json!({ "account_id": destruction.account_id, "by": act.by, "reason": act.reason, "at": act.at })
    };
    destroyed.iter().map(document).collect()
}

fn line(destruction: &KeyDestruction) -> String {
    let act = &destruction.act;
    format!(
        "left out: account {}, whose keys were destroyed on {:.0} by {}: {}",
        destruction.account_id, act.at, act.by, act.reason
    )
}
