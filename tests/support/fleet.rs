//! A fleet: processes of one role each, over an account of AWS that a stand-in serves.

use std::process::Command;

use serde_json::{Value, json};

use crate::{
    program::binary,
    running::{Api, Running},
    servers::aws::{Aws, StandIn},
};

const EMAIL: &str = "owner@example.com";
const PASSWORD: &str = "correct horse battery staple";

/// The account, with everything in it that a fleet needs.
pub struct Fleet {
    _aws: Aws,
    environment: Vec<(&'static str, String)>,
}

impl Fleet {
    /// An account with tables, queues, bucket, key, bus and user pool, and no process yet.
    pub async fn new() -> Self {
        let aws = Aws::start(StandIn::MiniStack).await;
        aws.make_tables().await;
        aws.make_queues(&aws.settings).await;
        aws.announce_snapshots().await;
        aws.make_key().await;
        aws.make_bus().await;
        let settings = aws.make_user_pool().await;
        let (pool, client) = settings.user_pool().expect("there is a pool");
        let environment = vec![
            ("LISTBACKUP_STORES", "aws".to_owned()),
            ("LISTBACKUP_STAGE", settings.stage().to_owned()),
            ("LISTBACKUP_REGION", settings.region().to_owned()),
            ("LISTBACKUP_BUCKET", settings.bucket().to_owned()),
            ("LISTBACKUP_ENDPOINT_URL", aws.url()),
            ("LISTBACKUP_USER_POOL_ID", pool.to_owned()),
            ("LISTBACKUP_USER_POOL_CLIENT_ID", client.to_owned()),
            ("LISTBACKUP_USER_POOL_KEYS_URL", settings.user_pool_keys_url().expect("it is a stand-in's").to_owned()),
            ("LISTBACKUP_ALLOW_NETWORKS", "127.0.0.1/32".to_owned()),
            ("LISTBACKUP_LISTEN", "127.0.0.1:0".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ];
        Self { _aws: aws, environment }
    }

    /// A process of the fleet, once it listens.
    pub fn process(&self, role: &str) -> Running {
        let mut command = Command::new(binary());
        command.arg(role).envs(self.environment.iter().map(|(name, value)| (name, value)));
        Running::start(command)
    }

    /// Registers a person in the user pool and makes an access key; its secret.
    pub async fn access_key(&self, api: &Running) -> String {
        let url = api.url();
        let registration = json!({ "email": EMAIL, "password": PASSWORD, "name": "Owner" });
        let _: Value = Api::post(&format!("{url}/auth/register"), &registration).await;
        // The stand-in sends no letter, and takes any code.
        let _: Value = Api::post(&format!("{url}/auth/verify"), &json!({ "email": EMAIL, "code": "123456" })).await;
        let credentials = json!({ "email": EMAIL, "password": PASSWORD });
        let signed_in: Value = Api::post(&format!("{url}/auth/login"), &credentials).await;
        let (token, account) = (&signed_in["access_token"], &signed_in["account_id"]);
        let request = reqwest::Client::new()
            .post(format!("{url}/auth/keys"))
            .bearer_auth(token.as_str().expect("a token"))
            .header("listbackup-account", account.as_str().expect("an account"))
            .json(&json!({ "name": "fleet", "role": "owner" }));
        let answer = request.send().await.expect("an answer");
        let (status, key) = (answer.status(), answer.json::<Value>().await.expect("JSON"));
        assert!(status.is_success(), "{status}: {key}");
        key["secret"].as_str().unwrap_or_else(|| panic!("no secret: {key}")).to_owned()
    }
}

impl Api {
    /// All items of a list.
    pub async fn all(&self, path: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let after = cursor.map_or_else(String::new, |cursor| format!("&cursor={}", encoded(&cursor)));
            let mut page = self.call(reqwest::Method::GET, &format!("{path}?limit=200{after}"), None).await;
            items.append(page["items"].as_array_mut().expect("a list"));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return items,
            }
        }
    }
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
