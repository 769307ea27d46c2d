//! What nobody may find: secrets of webhooks, of people and of the mail server, in no answer, no event, no log and no file, however much
//! is logged.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    program::{Program, binary},
    receiver::Receiver,
    running::{Api, Running},
    servers::mail_server,
};

const EMAIL: &str = "ada@example.com";
const PASSWORD: &str = "CANARY-of-a-password-6f02";
const NEW_PASSWORD: &str = "CANARY-of-the-next-password-91c4";
/// The mail server's, as it stands in its address and as it is.
const MAIL_PASSWORD: [&str; 2] = ["right%20%26%20proper+", "right & proper+"];

/// A program that sends letters by a mail server and logs all that there is to log.
struct Watched {
    program: Program,
    running: Running,
    outside: tempfile::TempDir,
    _mail: crate::servers::process::Server,
}

impl Watched {
    /// None where no mail server is installed, which is said.
    fn start() -> Option<Self> {
        let (program, outside) = (Program::new(), tempfile::tempdir().expect("a directory"));
        let mail = mail_server(outside.path(), "plain").map_err(|reason| println!("skipped: {reason}")).ok()?;
        let mut command = Command::new(binary());
        command.arg("up").arg("--data-dir").arg(program.data_dir());
        command.args(["--listen", "127.0.0.1:0", "--allow-network", "127.0.0.1/32", "--mail-from", "b@example.com"]);
        command.arg("--smtp-url").arg(format!("smtp://ada:{}@127.0.0.1:{}", MAIL_PASSWORD[0], mail.port));
        command.env("LISTBACKUP_LOG", "trace");
        let log = File::create(outside.path().join("log")).expect("a log");
        let running = Running::start_with(command, log.into());
        Some(Self { program, running, outside, _mail: mail })
    }

    /// Registers a person by the code in the letter. Their code, and what signing in answers.
    async fn person(&self) -> (String, Value) {
        let url = self.running.url();
        let registration = json!({ "email": EMAIL, "password": PASSWORD, "name": "Ada" });
        let _taken: Value = Api::post(&format!("{url}/auth/register"), &registration).await;
        let letter = fs::read_to_string(self.outside.path().join("0.eml")).expect("the letter arrived");
        let code = letter.lines().find_map(|line| line.strip_prefix("Code: ")).expect("a code").trim().to_owned();
        let proof = json!({ "email": EMAIL, "code": code });
        let _verified: Value = Api::post(&format!("{url}/auth/verify"), &proof).await;
        let signed_in = Api::post(&format!("{url}/auth/login"), &json!({ "email": EMAIL, "password": PASSWORD })).await;
        (code, signed_in)
    }
}

fn text(of: &Value, name: &str) -> String {
    of[name].as_str().unwrap_or_else(|| panic!("{name} in {of}")).to_owned()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn holds(bytes: &[u8], secret: &[u8]) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret)
}

/// Makes a webhook, gives it another secret, and lets events arrive there. Both secrets, and all answers after these.
async fn used_webhook(api: &Api, receiver: &Receiver) -> ([String; 2], Vec<Value>) {
    let wanted = json!({ "url": receiver.url(), "kinds": ["webhook.*", "key.*"] });
    let made = api.call(Method::POST, "/webhooks", Some(&wanted)).await;
    let path = format!("/webhooks/{}", text(&made, "id"));
    let rotated = api.call(Method::PATCH, &path, Some(&json!({ "rotate_secret": true }))).await;
    receiver.wait_for(2).await;
    let mut answers = vec![api.call(Method::PATCH, &path, Some(&json!({ "description": "Other" }))).await];
    for path in ["/webhooks", &path, &format!("{path}/deliveries"), "/activity?limit=200", "/auth/me"] {
        answers.push(api.call(Method::GET, path, None).await);
    }
    ([text(&made, "secret"), text(&rotated, "secret")], answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_in_no_later_answer_no_event_no_log_and_no_file() {
    let Some(watched) = Watched::start() else { return };
    let receiver = Receiver::start().await;
    let (code, signed_in) = watched.person().await;
    let (access, refresh) = (text(&signed_in, "access_token"), text(&signed_in, "refresh_token"));
    let api = watched.running.api_of(&access);
    let (webhook_secrets, mut answers) = used_webhook(&api, &receiver).await;
    let key = api.call(Method::POST, "/auth/keys", Some(&json!({ "name": "k", "role": "viewer" }))).await;
    let key = text(&key, "secret");
    answers.push(api.call(Method::GET, "/auth/keys", None).await);
    let url = watched.running.url();
    let wrong = json!({ "email": EMAIL, "password": NEW_PASSWORD });
    let refused =
        reqwest::Client::new().post(format!("{url}/auth/login")).json(&wrong).send().await.expect("an answer");
    assert_eq!(refused.status(), 401);
    answers.push(refused.json().await.expect("a problem"));
    let change = json!({ "old_password": PASSWORD, "new_password": NEW_PASSWORD });
    let changed = reqwest::Client::new().post(format!("{url}/auth/password")).bearer_auth(&access).json(&change);
    assert!(changed.send().await.expect("an answer").status().is_success());
    for received in receiver.all() {
        answers.push(received.json());
    }
    assert!(watched.running.stop().success());

    let mut secrets = vec![code, access, refresh, key, PASSWORD.to_owned(), NEW_PASSWORD.to_owned()];
    secrets.extend(MAIL_PASSWORD.map(str::to_owned));
    let mut forms: Vec<Vec<u8>> = secrets.into_iter().map(String::into_bytes).collect();
    for secret in webhook_secrets {
        let plain = secret.strip_prefix("whsec_").expect("a secret of a webhook");
        forms.extend([plain.as_bytes().to_vec(), BASE64_STANDARD.decode(plain).expect("base64")]);
    }
    let mut places: Vec<(String, Vec<u8>)> =
        answers.iter().map(|answer| (answer.to_string(), answer.to_string().into_bytes())).collect();
    let log = fs::read(watched.outside.path().join("log")).expect("a log");
    assert!(holds(&log, b"TRACE") && holds(&log, b"/webhooks"), "everything is logged");
    places.push(("the log".to_owned(), log));
    let stored = files(&watched.program.data_dir());
    assert!(stored.len() > 3, "{stored:?}");
    places.extend(stored.into_iter().map(|path| (path.display().to_string(), fs::read(path).expect("a file"))));
    for (place, bytes) in &places {
        for form in &forms {
            assert!(!holds(bytes, form), "{place} holds {}", String::from_utf8_lossy(form));
        }
    }
}
