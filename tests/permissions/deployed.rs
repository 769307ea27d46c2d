//! What `deploy.sh` makes of an empty account, and processes that run on exactly that.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Output},
};

use listbackup::{config::table, state::Service};
use listbackup_engine::tables;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    billing::SECRET,
    program::binary,
    record::Record,
    running::Running,
    servers::{self, billing_stripe::BillingStripe, localstripe::API_KEY, process::Server},
};

/// An account with everything that the templates make.
pub struct Deployed {
    server: Server,
    path: String,
    folder: TempDir,
}

impl Deployed {
    /// `deploy.sh test all` on nothing.
    pub fn from_nothing() -> Result<Self, String> {
        let aws = servers::tool("aws")?;
        let folder = tempfile::tempdir().expect("a directory");
        let server = servers::recorded_account(&folder.path().join("requests.jsonl"));
        let path = format!("{}:{}", aws.parent().expect("a folder").display(), std::env::var("PATH").expect("a path"));
        let deployed = Self { server, path, folder };
        let shown = deployed.deploy(&["test", "core", "--dry-run"]);
        assert!(shown.contains("Add     RunsTable") && shown.ends_with("nothing was deployed\n"), "{shown}");
        assert_eq!(deployed.tables(), json!([]));
        deployed.make_all();
        Ok(deployed)
    }

    fn make_all(&self) {
        let told = self.deploy(&["test", "all"]);
        let mut stacks: Vec<_> = ["core", "cluster", "roles", "api", "workers", "dashboard"].map(str::to_owned).into();
        stacks.extend(["worker", "scheduler", "indexer"].map(|role| format!("role-{role}")));
        let services = Service::ALL.iter().map(|service| service.as_str());
        stacks.extend(services.flat_map(|name| [name.to_owned(), format!("role-{name}")]));
        for stack in stacks {
            assert!(told.contains(&format!("{stack}: deployed")), "{stack} in:\n{told}");
        }
        let mut wanted: Vec<_> = tables::ALL.iter().map(|table| format!("listbackup-test-{}", table.name)).collect();
        wanted.sort_unstable();
        assert_eq!(self.tables(), json!(wanted));
    }

    /// A second time nothing is left to do, and another image is the one change.
    pub fn assert_all_is_done(&self) {
        assert!(self.deploy(&["test", "core"]).contains("core: no changes"));
        let told = self.deploy(&["test", "auth"]);
        assert!(told.contains("role-auth: no changes") && told.contains("\nauth: no changes"), "{told}");
        let told = self.deploy(&["test", "auth", "--image", "listbackup:next"]);
        assert!(told.contains("auth: deployed") && told.contains("Modify  Task"), "{told}");
    }

    fn deploy(&self, words: &[&str]) -> String {
        self.run("deploy/deploy.sh", words)
    }

    fn tables(&self) -> Value {
        serde_json::from_str::<Value>(&self.run("aws", &["dynamodb", "list-tables"])).expect("JSON")["TableNames"]
            .take()
    }

    fn run(&self, program: &str, words: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(words).env("PATH", &self.path).env("AWS_ENDPOINT_URL", self.server.url());
        command.env("AWS_REGION", "us-east-1").env("AWS_DEFAULT_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        succeeded(&command.output().expect("it starts"))
    }

    /// What the fleet asks for.
    pub fn record(&self) -> Record {
        Record { path: self.folder.path().join("requests.jsonl") }
    }

    /// Where the stand-in is.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The environment of a task, as its template has it, and the words after the program's name.
    pub async fn task(&self, service: &str) -> (Vec<String>, BTreeMap<String, String>) {
        let body = json!({ "taskDefinition": format!("listbackup-test-{service}") });
        let answer = reqwest::Client::new()
            .post(self.url())
            .header("x-amz-target", "AmazonEC2ContainerServiceV20141113.DescribeTaskDefinition")
            .header("content-type", "application/x-amz-json-1.1")
            .header("authorization", "AWS4-HMAC-SHA256 Credential=test/20261122/us-east-1/ecs/aws4_request")
            .body(body.to_string());
        let answer: Value = answer.send().await.expect("an answer").json().await.expect("JSON");
        let containers = answer["taskDefinition"]["containerDefinitions"].as_array();
        let container = containers.into_iter().flatten().find(|container| container["name"] == "listbackup");
        let container = container.unwrap_or_else(|| panic!("no task {service}: {answer}"));
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let words = container["command"].as_array().expect("a command").iter().map(text).collect();
        let environment = container["environment"].as_array().expect("an environment");
        (words, environment.iter().map(|one| (text(&one["name"]), text(&one["value"]))).collect())
    }

    /// A process as ECS would start it, with a key of its role, once it listens.
    pub async fn process(&self, service: &str, stripe: &BillingStripe) -> Running {
        let (words, mut environment) = self.task(service).await;
        for name in environment.keys().chain([&"LISTBACKUP_METRICS_TOKEN".to_owned()]) {
            assert!(
                table::ALL.iter().any(|setting| setting.name == name),
                "{service} is given {name}, which nobody reads"
            );
        }
        let pool = &environment["LISTBACKUP_USER_POOL_ID"];
        let keys = format!("{}/{pool}/.well-known/jwks.json", self.url());
        let here = [
            ("LISTBACKUP_LISTEN", "127.0.0.1:0".to_owned()),
            ("LISTBACKUP_ALLOW_NETWORKS", "127.0.0.1/32".to_owned()),
            ("LISTBACKUP_ENDPOINT_URL", self.url()),
            ("LISTBACKUP_USER_POOL_KEYS_URL", keys),
            ("AWS_ACCESS_KEY_ID", format!("role-{service}")),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ];
        environment.extend(here.map(|(name, value)| (name.to_owned(), value)));
        if service == "billing" {
            let payments = [
                ("LISTBACKUP_STRIPE_KEY", API_KEY.to_owned()),
                ("LISTBACKUP_STRIPE_WEBHOOK_SECRET", SECRET.to_owned()),
                ("LISTBACKUP_STRIPE_API_URL", stripe.url()),
            ];
            environment.extend(payments.map(|(name, value)| (name.to_owned(), value)));
        }
        let mut command = Command::new(binary());
        command.args(words).env_clear().envs(&environment);
        if let Ok(file) = std::env::var("LISTBACKUP_TEST_LOGS") {
            let log = fs::File::create(format!("{file}/{service}.log")).expect("a log");
            return Running::start_with(command, log.into());
        }
        Running::start(command)
    }
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}
