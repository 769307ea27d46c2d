//! When a worker sends: at once what its own process derived, and again when that is due.

use serde_json::json;

use crate::{
    kit::App,
    webhooks::{deliveries, receiver::Receiver, webhook},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_sent_without_waiting_for_the_next_look_and_again_when_that_is_due() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let receiver = Receiver::start().await;
    receiver.answers(Some("503 Not now"));
    let hook = webhook(&ada, &receiver.url(), &["key.*"]).await;
    let worker = app.worker();
    let began = std::time::Instant::now();
    ada.caller.post("/auth/keys", &json!({ "name": "k", "role": "viewer" })).await.expect(201);
    receiver.wait_for(1).await;
    receiver.answers(Some("204 No Content"));
    receiver.wait_for(2).await;
    assert!(began.elapsed().as_secs() < 45, "that was the look that comes once a minute: {:?}", began.elapsed());

    // What a person orders again goes at once, too.
    let sent = &deliveries(&ada, &hook).await[0];
    let path = format!("/webhooks/{}/deliveries/{}", hook["id"].as_str().unwrap(), sent["id"].as_str().unwrap());
    let began = std::time::Instant::now();
    ada.caller.post(&format!("{path}/redeliver"), &json!({})).await.expect(200);
    receiver.wait_for(3).await;
    assert!(began.elapsed().as_secs() < 45, "{:?}", began.elapsed());
    worker.stop();
    app.stop().await;
}
