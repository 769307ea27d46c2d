//! Processes that run for long, one role each: what they answer, what they tell, and how they end.

#[path = "support/program.rs"]
#[allow(dead_code, reason = "each test binary uses a part of the kit")]
mod program;
#[path = "support/running.rs"]
mod running;

use std::{process::Command, time::Duration};

use program::{Program, binary};
use reqwest::{Method, StatusCode};
use running::{Running, sandbox};
use serde_json::{Value, json};
use tokio::time::timeout;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

const ROLES: [&str; 5] = ["serve", "worker", "scheduler", "indexer", "all"];
/// How long people wait for what comes by itself soon.
const SOON: Duration = Duration::from_secs(60);

fn role(name: &str, program: &Program, environment: &[(&str, &str)]) -> Running {
    let mut command = Command::new(binary());
    command.arg(name).env("LISTBACKUP_DATA_DIR", program.data_dir()).env("LISTBACKUP_LISTEN", "127.0.0.1:0");
    command.env("LISTBACKUP_ALLOW_NETWORKS", "127.0.0.1/32").envs(environment.iter().copied());
    Running::start(command)
}

async fn status(url: &str) -> StatusCode {
    reqwest::get(url).await.expect("an answer").status()
}

#[tokio::test]
async fn each_role_tells_its_health_and_ends_in_good_order() {
    for name in ROLES {
        let program = Program::new();
        let running = role(name, &program, &[]);
        let url = running.url();
        for path in ["/system/health", "/system/ready", "/system/version", "/metrics"] {
            assert_eq!(status(&format!("{url}{path}")).await, StatusCode::OK, "{name} {path}");
        }
        let of_sources = if matches!(name, "serve" | "all") { StatusCode::UNAUTHORIZED } else { StatusCode::NOT_FOUND };
        assert_eq!(status(&format!("{url}/sources")).await, of_sources, "{name}");
        assert!(running.stop().success(), "{name}");
    }
}

#[tokio::test]
async fn one_process_can_serve_some_of_the_services() {
    let program = Program::new();
    let running = role("serve", &program, &[("LISTBACKUP_SERVICES", "jobs,activity")]);
    let url = running.url();
    for (path, expected) in [("/jobs", 401), ("/activity", 401), ("/sources", 404), ("/auth/me", 404)] {
        assert_eq!(status(&format!("{url}{path}")).await.as_u16(), expected, "{path}");
    }
}

#[tokio::test]
async fn a_process_that_is_set_up_wrongly_says_all_that_is_wrong_and_does_not_start() {
    let wrong = [
        ("LISTBACKUP_LISTEN", "everywhere"),
        ("LISTBACKUP_SERVICES", "jobs,paper"),
        ("LISTBACKUP_SLOTS", "0"),
        ("LISTBACKUP_METRICS_TOKEN", "short-canary"),
    ];
    for name in ROLES {
        let output = Command::new(binary()).arg(name).envs(wrong).output().expect("the program starts");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        for (variable, _) in wrong {
            assert!(told.contains(&format!("{variable}: must be")), "{variable} is missing from: {told}");
        }
        assert!(!told.contains("canary"), "{told}");
    }
}

#[tokio::test]
async fn with_a_token_the_metrics_are_for_whoever_has_it() {
    let program = Program::new();
    let running = role("worker", &program, &[("LISTBACKUP_METRICS_TOKEN", "0123456789abcdef")]);
    let url = format!("{}/metrics", running.url());
    assert_eq!(status(&url).await, StatusCode::NOT_FOUND);
    let answer = reqwest::Client::new().get(&url).bearer_auth("0123456789abcdef").send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_signals_to_scale_by_are_metrics() {
    let program = Program::new();
    let running = role("all", &program, &[("LISTBACKUP_SLOTS", "7")]);
    let url = format!("{}/metrics", running.url());
    let wanted = [
        "listbackup_slots 7",
        "listbackup_runs_live 0",
        "listbackup_queue_messages{queue=\"jobs\",state=\"visible\"} 0",
        "listbackup_queue_messages{queue=\"data\",state=\"dead\"} 0",
        "listbackup_queue_oldest_seconds{queue=\"jobs\"} 0",
    ];
    let all_told = async {
        loop {
            let told = reqwest::get(&url).await.expect("an answer").text().await.expect("text");
            if wanted.iter().all(|line| told.lines().any(|told| told == *line)) {
                return;
            }
        }
    };
    timeout(SOON, all_told).await.expect("all of them are told");
}

/// The container's agent is one of our own: there is none outside ECS.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_ecs_is_protected_from_being_ended_while_runs_are_live() {
    let agent = MockServer::start().await;
    Mock::given(matchers::method("PUT"))
        .and(matchers::path("/api/1/task-protection/v1/state"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "protection": {} })))
        .mount(&agent)
        .await;
    let program = Program::new();
    // Makes the owner and their key.
    let key = Running::up(&program).key();
    let product = sandbox(4_000, 40);
    let running = role("all", &program, &[("ECS_AGENT_URI", &format!("{}/api/1", agent.uri()))]);
    let api = running.api_of(&key);
    let source = api.connect_sandbox(&product.url()).await;
    let run = api.sync(&source).await;
    timeout(SOON, told(&agent, &[true])).await.expect("the task is protected");
    let live = api.call(Method::GET, &format!("/runs/{run}"), None).await;
    assert_eq!(live["status"], "running", "{live}");
    assert_eq!(api.ended(&run).await["status"], "succeeded");
    timeout(SOON, told(&agent, &[true, false])).await.expect("its protection ends with the run");
}

/// Returns once the agent was told so, and nothing else.
async fn told(agent: &MockServer, expected: &[bool]) {
    loop {
        let requests = agent.received_requests().await.expect("requests are recorded");
        let told: Vec<bool> = requests
            .iter()
            .map(|request| serde_json::from_slice::<Value>(&request.body).expect("JSON"))
            .map(|body| body["ProtectionEnabled"].as_bool().expect("it says which"))
            .collect();
        if told == expected {
            return;
        }
        assert!(told.len() <= expected.len() && expected.starts_with(&told), "{told:?}");
        tokio::task::yield_now().await;
    }
}
