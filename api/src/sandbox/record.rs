//! The bodies of records, made from (seed, id, version). Written as text, so that `1.0`, `12.50` and integers beyond
//! 2^53 stand in the answer as a real product would write them.

use std::fmt::Write;

use jiff::Timestamp;

use super::{
    document::{self, Document},
    draw::Draw,
    table::Row,
    written::Body,
};

const FIRST_NAMES: &[&str] = &[
    "Ada",
    "Zoë",
    "José",
    "Łukasz",
    "Nguyễn",
    "Siân",
    "Мария",
    "小明",
    "Aoife",
    "Björn",
    "Chidi",
    "Fatima",
    "Noa",
    "Özge",
];
const LAST_NAMES: &[&str] =
    &["Lovelace", "O'Brien", "Müller", "García", "Nowak", "Smith-Jones", "田中", "Иванова", "Okafor", "van der Berg"];
const CITIES: &[&str] =
    &["Zürich", "São Paulo", "東京", "Kraków", "Aarhus", "New York", "Reykjavík", "Lagos", "Montréal"];
const WORDS: &[&str] = &[
    "asked",
    "for",
    "the",
    "quote",
    "again",
    "prefers",
    "e-mail",
    "über",
    "calls",
    "on",
    "Friday",
    "☎",
    "invoice",
    "sent",
    "naïve",
    "question",
    "about",
    "renewal",
    "“quoted”",
    "price",
    "likes",
    "cafés",
    "new",
    "branch",
    "🙂",
    "soon",
];
const STAGES: &[&str] = &["new", "qualified", "proposal", "negotiation", "won", "lost"];
const EVENTS: &[&str] = &["email.opened", "email.clicked", "form.submitted", "order.placed", "page.viewed"];
const TAGS: &[&str] = &["customer", "lead", "partner", "vip", "newsletter", "trial", "churned", "événement"];

/// The streams of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// People; deletions are marked.
    Contacts,
    /// Firms; deletions show by absence.
    Companies,
    /// Deals of a company.
    Deals,
    /// A ledger.
    Events,
    /// A tiny list without keys.
    Tags,
}

impl Stream {
    /// The stream that is called so.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "contacts" => Self::Contacts,
            "companies" => Self::Companies,
            "deals" => Self::Deals,
            "events" => Self::Events,
            "tags" => Self::Tags,
            _ => return None,
        })
    }
}

/// Deals that every initial company has.
pub const DEALS_PER_COMPANY: u64 = 25;

/// Appends a record's JSON to `out`.
pub fn write(out: &mut String, seed: u64, stream: Stream, row: &Row, companies: u64) {
    let lasting = Draw::new(seed, [stream as u64, row.id, 0]);
    let changing = Draw::new(seed, [stream as u64, row.id, u64::from(row.version)]);
    // Writing to a String cannot fail.
    let _ = match stream {
        Stream::Contacts => contact(out, row, lasting, changing),
        Stream::Companies => company(out, seed, row, lasting, changing),
        Stream::Deals => deal(out, row, lasting, changing, company_of(seed, row.id, companies)),
        Stream::Events => event(out, row, changing),
        Stream::Tags => tag(out, row),
    };
}

/// Appends the JSON of a record that somebody wrote.
pub fn write_sent(out: &mut String, seed: u64, stream: Stream, row: &Row, body: &Body) {
    // Writing to a String cannot fail.
    let _ = write!(out, r#"{{"id":{}"#, row.id);
    body.write(out, stream);
    if stream == Stream::Companies {
        out.push(',');
        let _ = documents(out, &document::of_company(seed, row, Some(body)));
    }
    let _ = stamps(out, row);
}

/// Some words, for the free text of a record.
pub fn words(mut draw: Draw) -> String {
    let mut text = String::new();
    sentence(&mut text, &mut draw, 10);
    text
}

/// Seconds since 1970 as `2024-01-01T00:00:00Z`.
pub fn instant(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The company that a deal belongs to: the initial ones in order, later ones drawn among the initial companies.
pub fn company_of(seed: u64, deal_id: u64, companies: u64) -> u64 {
    if deal_id <= companies * DEALS_PER_COMPANY {
        (deal_id - 1) / DEALS_PER_COMPANY + 1
    } else {
        Draw::new(seed, [Stream::Deals as u64, deal_id, u64::MAX]).below(companies) + 1
    }
}

fn contact(out: &mut String, row: &Row, mut lasting: Draw, mut changing: Draw) -> std::fmt::Result {
    let id = row.id;
    let (first, last) = (lasting.one(FIRST_NAMES), lasting.one(LAST_NAMES));
    let external_id = (1 << 60) + lasting.below(1 << 60);
    write!(out, r#"{{"id":{id},"external_id":{external_id},"first_name":"{first}","last_name":"{last}","#)?;
    write!(out, r#""email":"person{id}.{}@example.com","phone":"#, changing.below(1000))?;
    nullable(out, (!changing.once_in(4)).then(|| format!("+41 44 {:07}", changing.below(10_000_000))))?;
    let (number, city, zip) = (changing.below(300), changing.one(CITIES), changing.below(100_000));
    let (latitude, longitude) = (changing.below(90_000), changing.below(180_000));
    write!(
        out,
        r#","address":{{"street":"Rue de l'Église {number}","city":"{city}","zip":"{zip:05}","geo":{{"lat":{}.{:03},"lon":{}.{:03}}}}},"#,
        latitude / 1000,
        latitude % 1000,
        longitude / 1000,
        longitude % 1000
    )?;
    let (score, cents) = (changing.below(100), changing.below(10_000_000));
    write!(out, r#""score":{score}.0,"lifetime_value":{}.{:02},"#, cents / 100, cents % 100)?;
    let (one, other, opted_in) = (changing.one(TAGS), changing.one(TAGS), changing.once_in(2));
    write!(out, r#""tags":["{one}","{other}"],"marketing":{{"opted_in":{opted_in},"source":"#)?;
    nullable(out, (!changing.once_in(3)).then(|| changing.one(EVENTS).to_owned()))?;
    out.push_str(r#"},"custom_fields":["#);
    for field in 1..=4_u8 {
        let comma = if field == 1 { "" } else { "," };
        write!(out, r#"{comma}{{"id":{field},"name":"field {field}","value":"{:016x}"}}"#, changing.bits())?;
    }
    out.push_str(r#"],"owner":null,"company_id":null,"notes":""#);
    sentence(out, &mut changing, 45);
    out.push('"');
    stamps(out, row)
}

fn company(out: &mut String, seed: u64, row: &Row, mut lasting: Draw, mut changing: Draw) -> std::fmt::Result {
    let (id, name, city) = (row.id, lasting.one(LAST_NAMES), lasting.one(CITIES));
    let (employees, revenue) = (changing.below(10_000), changing.below(1 << 40));
    write!(out, r#"{{"id":{id},"name":"{name} & Söhne {id}","domain":"c{id}.example.com","employees":{employees},"#)?;
    write!(out, r#""annual_revenue":{revenue}.0,"headquarters":{{"city":"{city}","country":null}},"#)?;
    documents(out, &document::of_company(seed, row, None))?;
    out.push_str(r#","main_contact_id":null,"about":""#);
    sentence(out, &mut changing, 12);
    out.push('"');
    stamps(out, row)
}

/// The field that lists a company's files.
fn documents(out: &mut String, documents: &[Document]) -> std::fmt::Result {
    out.push_str(r#""documents":["#);
    for (i, document) in documents.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        write!(
            out,
            r#"{comma}{{"id":{},"name":"{}","media_type":"{}","#,
            document.id, document.name, document.media_type
        )?;
        let etag = document.etag();
        write!(out, r#""size":{},"etag":{etag:?},"url":"{}"}}"#, document.size_bytes, document.path())?;
    }
    out.push(']');
    Ok(())
}

fn deal(out: &mut String, row: &Row, mut lasting: Draw, mut changing: Draw, company: u64) -> std::fmt::Result {
    let id = row.id;
    let (cents, stage, tenths) = (changing.below(100_000_000), changing.one(STAGES), changing.below(11));
    let contact = lasting.below(1000) + 1;
    write!(out, r#"{{"id":{id},"company_id":{company},"contact_id":{contact},"title":"Deal {id}: {stage}","#)?;
    write!(out, r#""amount":{}.{:02},"currency":"CHF","stage":"{stage}","#, cents / 100, cents % 100)?;
    write!(out, r#""probability":{}.{},"lost_reason":null,"memo":""#, tenths / 10, tenths % 10)?;
    sentence(out, &mut changing, 8);
    out.push('"');
    stamps(out, row)
}

fn event(out: &mut String, row: &Row, mut changing: Draw) -> std::fmt::Result {
    let (id, kind, contact) = (row.id, changing.one(EVENTS), changing.below(1000) + 1);
    let (session, octet, milliseconds) = (changing.bits(), changing.below(255), changing.below(100_000));
    write!(
        out,
        r#"{{"id":{id},"kind":"{kind}","contact_id":{contact},"occurred_at":"{}","#,
        instant(row.updated_at_s)
    )?;
    write!(
        out,
        r#""payload":{{"session":{session},"ip":"192.0.2.{octet}","took_ms":{milliseconds}.5,"referrer":null}}}}"#
    )
}

fn tag(out: &mut String, row: &Row) -> std::fmt::Result {
    let name = TAGS[(row.id as usize - 1) % TAGS.len()];
    write!(out, r##"{{"name":"{name}","colour":"#{:06x}"}}"##, row.id * 1_234_567 % 0xff_ffff)
}

/// How many tags there are.
pub fn tag_count() -> u64 {
    TAGS.len() as u64
}

fn nullable(out: &mut String, text: Option<String>) -> std::fmt::Result {
    match text {
        Some(text) => write!(out, "\"{text}\""),
        None => out.write_str("null"),
    }
}

fn sentence(out: &mut String, draw: &mut Draw, words: u32) {
    for word in 0..words {
        if word > 0 {
            out.push(' ');
        }
        out.push_str(draw.one(WORDS));
    }
}

/// The fields that the product sets itself, and the record's end.
fn stamps(out: &mut String, row: &Row) -> std::fmt::Result {
    let created = instant(super::table::FIRST_SECOND - 86_400 - row.id as i64 % 86_400);
    write!(
        out,
        r#","version":{},"created_at":"{created}","updated_at":"{}","#,
        row.version,
        instant(row.updated_at_s)
    )?;
    match row.deleted_at_s {
        Some(at) => write!(out, r#""deleted_at":"{}"}}"#, instant(at)),
        None => out.write_str(r#""deleted_at":null}"#),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn text(stream: Stream, id: u64, version: u32) -> String {
        let mut out = String::new();
        let row = Row { id, version, updated_at_s: super::super::table::FIRST_SECOND + 5, deleted_at_s: None };
        write(&mut out, 7, stream, &row, 20);
        out
    }

    #[test]
    fn every_record_is_json_and_the_same_each_time() {
        for stream in [Stream::Contacts, Stream::Companies, Stream::Deals, Stream::Events, Stream::Tags] {
            for id in 1..200 {
                let body = text(stream, id, 1);
                assert!(serde_json::from_str::<Value>(&body).unwrap().is_object(), "{body}");
                assert_eq!(body, text(stream, id, 1));
            }
        }
    }

    #[test]
    fn contacts_are_about_a_kilobyte_and_hold_the_hard_values() {
        let total: usize = (1..=1000).map(|id| text(Stream::Contacts, id, 1).len()).sum();
        assert!((900_000..1_200_000).contains(&total), "{total} bytes in a thousand");
        let body = text(Stream::Contacts, 1, 1);
        let contact: Value = serde_json::from_str(&body).unwrap();
        assert!(contact["external_id"].as_u64().unwrap() > 1 << 53);
        assert!(contact["score"].is_f64() && body.contains(".0,"));
        assert_ne!(body, text(Stream::Contacts, 1, 2));
    }
}
