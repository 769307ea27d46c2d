//! Where the customer arrives: `listbackup up` that sells, the product beside it, and the payment service.

use std::{collections::BTreeMap, process::Command};

use serde_json::{Value, json};

use crate::{
    program::{Program, binary},
    running::{self, Running},
    servers::{billing_stripe::BillingStripe, localstripe::API_KEY},
};

const PLANS: &str = r#"{"plans": [
    {"name": "free", "title": "Free", "default": true, "limits": {"sources": 1, "members": 3}},
    {"name": "team", "title": "Team", "stripe_price": "price_team", "limits": {"sources": 2, "members": 10}},
    {"name": "firm", "title": "Firm", "stripe_price": "price_firm"}]}"#;
const SECRET: &str = "whsec_of_the_walk";

/// All of it.
pub struct Place {
    program: Program,
    server: Running,
    product: Running,
    stripe: BillingStripe,
}

impl Place {
    /// Starts everything on fresh directories.
    pub async fn open() -> Self {
        let (program, product, stripe) = (Program::new(), running::sandbox(60, 10_000), BillingStripe::start());
        stripe.price("price_team", "990").await;
        stripe.price("price_firm", "9900").await;
        let mut command = Command::new(binary());
        command.arg("up").arg("--data-dir").arg(program.data_dir());
        command.args(["--listen", "127.0.0.1:0", "--allow-network", "127.0.0.1/32"]);
        let payments = [("PLANS", PLANS), ("STRIPE_KEY", API_KEY), ("STRIPE_WEBHOOK_SECRET", SECRET)];
        command.envs(payments.map(|(name, value)| (format!("LISTBACKUP_{name}"), value)));
        command.env("LISTBACKUP_STRIPE_API_URL", stripe.url());
        let server = Running::start(command);
        stripe.tells(&format!("{}/billing/webhooks", server.url()), SECRET).await;
        Self { program, server, product, stripe }
    }

    /// Where the API is.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The code of the newest letter to an address.
    pub fn code_for(&self, email: &str) -> String {
        let folder = std::fs::read_dir(self.program.data_dir().join("mail")).expect("the folder of letters");
        let mut letters: Vec<_> = folder.map(|entry| entry.expect("a letter").path()).collect();
        letters.sort();
        let texts = letters.iter().rev().map(|path| std::fs::read_to_string(path).expect("a text"));
        let letter = texts.into_iter().find(|text| text.contains(&format!("To: {email}"))).expect("a letter");
        letter.lines().find_map(|line| line.strip_prefix("Code: ")).expect("a code").trim().to_owned()
    }

    /// Settings of the product, signed in by OAuth.
    pub fn by_oauth(&self, name: &str) -> Value {
        let app = listbackup::sandbox::SandboxSettings::default();
        self.source(
            name,
            &json!({ "auth_type": "oauth", "client_id": app.client_id, "client_secret": app.client_secret }),
        )
    }

    /// Settings of the product, by its key.
    pub fn by_key(&self, name: &str) -> Value {
        self.source(name, &json!({ "auth_type": "api_key", "api_key": "sandbox-key" }))
    }

    fn source(&self, name: &str, credentials: &Value) -> Value {
        let settings = json!({ "base_url": self.product.url(), "credentials": credentials });
        json!({ "name": name, "integration": "sandbox", "settings": settings })
    }

    /// Records come and change at the product.
    pub async fn product_moves(&self) {
        let moved = json!({ "change": 0.1, "insert": 0.1, "delete": 0.0, "seed": 7 });
        let url = format!("{}/_sandbox/mutate", self.product.url());
        let answer = reqwest::Client::new().post(url).json(&moved).send().await.expect("an answer");
        assert!(answer.status().is_success());
    }

    /// What the product holds.
    pub async fn truth(&self, stream: &str) -> BTreeMap<String, Value> {
        running::truth(&self.product.url(), stream).await
    }

    /// Pays for a checkout on its page.
    pub async fn pay(&self, page: &str) {
        let session = page.rsplit('/').next().expect("a session");
        self.stripe.door(&format!("checkouts/{session}/pay"), &[("card", "pm_card_visa")]).await;
    }
}
