//! Made-up CRM contacts of about 1 KB, the same for the same number: what a benchmark reads.

use std::fmt::Write as _;

/// One contact as JSON. An edit other than 0 makes another version of it.
pub fn contact(out: &mut String, id: u64, edit: u64) {
    let mut draw = Draw(id.wrapping_mul(0xD134_2543_DE82_EF95) ^ (edit << 60));
    let (first, last) = (draw.one(FIRST_NAMES), draw.one(LAST_NAMES));
    let company = [draw.one(COMPANIES), draw.one(TRADES)].concat();
    let (city, country) = (draw.one(CITIES), draw.one(COUNTRIES));
    let number = 100_000_000 + id * 37;
    add(out, format_args!("{{\"id\":\"{number}\",\"properties\":{{"));
    add(out, format_args!("\"email\":\"{first}.{last}{}@{company}.example\",", draw.below(9999)));
    add(out, format_args!("\"firstname\":\"{first}\",\"lastname\":\"{last}\",\"company\":\"{company} Ltd\","));
    add(out, format_args!("\"phone\":\"+{:012}\",\"mobilephone\":null,", draw.below(999_999_999_999)));
    add(out, format_args!("\"jobtitle\":\"{}\",\"city\":\"{city}\",\"country\":\"{country}\",", draw.one(TITLES)));
    add(
        out,
        format_args!(
            "\"address\":\"{} {}\",\"zip\":\"{:05}\",",
            draw.below(2000),
            draw.one(STREETS),
            draw.below(99_999)
        ),
    );
    add(
        out,
        format_args!("\"lifecyclestage\":\"{}\",\"owner_id\":\"{}\",", draw.one(STAGES), 4_000_000 + draw.below(180)),
    );
    add(out, format_args!("\"opens\":{},\"deals\":{},", draw.below(40), draw.below(6)));
    add(out, format_args!("\"total_revenue\":{}.{:02},", draw.below(250_000), draw.below(100)));
    add(out, format_args!("\"external_id\":\"{:016x}{:016x}\",\"notes\":\"", draw.next(), draw.next()));
    sentence(out, &mut draw);
    out.push_str("\"},\"tags\":[");
    tags(out, &mut draw);
    let (created, updated) = (draw.below(180_000_000), draw.below(20_000_000));
    out.push_str("],\"createdAt\":\"");
    instant(out, created);
    out.push_str("\",\"updatedAt\":\"");
    instant(out, created + updated);
    out.push_str("\",\"archived\":false}");
}

fn sentence(out: &mut String, draw: &mut Draw) {
    let words = 62 + draw.below(45);
    for word in 0..words {
        if word > 0 {
            out.push(' ');
        }
        // The product of two draws makes the first words common, as in text.
        let skewed = draw.below(1000) * draw.below(1000) / 1000 * WORDS.len() as u64 / 1000;
        out.push_str(WORDS[skewed as usize]);
    }
}

fn tags(out: &mut String, draw: &mut Draw) {
    for tag in 0..draw.below(5) {
        add(out, format_args!("{}\"{}\"", if tag > 0 { "," } else { "" }, draw.one(TAGS)));
    }
}

/// Seconds since 2019 as RFC 3339.
fn instant(out: &mut String, seconds: u64) {
    let start = jiff::Timestamp::constant(1_546_300_800, 0).as_second();
    let at = jiff::Timestamp::from_second(start + seconds as i64).expect("within this century");
    add(out, format_args!("{at}"));
}

/// Appends text.
pub fn add(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes all text");
}

/// SplitMix64: small, fast, good enough to look random to a compressor.
pub struct Draw(pub u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    fn one(&mut self, of: &[&'static str]) -> &'static str {
        of[self.below(of.len() as u64) as usize]
    }
}

const FIRST_NAMES: &[&str] = &[
    "Ada", "Aisha", "Amara", "Andrei", "Bao", "Beatriz", "Carlos", "Chloe", "Deepa", "Elena", "Emeka", "Fatima",
    "Felix", "Grace", "Hiroshi", "Ines", "Ivan", "Jamal", "Kenji", "Leila", "Mateo", "Mei", "Nadia", "Omar", "Priya",
    "Ravi", "Sofia", "Tariq", "Uma", "Wanjiru", "Yara", "Zoe",
];
const LAST_NAMES: &[&str] = &[
    "Adeyemi",
    "Andersson",
    "Banerjee",
    "Becker",
    "Bianchi",
    "Castillo",
    "Costa",
    "Diaz",
    "Dubois",
    "Evans",
    "Garcia",
    "Gupta",
    "Haddad",
    "Hansen",
    "Ivanov",
    "Kang",
    "Khan",
    "Kowalski",
    "Laurent",
    "Mendes",
    "Moreau",
    "Mwangi",
    "Nakamura",
    "Nguyen",
    "Okafor",
    "Patel",
    "Rossi",
    "Sato",
    "Silva",
    "Torres",
    "Weber",
    "Yilmaz",
];
const COMPANIES: &[&str] =
    &["North", "Blue", "Prime", "Summit", "Harbor", "Cedar", "Vertex", "Silver", "Atlas", "Nova", "Lumen", "Granite"];
const TRADES: &[&str] =
    &["wind", "stone", "works", "bridge", "forge", "labs", "media", "foods", "health", "energy", "design", "legal"];
const TITLES: &[&str] =
    &["Account Executive", "Operations Manager", "Software Engineer", "Data Analyst", "Founder", "Support Lead"];
const STREETS: &[&str] = &["Maple Ave", "Oak Street", "Station Road", "Broadway", "Hauptstrasse", "Via Roma"];
const CITIES: &[&str] = &["London", "Berlin", "Paris", "Madrid", "Chicago", "Lagos", "Mumbai", "Tokyo", "Oslo", "Lima"];
const COUNTRIES: &[&str] = &["GB", "DE", "FR", "ES", "US", "NG", "IN", "JP", "NO", "PE"];
const STAGES: &[&str] = &["subscriber", "lead", "opportunity", "customer", "evangelist", "other"];
const TAGS: &[&str] = &["vip", "newsletter", "trial", "churn-risk", "webinar", "partner", "enterprise", "beta"];
const WORDS: &[&str] = &[
    "the",
    "to",
    "and",
    "a",
    "of",
    "we",
    "they",
    "for",
    "with",
    "on",
    "in",
    "that",
    "call",
    "team",
    "about",
    "next",
    "week",
    "quote",
    "renewal",
    "pricing",
    "asked",
    "sent",
    "contract",
    "demo",
    "follow",
    "meeting",
    "budget",
    "approved",
    "waiting",
    "legal",
    "review",
    "integration",
    "export",
    "backup",
    "users",
    "seats",
    "invoice",
    "quarter",
    "manager",
    "issue",
    "resolved",
    "onboarding",
    "training",
    "migration",
    "security",
    "questionnaire",
    "discount",
    "evaluation",
    "pilot",
    "feedback",
    "feature",
    "request",
    "roadmap",
    "ticket",
    "escalated",
    "closed",
];
