//! Contacts in pages, as an API gives them.

use crate::contacts::{add, contact};

/// Pages of contacts as an API answers them: `{"results":[…],"paging":{"next":{"after":"K"}}}`, the last without `paging`.
pub fn pages(records: u64, per_page: u64) -> Vec<Vec<u8>> {
    let count = records.div_ceil(per_page);
    (0..count).map(|page| page_of(page * per_page..records.min((page + 1) * per_page), page + 1, count)).collect()
}

fn page_of(ids: std::ops::Range<u64>, next: u64, count: u64) -> Vec<u8> {
    let mut text = String::from("{\"results\":[");
    for id in ids {
        if !text.ends_with('[') {
            text.push(',');
        }
        contact(&mut text, id, 0);
    }
    text.push(']');
    if next < count {
        add(&mut text, format_args!(",\"paging\":{{\"next\":{{\"after\":\"{next}\"}}}}"));
    }
    text.push('}');
    text.into_bytes()
}
