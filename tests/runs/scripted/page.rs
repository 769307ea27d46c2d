//! Pages of the scripted product.

use listbackup_connectors::{KeySlices, Page, PageProgress, RecordSlice};
use serde_json::{Value, json};

/// Records as a page: an array, with every record and its key as slices.
pub fn render(records: &[Value], number: usize) -> Page {
    let mut body = String::from("[");
    let mut slices = Vec::new();
    for record in records {
        let start = body.len();
        body.push_str(&record.to_string());
        let key = start + "{\"id\":".len();
        let key_end = key + record["id"].to_string().len();
        let at = |offset: usize| u32::try_from(offset).expect("small pages");
        slices.push(RecordSlice {
            body: at(start)..at(body.len()),
            key: KeySlices::One(at(key)..at(key_end)),
            is_deletion: false,
        });
        body.push(',');
    }
    if !records.is_empty() {
        body.pop();
    }
    body.push(']');
    let progress = PageProgress { bytes_received: body.len() as u64, requests: 1, ..PageProgress::default() };
    Page { body: body.into(), records: slices, attachments: Vec::new(), position: Some(json!(number + 1)), progress }
}
