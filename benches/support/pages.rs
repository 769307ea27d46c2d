//! What a product answers: contacts in pages, the same in segments, and parents with a child each.

use std::{borrow::Cow, ops::Range};

use crate::contacts::{add, contact};

/// `?after=K` is page K, from 0.
pub const CONTACTS_PATH: &str = "/contacts";
/// `?segment=S&after=K` is page K of those of segment S, or its first.
pub const SEGMENTS_PATH: &str = "/segments";
/// `?after=K` is page K, from 0.
pub const PARENTS_PATH: &str = "/parents";
/// `?parent=N` is the only page of parent N, from 1: the language does not send a 0.
pub const CHILDREN_PATH: &str = "/children";

/// Records a page of contacts and of parents.
const RECORDS_PER_PAGE: u64 = 100;
const PARENTS_PER_PAGE: u64 = 1000;
/// The contacts once more, in so many parts.
pub const SEGMENTS: usize = 16;

/// A page in two parts: its records and its end.
type Parts<'p> = [Cow<'p, [u8]>; 2];

/// The product's data as it is sent.
pub struct Product {
    contacts: Vec<Vec<u8>>,
    parents: Vec<Vec<u8>>,
    parent_count: u64,
}

impl Product {
    /// Makes up so many contacts and parents, the same every time.
    pub fn new(contact_count: u64, parent_count: u64) -> Self {
        let contacts = pages(contact_count, RECORDS_PER_PAGE, |text, id| contact(text, id, 0));
        let parents = pages(parent_count, PARENTS_PER_PAGE, |text, number| {
            let id = number + 1;
            add(text, format_args!("{{\"id\":{id},\"name\":\"parent {id}\"}}"));
        });
        Self { contacts, parents, parent_count }
    }

    /// Page `page` of all contacts.
    pub fn contacts(&self, page: usize) -> Option<Parts<'_>> {
        page_of(&self.contacts, page, self.contacts.len())
    }

    /// Page `page`, counted from that of all contacts, of a segment; its first without a number.
    pub fn segment(&self, segment: usize, page: Option<usize>) -> Option<Parts<'_>> {
        let per_segment = self.contacts.len().div_ceil(SEGMENTS);
        let first = segment * per_segment;
        page_of(&self.contacts, page.unwrap_or(first), self.contacts.len().min(first + per_segment))
    }

    /// Page `page` of all parents.
    pub fn parents(&self, page: usize) -> Option<Parts<'_>> {
        page_of(&self.parents, page, self.parents.len())
    }

    /// The one child of a parent.
    pub fn children(&self, parent: usize) -> Option<Parts<'_>> {
        let is_known = (1..=self.parent_count).contains(&(parent as u64));
        let record =
            format!("{{\"results\":[{{\"id\":\"child of {parent}\",\"parent\":{parent},\"note\":\"made up\"}}]");
        is_known.then(|| [Cow::from(record.into_bytes()), Cow::from(b"}".as_slice())])
    }
}

/// Pages without their ends: `{"results":[…]`.
fn pages(count: u64, per_page: u64, record: impl Fn(&mut String, u64)) -> Vec<Vec<u8>> {
    let page = |ids: Range<u64>| {
        let mut text = String::from("{\"results\":[");
        for id in ids {
            if !text.ends_with('[') {
                text.push(',');
            }
            record(&mut text, id);
        }
        text.push(']');
        text.into_bytes()
    };
    (0..count.div_ceil(per_page)).map(|number| page(number * per_page..count.min((number + 1) * per_page))).collect()
}

/// `{"results":[…],"paging":{"next":{"after":"K"}}}`, the last before `end` without `paging`.
fn page_of(pages: &[Vec<u8>], page: usize, end: usize) -> Option<Parts<'_>> {
    let records = pages.get(page)?;
    let next = page + 1;
    let rest = if next < end { format!(",\"paging\":{{\"next\":{{\"after\":\"{next}\"}}}}}}") } else { "}".to_owned() };
    Some([Cow::from(records.as_slice()), Cow::from(rest.into_bytes())])
}
