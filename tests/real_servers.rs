//! Backups of real products: what is exported is, record by record, what the product itself says, and a second backup
//! reports exactly what was changed in between.

#[path = "support/backup.rs"]
mod backup;
#[path = "support/program.rs"]
mod program;
#[path = "support/servers/mod.rs"]
mod servers;

use std::collections::BTreeMap;

use backup::Report;
use program::Program;
use servers::{Records, localstripe, localstripe::LocalStripe, mediawiki, mediawiki::MediaWiki};

/// All streams of a product at one moment.
type Content = BTreeMap<&'static str, Records>;

/// The key field of each stream.
const KEYS: &[(&str, &str)] = &[
    ("pages", "pageid"),
    ("revisions", "revid"),
    ("users", "userid"),
    ("recentchanges", "rcid"),
    ("logevents", "logid"),
];

#[tokio::test]
async fn a_wiki_is_backed_up_whole_and_its_changes_are_seen() {
    if let Err(reason) = mediawiki::installed() {
        return println!("skipped: {reason}");
    }
    let mut wiki = MediaWiki::start().await;
    fill_wiki(&mut wiki).await;
    let program = Program::new();
    let settings = [format!("base_url={}", wiki.url()), "start_date=2020-01-01T00:00:00Z".to_owned()];

    let before = wiki.records().await;
    let first = program.backup("mediawiki.yaml", &settings).await;
    assert_backed_up(&program, &first, &Content::new(), &before).await;

    wiki.edit("Page 3", "Rewritten").await;
    wiki.edit("Late page", "Made between two backups").await;
    wiki.delete("Page 7").await;
    wiki.create_user("Latecomer").await;
    let after = wiki.records().await;
    assert_eq!(counts(&difference(&before["pages"], &after["pages"])), (1, 1, 1), "the wiki follows its own API");

    let second = program.backup("mediawiki.yaml", &settings).await;
    assert_backed_up(&program, &second, &before, &after).await;

    let third = program.backup("mediawiki.yaml", &settings).await;
    assert_backed_up(&program, &third, &after, &after).await;
    assert_holds(&program, &first, &before).await;
}

#[tokio::test]
async fn a_stripe_account_is_backed_up_whole_and_its_changes_are_seen() {
    if let Err(reason) = localstripe::installed() {
        return println!("skipped: {reason}");
    }
    let stripe = LocalStripe::start();
    let customers = fill_account(&stripe).await;
    let program = Program::new();
    let settings = [
        format!("base_url={}", stripe.url()),
        format!("api_key={}", localstripe::API_KEY),
        "start_date=2020-01-01T00:00:00Z".to_owned(),
    ];

    let before = stripe.records().await;
    let first = program.backup("localstripe.yaml", &settings).await;
    assert_backed_up(&program, &first, &Content::new(), &before).await;

    stripe.post(&format!("customers/{}", customers[3]), &[("name", "Renamed")]).await;
    stripe.post("customers", &[("email", "late@example.com")]).await;
    stripe.delete(&format!("customers/{}", customers[7])).await;
    stripe.delete("coupons/coupon-1").await;
    let after = stripe.records().await;
    let changes = difference(&before["customers"], &after["customers"]);
    assert_eq!(counts(&changes), (1, 1, 1), "the account follows its own API");

    let second = program.backup("localstripe.yaml", &settings).await;
    assert_backed_up(&program, &second, &before, &after).await;

    let third = program.backup("localstripe.yaml", &settings).await;
    assert_backed_up(&program, &third, &after, &after).await;
    assert_holds(&program, &first, &before).await;
}

/// Our own integration, on those of its streams that localstripe serves as Stripe does.
#[tokio::test]
async fn the_stripe_integration_backs_an_account_up_whole_and_sees_its_changes() {
    // It filters no other list than events by time.
    const STREAMS: &[&str] = &["coupons", "customers", "events", "products", "subscriptions"];
    if let Err(reason) = localstripe::installed() {
        return println!("skipped: {reason}");
    }
    let stripe = LocalStripe::start();
    let customers = fill_account(&stripe).await;
    // More customers than fit one page of a hundred.
    for number in 0..70 {
        stripe.post("customers", &[("email", format!("more{number}@example.com").as_str())]).await;
    }
    let plans = stripe.list("plans").await;
    let plan = plans.values().next().unwrap()["id"].as_str().unwrap();
    let form = [("customer", customers[0].as_str()), ("items[0][plan]", plan), ("trial_period_days", "30")];
    stripe.post("subscriptions", &form).await;
    let program = Program::new();
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("stripe.yaml");
    let ours = std::fs::read_to_string("connectors/manifests/stripe.yaml").unwrap();
    std::fs::write(&manifest, ours.replace("https://api.stripe.com", &stripe.url())).unwrap();
    let settings = [format!("api_key={}", localstripe::API_KEY), "start_date=2020-01-01T00:00:00Z".to_owned()];
    let content = async || {
        let mut content = Content::new();
        for name in STREAMS {
            content.insert(name, stripe.list(name).await);
        }
        content
    };

    let before = content().await;
    assert!(before["customers"].len() > 100 && before["subscriptions"].len() == 1);
    let first = program.backup_of(&manifest, &settings, STREAMS).await;
    assert_backed_up(&program, &first, &Content::new(), &before).await;

    stripe.post(&format!("customers/{}", customers[3]), &[("name", "Renamed")]).await;
    stripe.delete(&format!("customers/{}", customers[7])).await;
    stripe.delete("coupons/coupon-1").await;
    let after = content().await;
    let second = program.backup_of(&manifest, &settings, STREAMS).await;
    assert_backed_up(&program, &second, &before, &after).await;
    assert_holds(&program, &first, &before).await;
}

/// More of everything than fits one page of the manifest's requests.
async fn fill_wiki(wiki: &mut MediaWiki) {
    for page in 0..23 {
        let title = format!("Page {page}");
        wiki.edit(&title, &format!("Zeile eins\n== Überschrift ==\n\"{page}\" \\ 日本語 🗄")).await;
        for revision in 0..page % 5 {
            wiki.edit(&title, &format!("Revision {revision} of {page}")).await;
        }
    }
    for name in ["Ada", "Çağla", "Иван", "Mei", "Zoë"] {
        wiki.create_user(name).await;
    }
}

/// More of everything than fits one page of the manifest's requests. Returns the customers' ids.
async fn fill_account(stripe: &LocalStripe) -> Vec<String> {
    let mut customers = Vec::new();
    for number in 0..34 {
        let email = format!("person{number}@example.com");
        let form = [("email", email.as_str()), ("name", "Zoë \"Z\" 日本"), ("metadata[number]", "007")];
        customers.push(stripe.post("customers", &form).await);
    }
    for customer in &customers[5..17] {
        stripe.post(&format!("customers/{customer}/tax_ids"), &[("type", "eu_vat"), ("value", "FR12345678901")]).await;
    }
    for number in 0..21 {
        let name = format!("Product {number}");
        let product = stripe.post("products", &[("name", name.as_str())]).await;
        let plan = [("product", product.as_str()), ("amount", "990"), ("currency", "eur"), ("interval", "month")];
        stripe.post("plans", &plan).await;
    }
    for number in 0..11 {
        let id = format!("coupon-{number}");
        stripe.post("coupons", &[("id", id.as_str()), ("percent_off", "12.5"), ("duration", "once")]).await;
        let rate = [("display_name", "VAT"), ("inclusive", "false"), ("percentage", "7.7")];
        stripe.post("tax_rates", &rate).await;
    }
    customers
}

/// The run succeeded, reports the difference of the two contents, and its snapshot holds `now`.
async fn assert_backed_up(program: &Program, report: &Report, before: &Content, now: &Content) {
    assert_eq!((report.status.as_str(), report.failed), ("succeeded", 0), "{report:?}");
    let none = Records::new();
    for (name, records) in now {
        let stream = report.streams.iter().find(|stream| stream.name == *name);
        let stream = stream.unwrap_or_else(|| panic!("stream {name} is not in the report: {report:?}"));
        assert_eq!(stream.failed, 0, "{name}");
        let expected = counts(&difference(before.get(name).unwrap_or(&none), records));
        let reported = (stream.added, stream.changed, stream.removed);
        assert_eq!(reported, expected, "stream {name}: (added, changed, removed) as reported and as they are");
    }
    assert_holds(program, report, now).await;
}

/// The snapshot of a run holds every record of the content, and no other.
async fn assert_holds(program: &Program, report: &Report, content: &Content) {
    let snapshot = report.snapshot_id.as_deref().expect("a run that succeeded made a snapshot");
    for (name, records) in content {
        let key = KEYS.iter().find(|(stream, _)| stream == name).map_or("id", |(_, key)| key);
        let stored = program.export(snapshot, name, key).await;
        let changes = difference(records, &stored);
        assert!(changes.is_empty(), "stream {name}: what the snapshot has otherwise than the product: {changes:?}");
    }
}

#[derive(Debug, PartialEq)]
enum Change {
    Added,
    Changed,
    Removed,
}

fn difference(before: &Records, now: &Records) -> BTreeMap<String, Change> {
    let kept = now.iter().filter_map(|(key, record)| match before.get(key) {
        None => Some((key.clone(), Change::Added)),
        Some(old) if old != record => Some((key.clone(), Change::Changed)),
        Some(_) => None,
    });
    let removed = before.keys().filter(|key| !now.contains_key(*key)).map(|key| (key.clone(), Change::Removed));
    kept.chain(removed).collect()
}

/// How many are added, changed, removed.
fn counts(changes: &BTreeMap<String, Change>) -> (u64, u64, u64) {
    let count = |kind: Change| changes.values().filter(|change| **change == kind).count() as u64;
    (count(Change::Added), count(Change::Changed), count(Change::Removed))
}
