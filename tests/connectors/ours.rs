//! The integrations that ship with the program, each against answers in the shapes that its vendor documents: a file for
//! each stream in `connectors/fixtures/NAME/`, and the records that must come.

use std::{collections::BTreeSet, sync::Arc};

use futures::TryStreamExt;
use listbackup_connectors::{AttachmentRequest, Deletions, registry::Registry};
use serde_json::{Value, json};

use crate::{
    kit::{Reading, read},
    stand_ins::{Answers, Product, at, exchanges, in_order, json_of},
};

/// What a customer would miss after a loss, by integration.
const PROMISED: &[(&str, &str)] = &[
    (
        "activecampaign",
        "contacts lists campaigns automations deals accounts tags fields messages forms users groups deal_stages pipelines \
         notes tasks",
    ),
    (
        "gohighlevel",
        "contacts opportunities calendars appointments campaigns forms surveys workflows conversations users \
         custom_fields tags pipelines",
    ),
    (
        "hubspot",
        "contacts companies deals tickets products engagements forms lists workflows emails owners pipelines properties",
    ),
    (
        "keap",
        "contacts companies opportunities orders products tags tasks notes emails transactions subscriptions users files \
         affiliates commissions programs",
    ),
    ("mailchimp", "lists members segments campaigns reports automations templates"),
    ("shopify", "orders customers products collections inventory_items inventory_levels transactions fulfillments"),
    (
        "stripe",
        "customers charges invoices subscriptions payouts products prices payment_intents refunds events disputes transfers",
    ),
    (
        "zendesk",
        "tickets users organizations groups ticket_fields user_fields organization_fields satisfaction_ratings macros views \
         comments",
    ),
];

/// Streams that a run reads from where the last one ended. In every other one a deletion shows by absence alone.
const INCREMENTAL: &[(&str, &str)] =
    &[("shopify", "events fulfillments transactions"), ("stripe", "events"), ("zendesk", "comments tickets users")];

fn sorted(records: &[Value]) -> Vec<String> {
    let mut sorted: Vec<_> = records.iter().map(|record| in_order(record).to_string()).collect();
    sorted.sort();
    sorted
}

/// Opens every attachment that a reading names; how many there were.
async fn open_all(product: &Product, stream: &str, reading: &Reading) -> usize {
    let catalog = product.connector.discover().await.unwrap();
    let stream = Arc::new(catalog.streams.into_iter().find(|found| found.name == stream).unwrap());
    let mut opened = 0;
    for found in reading.pages.iter().flat_map(|page| &page.attachments) {
        let request = AttachmentRequest { stream: Arc::clone(&stream), locator: found.locator.clone(), resume: None };
        let body = product.connector.open_attachment(request).await.unwrap();
        let bytes: Vec<bytes::Bytes> = body.bytes.try_collect().await.unwrap();
        let size = bytes.iter().map(bytes::Bytes::len).sum::<usize>();
        assert!(size > 0 && found.size_bytes.is_none_or(|told| told == size as u64), "{}: {size}", found.name);
        assert!(!found.name.is_empty() && found.version.is_some());
        opened += 1;
    }
    opened
}

/// Checks the connection, reads every stream in full and compares, opens every file, reads on from each state, and leaves no
/// answer of the fixtures without a question.
async fn read_everything(name: &'static str) {
    let product = Product::whole(name, "settings.json").await;
    product.connector.check().await.unwrap();
    let streams = product.connector.discover().await.unwrap().streams;
    let mut files = 0;
    for stream in &streams {
        let reading = product.read(&stream.name, None).await;
        let expected = product.expected(&stream.name);
        assert!(!expected.is_empty(), "{name}: nothing is expected of {}", stream.name);
        assert_eq!(sorted(&reading.records), sorted(&expected), "{name} {}", stream.name);
        assert!(reading.end.as_ref().unwrap().is_full, "{name} {}", stream.name);
        files += open_all(&product, &stream.name, &reading).await;
        if stream.cursor_field.is_empty() {
            continue;
        }
        let again = product.read(&stream.name, Some(reading.state())).await;
        assert!(again.records.len() < reading.records.len(), "{name} {}", stream.name);
        let known: BTreeSet<_> = sorted(&expected).into_iter().collect();
        assert!(sorted(&again.records).iter().all(|record| known.contains(record)), "{name} {}", stream.name);
    }
    // Among them those with a cursor in their query, of which no first read could have asked.
    assert_eq!(product.never_asked(|file| file != "sign-in.json"), [], "{name}");
    let contents: usize = exchanges(name)
        .iter()
        .filter(|(file, _)| file.ends_with(".contents.json"))
        .map(|(_, exchanges)| exchanges.as_array().unwrap().len())
        .sum();
    assert!(files >= contents, "{name}: {files} files were named, and {contents} are there");
}

#[tokio::test]
async fn activecampaign_is_read_whole_and_on_from_where_it_ended() {
    read_everything("activecampaign").await;
}

#[tokio::test]
async fn gohighlevel_is_read_whole() {
    read_everything("gohighlevel").await;
}

#[tokio::test]
async fn hubspot_is_read_whole_with_its_files() {
    read_everything("hubspot").await;
}

#[tokio::test]
async fn keap_is_read_whole_with_its_files_and_on_from_where_it_ended() {
    read_everything("keap").await;
}

#[tokio::test]
async fn mailchimp_is_read_whole_and_on_from_where_it_ended() {
    read_everything("mailchimp").await;
}

#[tokio::test]
async fn shopify_is_read_whole_and_on_from_where_it_ended() {
    read_everything("shopify").await;
}

#[tokio::test]
async fn stripe_is_read_whole_with_its_files_and_on_from_where_it_ended() {
    read_everything("stripe").await;
}

#[tokio::test]
async fn zendesk_is_read_whole_with_its_files_and_on_from_where_it_ended() {
    read_everything("zendesk").await;
}

#[tokio::test]
async fn each_way_of_signing_in_works_where_a_product_has_two() {
    let mut asked_for_tokens = Vec::new();
    for name in ["gohighlevel", "hubspot", "keap", "mailchimp", "shopify", "zendesk"] {
        for settings in ["settings.json", "settings-other.json"] {
            let product = Product::whole(name, settings).await;
            product.connector.check().await.unwrap_or_else(|error| panic!("{name} {settings}: {error}"));
            product.assert_all_known();
            let is_oauth = json_of(&at(name).join(settings))["credentials"]["auth_type"] == "oauth";
            let has_asked =
                at(name).join("sign-in.json").exists() && product.never_asked(|file| file == "sign-in.json").is_empty();
            assert!(!has_asked || is_oauth, "{name} {settings}");
            asked_for_tokens.extend(has_asked.then_some(name));
        }
    }
    // Tokens of the other two do not end, so that they are never asked for again.
    assert_eq!(asked_for_tokens, ["gohighlevel", "hubspot", "keap", "zendesk"]);
}

#[tokio::test]
async fn a_refusal_says_what_to_do_about_it() {
    for (name, _) in PROMISED {
        let refusal = json_of(&at(name).join("errors.json"));
        let mut answers = Answers::default();
        if let Some(sign_in) = exchanges(name).get("sign-in.json") {
            sign_in.as_array().unwrap().iter().for_each(|exchange| drop(answers.add(exchange)));
        }
        answers.add(&refusal["exchange"]);
        let product = Product::start(name, "settings.json", answers).await;
        let stream = refusal["stream"].as_str().unwrap();
        let error = read(&product.connector, stream, None, None).await.end.unwrap_err();
        product.assert_all_known();
        assert_eq!(error.kind().code(), refusal["kind"], "{name}: {error}");
        assert!(error.to_string().contains(refusal["says"].as_str().unwrap()), "{name}: {error}");
    }
}

#[tokio::test]
async fn nothing_that_a_customer_would_miss_is_left_out() {
    for (name, promised) in PROMISED {
        let product = Product::start(name, "settings.json", Answers::default()).await;
        let streams = product.connector.discover().await.unwrap().streams;
        for promised in promised.split(' ') {
            assert!(streams.iter().any(|stream| stream.name == promised), "{name} has no stream {promised}");
        }
        let incremental = INCREMENTAL.iter().find(|(of, _)| of == name).map_or("", |(_, streams)| streams);
        let mut found: Vec<_> =
            streams.iter().filter(|stream| stream.deletions != Deletions::Absence).map(|s| &*s.name).collect();
        found.sort_unstable();
        assert_eq!(found.join(" "), incremental, "{name}");
        for stream in &streams {
            let keyless = stream.primary_key.is_empty();
            assert_eq!(keyless, (*name, &*stream.name) == ("keap", "commissions"), "{name} {}", stream.name);
            let properties = stream.json_schema["properties"].as_object().unwrap();
            let first = stream.primary_key.iter().map(|path| &path[0]);
            let missing: Vec<_> = first.filter(|field| !properties.contains_key(*field)).collect();
            assert!(missing.is_empty(), "{name} {}: {missing:?} are not in the schema", stream.name);
        }
    }
}

/// Each setting in a schema, with its name.
fn settings(schema: &Value, found: &mut Vec<(String, Value)>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        found.push((name.clone(), property.clone()));
        settings(property, found);
    }
    schema["oneOf"].as_array().into_iter().flatten().for_each(|choice| settings(choice, found));
}

#[test]
fn every_secret_is_marked_and_every_setting_explains_itself() {
    let registry = Registry::ours().unwrap();
    for (name, _) in PROMISED {
        let integration = registry.get(name).unwrap_or_else(|| panic!("{name} does not ship with the program"));
        let mut all = Vec::new();
        settings(&integration.spec().settings_schema, &mut all);
        for (setting, schema) in all.iter().filter(|(setting, _)| setting != "auth_type") {
            let is_secret = ["_token", "_key", "_secret"].iter().any(|end| setting.ends_with(end));
            assert_eq!(schema["airbyte_secret"] == json!(true), is_secret, "{name} {setting}");
            assert!(schema["title"].is_string() && schema["description"].is_string(), "{name} {setting}");
        }
        assert!(all.iter().any(|(_, schema)| schema["airbyte_secret"] == json!(true)), "{name}");
    }
}
