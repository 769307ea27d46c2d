//! Attachments from the product to the person: listed as files, downloaded whole and in parts, by nobody else.

use listbackup::sandbox::SandboxSettings;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    data::{by_key, id, product, run_to_its_end, source, truth},
    kit::{App, Person, client::Caller},
};

/// All files of a source whose paths begin with `path`.
async fn files(of: &Person, source: &Value, path: &str, count: usize) -> Vec<Value> {
    // Rows come a moment after the snapshot.
    let began = tokio::time::Instant::now();
    loop {
        let listed = of.caller.get(&format!("/data/files?source_id={}&path={path}&limit=200", id(source))).await;
        let items = listed.expect(200)["items"].as_array().unwrap().clone();
        if items.len() >= count {
            return items;
        }
        assert!(began.elapsed() < crate::kit::PATIENCE, "{} of {count} files", items.len());
        tokio::task::yield_now().await;
    }
}

async fn bytes(caller: &Caller, path: &str) -> (u16, reqwest::header::HeaderMap, Vec<u8>) {
    let answer = caller.request(Method::GET, path).send().await.unwrap();
    (answer.status().as_u16(), answer.headers().clone(), answer.bytes().await.unwrap().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn attachments_of_a_real_product_are_listed_and_downloaded_whole_and_in_parts() {
    let app = App::start().await;
    let worker = app.worker();
    let product = product().await;
    let at_product = Caller::new(product.url()).with("X-Api-Key", "sandbox-key");
    // One download breaks off in the middle and goes on, one comes empty and is not believed.
    for (path, kind) in [("/companies/1/documents/1", "cut"), ("/companies/1/documents/2", "empty")] {
        let order = json!({ "path": path, "fault": { "kind": kind } });
        Caller::new(product.url()).post("/_sandbox/faults", &order).await.expect(204);
    }
    let ada = app.person("ada").await;
    let source = source(&ada, "Shop", &by_key(&product, &SandboxSettings::default().api_key)).await;
    let run = run_to_its_end(&ada, &source).await;
    assert_eq!(run["status"], "succeeded", "{run}");

    let companies = truth(&product, "companies").await;
    let listed: Vec<&Value> = companies.values().flat_map(|company| company["documents"].as_array().unwrap()).collect();
    assert!(listed.len() >= 4, "{listed:?}");
    let files = files(&ada, &source, "companies/", listed.len()).await;
    assert_eq!(files.len(), listed.len());
    for document in listed {
        let (status, _, expected) = bytes(&at_product, document["url"].as_str().unwrap()).await;
        assert_eq!(status, 200);
        let file = files.iter().find(|file| {
            let attachment = &file["attachment"];
            document["url"]
                == format!(
                    "/companies/{}/documents/{}",
                    attachment["record"].as_str().unwrap(),
                    attachment["id"].as_str().unwrap()
                )
        });
        let file = file.unwrap_or_else(|| panic!("no file for {document}"));
        assert_eq!(file["size_bytes"], document["size"]);
        assert_eq!(file["attachment"]["name"], document["name"]);
        check_download(&ada, file, &expected).await;
    }
    // A stream's own file beside them is not to be had in parts, and an attachment has no format.
    let one = format!("/data/files/{}/download", id(&files[0]));
    assert_eq!(ada.caller.get(&format!("{one}?format=csv")).await.pointers(), ["?format"]);
    let bob = app.person("bob").await;
    bob.caller.get(&one).await.expect(404);
    app.nobody().get(&one).await.expect(401);

    // Nothing changed: nothing is downloaded or stored again.
    let before = requests(&product.url()).await;
    let second = run_to_its_end(&ada, &source).await;
    assert_eq!(second["progress"]["streams"]["companies@attachments"]["unchanged"], files.len(), "{second}");
    assert_eq!(requests(&product.url()).await, before);
    worker.stop();
    product.stop().await.unwrap();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verifying_tells_how_many_packs_it_looked_at_that_only_older_snapshots_need() {
    let app = App::start().await;
    let worker = app.worker();
    let settings = SandboxSettings { records: 20, ..SandboxSettings::default() };
    let product = listbackup::sandbox::Sandbox::start(settings).await.unwrap();
    let at_product = Caller::new(product.url()).with("X-Api-Key", "sandbox-key");
    let ada = app.person("ada").await;
    let source = source(&ada, "Shop", &by_key(&product, &SandboxSettings::default().api_key)).await;
    let mut packs = Vec::new();
    for is_changed in [false, true] {
        if is_changed {
            // The one company loses its documents when somebody changes it.
            at_product.patch("/companies/1", &json!({ "name": "New" })).await.expect(200);
        }
        let snapshot = run_to_its_end(&ada, &source).await["snapshot_id"].as_str().unwrap().to_owned();
        let verified = ada.caller.post(&format!("/data/snapshots/{snapshot}/verify"), &json!({})).await;
        assert_eq!((&verified.expect(200)["complete"], &verified.body["sound"]), (&json!(true), &json!(true)));
        packs.push(verified.body["older_packs"].clone());
    }
    assert_eq!(packs, [0, 1]);
    worker.stop();
    product.stop().await.unwrap();
    app.stop().await;
}

/// How many documents were asked for so far.
async fn requests(product: &str) -> u64 {
    let stats = Caller::new(product.to_owned()).get("/_sandbox/stats").await;
    let by_path = stats.expect(200)["requests"].as_object().cloned().unwrap_or_default();
    assert!(!by_path.is_empty(), "{}", stats.text);
    by_path.iter().filter(|(path, _)| path.contains("documents")).filter_map(|(_, count)| count.as_u64()).sum()
}

async fn check_download(of: &Person, file: &Value, expected: &[u8]) {
    let path = format!("/data/files/{}/download", id(file));
    let (status, headers, whole) = bytes(&of.caller, &path).await;
    assert_eq!(status, 200);
    assert!(whole == expected, "{file}: other bytes came");
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-length"), expected.len().to_string());
    assert_eq!(header("accept-ranges"), "bytes");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert!(header("content-disposition").starts_with("attachment; filename="), "{}", header("content-disposition"));
    let etag = header("etag");
    assert_eq!(etag, format!("\"{}\"", file["content_digest"].as_str().unwrap()));
    assert_eq!(bytes(&of.caller.with("If-None-Match", &etag), &path).await.0, 304);
    let past = of.caller.with("Range", format!("bytes={}-", expected.len())).get(&path).await;
    assert_eq!(
        (past.expect(416)["code"].as_str(), past.header("content-range")),
        (Some("range_not_satisfiable"), &*format!("bytes */{}", expected.len()))
    );
    if expected.is_empty() {
        return;
    }
    let middle = expected.len() / 2;
    for (range, from, to) in [
        ("bytes=0-0".to_owned(), 0, 1),
        (format!("bytes={middle}-"), middle, expected.len()),
        (format!("bytes=-{}", expected.len() - middle), middle, expected.len()),
        (format!("bytes={middle}-{}", expected.len() + 5), middle, expected.len()),
    ] {
        let (status, headers, part) = bytes(&of.caller.with("Range", &range), &path).await;
        assert_eq!(status, 206, "{range}");
        assert!(part == expected[from..to], "{range}: other bytes came");
        assert_eq!(headers["content-range"], format!("bytes {from}-{}/{}", to - 1, expected.len()));
        assert_eq!(headers["content-length"], (to - from).to_string());
    }
    let other = of.caller.with("Range", "bytes=0-0").with("If-Range", "\"another\"");
    assert_eq!(bytes(&other, &path).await.0, 200);
}
