//! What people do about each other: accounts below accounts, invitations, members.

use serde_json::{Value, json};

use crate::{
    caller::text,
    credentials,
    day::{Day, EMAIL, PASSWORD, registered, signed_in},
};

const COLLEAGUE: &str = "colleague@example.com";

impl Day {
    /// Accounts below this one, and somebody who comes and goes.
    pub async fn family(&mut self) {
        self.accounts_below().await;
        self.sender_is_verified().await;
        let account = self.account.clone();
        let invited = self.invited(&account).await;
        self.api.get("/accounts/{id}/invitations", &[&account], "").await;
        let ids = [account.as_str(), &invited];
        self.api.call("POST", "/accounts/{id}/invitations/{invitation}/resend", &ids, Value::Null).await;
        self.api.call("DELETE", "/accounts/{id}/invitations/{invitation}", &ids, Value::Null).await;
        self.invited(&account).await;
        let colleague = self.accepted().await;
        let ids = [account.as_str(), &colleague];
        let owner = json!({ "role": "owner" });
        self.api.call("PATCH", "/accounts/{id}/members/{user}", &ids, owner).await;
        self.api.call("DELETE", "/accounts/{id}/members/{user}", &ids, Value::Null).await;
        // An address that is somebody's by now.
        self.invited(&account).await;
    }

    async fn sender_is_verified(&self) {
        let sender = reqwest::Client::new()
            .post(format!("{}/v2/email/identities", self.endpoint_url))
            .header("authorization", "AWS4-HMAC-SHA256 Credential=test/20261122/us-east-1/ses/aws4_request")
            .json(&json!({ "EmailIdentity": "letters@example.com" }));
        let answer = sender.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.text().await.expect("a text"));
    }

    async fn accounts_below(&mut self) {
        let account = self.account.clone();
        let mut below = Vec::new();
        for name in ["North", "South"] {
            let made = self.api.call("POST", "/accounts/{id}/children", &[&account], json!({ "name": name })).await;
            below.push(text(&made["id"]).to_owned());
        }
        let to = json!({ "parent_id": below[0] });
        self.api.call("POST", "/accounts/{id}/move", &[&below[1]], to).await;
        self.api.get("/accounts/{id}/hierarchy", &[&account], "").await;
        self.api.call("DELETE", "/accounts/{id}", &[&below[1]], Value::Null).await;
        self.api.call("DELETE", "/accounts/{id}/deletion", &[&below[1]], Value::Null).await;
        self.api.call("POST", "/accounts", &[], json!({ "name": "Another" })).await;
        let switch = json!({ "refresh_token": signed_in(&mut self.api, EMAIL, PASSWORD).await["refresh_token"] });
        self.api.call("POST", "/accounts/{id}/switch", &[&account], switch).await;
    }

    /// The invitation's id.
    async fn invited(&mut self, account: &str) -> String {
        let whom = json!({ "email": COLLEAGUE, "role": "viewer" });
        let made = self.api.call("POST", "/accounts/{id}/invitations", &[account], whom).await;
        text(&made["id"]).to_owned()
    }

    /// Whoever was invited registers and accepts by the code in the letter; their id.
    async fn accepted(&mut self) -> String {
        let inviter = self.api.person.take();
        registered(&mut self.api, COLLEAGUE).await;
        credentials::changed(&mut self.api, COLLEAGUE).await;
        let letters = reqwest::get(format!("{}/_ministack/ses/messages", self.endpoint_url)).await.expect("letters");
        let letters = letters.text().await.expect("a text");
        // The newest letter has the code that counts.
        let (_, after) = letters.rsplit_once("Code: ").expect("a letter with a code");
        let code: String =
            after.chars().take_while(|&letter| letter.is_ascii_alphanumeric() || "-_".contains(letter)).collect();
        // As the person alone: the access key is the inviter's.
        let me = self.api.call("GET", "/auth/me", &[], Value::Null).await;
        self.api.call("POST", "/accounts/invitations/accept", &[], json!({ "code": code })).await;
        self.api.person = inviter;
        text(&me["id"]).to_owned()
    }
}
