//! What goes wrong, and who is told.

use serde_json::{Value, json};

use crate::{
    caller::text,
    day::{Day, SOON},
};

/// The name of a source that nobody is let in to.
const LOCKED: &str = "Locked out";

impl Day {
    /// A backup fails, and whoever administers the account has a letter.
    pub async fn alerts(&mut self) {
        let credentials = json!({ "auth_type": "api_key", "api_key": "of somebody else" });
        let settings = json!({ "base_url": self.product(), "credentials": credentials });
        let body = json!({ "name": LOCKED, "integration": "sandbox", "settings": settings });
        let source = text(&self.api.call("POST", "/sources", &[], body).await["id"]).to_owned();
        let run = self.api.call("POST", "/sources/{id}/sync", &[&source], json!({})).await;
        let ended = self.api.api("/runs/x").ended(text(&run["id"])).await;
        assert_eq!(ended["status"], "failed", "{ended}");
        let place = format!("{}/_ministack/ses/messages", self.endpoint_url);
        let has_come = async {
            while !reqwest::get(&place).await.expect("letters").text().await.expect("a text").contains(LOCKED) {}
        };
        tokio::time::timeout(SOON, has_come).await.expect("a letter");
        self.api.call("DELETE", "/sources/{id}", &[&source], Value::Null).await;
    }
}
