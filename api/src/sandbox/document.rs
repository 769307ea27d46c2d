//! The files that hang on companies, made from (seed, company, version) like their records: nothing of them is kept.

use std::ops::Range;

use super::{draw::Draw, record::Stream, table::Row, written::Body};

/// Companies above this one have none, so that a large sandbox is not drowned in files.
const COMPANIES_MAX: u64 = 40;
/// The same file hangs on every one of them.
const TERMS_BYTES: u64 = 300_000;

/// A file as its company's record lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its number at its company.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its media type.
    pub media_type: &'static str,
    /// Its size.
    pub size_bytes: u64,
    /// Changes with its content.
    pub version: u64,
    company: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Grows by a paragraph near its beginning with each version of its company.
    Contract,
    /// The same for all.
    Terms,
    /// Bytes that do not compress.
    Scan,
    /// Nothing.
    Empty,
}

/// The files of a company, `written` where somebody wrote its fields. Nobody can send files, so one that somebody made has none.
pub fn of_company(seed: u64, row: &Row, written: Option<&Body>) -> Vec<Document> {
    if row.id > COMPANIES_MAX || row.deleted_at_s.is_some() || written.is_some_and(Body::is_made) {
        return Vec::new();
    }
    let company = row.id;
    let new = |id, name: &str, media_type, size_bytes, version, kind| Document {
        id,
        name: name.to_owned(),
        media_type,
        size_bytes,
        version,
        company,
        kind,
    };
    let mut draw = Draw::new(seed, [Stream::Companies as u64, company, 7_777]);
    let paragraphs = u64::from(row.version) - 1;
    let contract = 2_000 + draw.below(30_000) + paragraphs * PARAGRAPH.len() as u64;
    let mut documents = vec![
        new(1, "Vertrag Müller.txt", "text/plain", contract, row.version.into(), Kind::Contract),
        new(2, "terms.txt", "text/plain", TERMS_BYTES, 1, Kind::Terms),
    ];
    if company.is_multiple_of(5) {
        documents.push(new(3, "scan.bin", "application/octet-stream", 100_000 + draw.below(3 << 20), 1, Kind::Scan));
    }
    if company.is_multiple_of(3) {
        documents.push(new(4, "empty.txt", "text/plain", 0, 1, Kind::Empty));
    }
    documents
}

const PARAGRAPH: &str = "\nAmended, and agreed upon by both sides.\n";
/// Where paragraphs are added.
const AMENDED_AT: usize = 1_000;

impl Document {
    /// The entity tag, quotes included.
    pub fn etag(&self) -> String {
        format!("\"{}-{}-{}\"", self.company, self.id, self.version)
    }

    /// Where it is served.
    pub fn path(&self) -> String {
        format!("/companies/{}/documents/{}", self.company, self.id)
    }

    /// A range of its bytes, which must lie in it.
    pub fn bytes(&self, seed: u64, range: Range<usize>) -> Vec<u8> {
        let whole = match self.kind {
            Kind::Contract => self.contract(seed),
            Kind::Terms => noise(seed, 0, self.size_bytes, true),
            Kind::Scan => noise(seed, self.company, self.size_bytes, false),
            Kind::Empty => Vec::new(),
        };
        whole[range].to_vec()
    }

    fn contract(&self, seed: u64) -> Vec<u8> {
        let added = PARAGRAPH.repeat(self.version as usize - 1);
        let mut text = noise(seed, self.company + 1_000_000, self.size_bytes - added.len() as u64, true);
        text.splice(AMENDED_AT..AMENDED_AT, added.into_bytes());
        text
    }
}

fn noise(seed: u64, of: u64, len: u64, is_text: bool) -> Vec<u8> {
    let mut draw = Draw::new(seed, [Stream::Companies as u64, of, 8_888]);
    let mut bytes = Vec::with_capacity(len as usize + 8);
    while (bytes.len() as u64) < len {
        let drawn = draw.bits().to_le_bytes();
        match is_text {
            true => bytes.extend(drawn.map(|byte| b"etaoin shrdlu\nABCDEFGHIJKLMNOPQRSTUV"[usize::from(byte) % 35])),
            false => bytes.extend(drawn),
        }
    }
    bytes.truncate(len as usize);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u64, version: u32) -> Row {
        Row { id, version, updated_at_s: 0, deleted_at_s: None }
    }

    #[test]
    fn a_file_has_the_size_that_its_record_says_and_changes_only_with_its_version() {
        for document in of_company(7, &row(15, 1), None) {
            let size = document.size_bytes as usize;
            let bytes = document.bytes(7, 0..size);
            assert_eq!(bytes.len(), size);
            assert_eq!(bytes, document.bytes(7, 0..size));
        }
        let (before, after) = (&of_company(7, &row(15, 1), None)[0], &of_company(7, &row(15, 2), None)[0]);
        assert_ne!(before.etag(), after.etag());
        let (old, new) = (before.bytes(7, 0..before.size_bytes as usize), after.bytes(7, 0..after.size_bytes as usize));
        assert_eq!(new.len(), old.len() + PARAGRAPH.len());
        assert_eq!(new[new.len() - 500..], old[old.len() - 500..]);
        assert_eq!(of_company(7, &row(15, 1), None)[1..], of_company(7, &row(15, 2), None)[1..]);
        assert!(of_company(7, &row(COMPANIES_MAX + 1, 1), None).is_empty());
    }
}
