//! A MediaWiki of its own, from the Debian package, on SQLite.

use std::{collections::BTreeMap, fs::OpenOptions, io::Write, path::Path, process::Command};

use reqwest::header::{COOKIE, SET_COOKIE};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Records, by_key, process::Server};

const SHARE: &str = "/usr/share/mediawiki";
const PASSWORD: &str = "correct-horse-battery";

/// A running wiki with its administrator signed in.
pub struct MediaWiki {
    server: Server,
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
    csrf_token: String,
    create_account_token: String,
    _directory: TempDir,
}

/// Says what is missing, if anything is.
pub fn installed() -> Result<(), String> {
    let modules = Command::new("php").arg("-m").output().map(|output| output.stdout).unwrap_or_default();
    let has_sqlite = String::from_utf8_lossy(&modules).contains("pdo_sqlite");
    if has_sqlite && Path::new(SHARE).join("maintenance/install.php").exists() {
        Ok(())
    } else {
        Err("MediaWiki is missing: apt-get install mediawiki php-cli php-sqlite3".into())
    }
}

impl MediaWiki {
    /// An empty wiki: one main page, an administrator, the installer's own user.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory for the wiki");
        install(directory.path());
        let command = ["php", "-S", "127.0.0.1:0", "-t", SHARE];
        let settings = directory.path().join("LocalSettings.php").into_os_string();
        let server = Server::start(&command, &[("MW_CONFIG_FILE", settings)]);
        let mut wiki = Self {
            server,
            http: reqwest::Client::new(),
            cookies: BTreeMap::new(),
            csrf_token: String::new(),
            create_account_token: String::new(),
            _directory: directory,
        };
        wiki.sign_in().await;
        wiki
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Makes a page, or a new revision of it.
    pub async fn edit(&mut self, title: &str, text: &str) {
        let token = self.csrf_token.clone();
        let answer = self.post(&[("action", "edit"), ("title", title), ("text", text), ("token", &token)]).await;
        assert_eq!(answer["edit"]["result"], "Success", "{answer}");
    }

    /// Deletes a page with all its revisions.
    pub async fn delete(&mut self, title: &str) {
        let token = self.csrf_token.clone();
        let answer = self.post(&[("action", "delete"), ("title", title), ("token", &token)]).await;
        assert!(answer["delete"]["logid"].is_u64(), "{answer}");
    }

    /// Makes a user.
    pub async fn create_user(&mut self, name: &str) {
        let token = self.create_account_token.clone();
        let answer = self
            .post(&[
                ("action", "createaccount"),
                ("username", name),
                ("password", PASSWORD),
                ("retype", PASSWORD),
                ("createtoken", &token),
                ("createreturnurl", "http://127.0.0.1/"),
            ])
            .await;
        assert_eq!(answer["createaccount"]["status"], "PASS", "{answer}");
    }

    /// What the wiki says is in each stream of `mediawiki.yaml`, read in other ways than the manifest does.
    pub async fn records(&mut self) -> BTreeMap<&'static str, Records> {
        let pages = self.query("pages", &[("generator", "allpages"), ("gaplimit", "max"), ("prop", "info")]).await;
        let users = [("list", "allusers"), ("aulimit", "max"), ("auprop", "editcount|registration|groups")];
        let users = self.query("allusers", &users).await;
        let changes = "ids|title|timestamp|user|comment|sizes|flags|loginfo";
        let changes = [("list", "recentchanges"), ("rclimit", "max"), ("rcprop", changes)];
        let changes = self.query("recentchanges", &changes).await;
        let log = "ids|title|type|user|timestamp|comment|details";
        let log = self.query("logevents", &[("list", "logevents"), ("lelimit", "max"), ("leprop", log)]).await;
        BTreeMap::from([
            ("pages", by_key(pages, "pageid")),
            ("revisions", by_key(self.revisions().await, "revid")),
            ("users", by_key(users, "userid")),
            ("recentchanges", by_key(changes, "rcid")),
            ("logevents", by_key(log.into_iter().map(|entry| without(entry, "pageid")), "logid")),
        ])
    }

    async fn revisions(&mut self) -> Vec<Value> {
        let fields = "ids|flags|timestamp|user|comment|size|sha1|content";
        let query = [("list", "allrevisions"), ("arvlimit", "max"), ("arvprop", fields), ("arvslots", "main")];
        let mut all = Vec::new();
        for page in self.query("allrevisions", &query).await {
            for revision in page["revisions"].as_array().into_iter().flatten() {
                let mut revision = revision.clone();
                revision["pageid"] = page["pageid"].clone();
                all.push(revision);
            }
        }
        all
    }

    async fn query(&mut self, list: &str, parameters: &[(&str, &str)]) -> Vec<Value> {
        let answer = self.get(&[&[("action", "query")], parameters].concat()).await;
        assert!(answer.get("continue").is_none(), "the wiki must fit one answer here: {parameters:?}");
        answer["query"][list].as_array().cloned().unwrap_or_default()
    }

    async fn sign_in(&mut self) {
        let answer = self.get(&[("action", "query"), ("meta", "tokens"), ("type", "login")]).await;
        let token = answer["query"]["tokens"]["logintoken"].as_str().expect("a token").to_owned();
        let form = [("action", "login"), ("lgname", "Admin"), ("lgpassword", PASSWORD), ("lgtoken", &token)];
        let answer = self.post(&form).await;
        assert_eq!(answer["login"]["result"], "Success", "{answer}");
        let answer = self.get(&[("action", "query"), ("meta", "tokens"), ("type", "csrf|createaccount")]).await;
        let token = |name: &str| answer["query"]["tokens"][name].as_str().expect("a token").to_owned();
        (self.csrf_token, self.create_account_token) = (token("csrftoken"), token("createaccounttoken"));
    }

    async fn get(&mut self, parameters: &[(&str, &str)]) -> Value {
        self.send(self.http.get(format!("{}/api.php", self.url())).query(parameters)).await
    }

    async fn post(&mut self, form: &[(&str, &str)]) -> Value {
        self.send(self.http.post(format!("{}/api.php", self.url())).form(form)).await
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Value {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = request.query(&json!({"format": "json", "formatversion": 2})).header(COOKIE, cookies.join("; "));
        let response = request.send().await.expect("the wiki answers");
        for cookie in response.headers().get_all(SET_COOKIE) {
            let text = cookie.to_str().expect("cookies are ASCII");
            if let Some((name, value)) = text.split(';').next().and_then(|pair| pair.split_once('=')) {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        response.json().await.expect("the wiki answers with JSON")
    }
}

fn install(directory: &Path) {
    let output = Command::new("php")
        .arg(format!("{SHARE}/maintenance/install.php"))
        .args(["--dbtype", "sqlite", "--dbname", "wiki", "--scriptpath", "", "--server", "http://127.0.0.1"])
        .args(["--pass", PASSWORD, "--dbpath"])
        .arg(directory)
        .arg("--confpath")
        .arg(directory)
        .args(["Test wiki", "Admin"])
        .output()
        .expect("php can be started");
    assert!(output.status.success(), "install.php: {}", String::from_utf8_lossy(&output.stdout));
    // No work in the background: nothing changes between two readings unless the test changes it.
    let mut settings = OpenOptions::new()
        .append(true)
        .open(directory.join("LocalSettings.php"))
        .expect("the installer wrote its settings");
    settings.write_all(b"\n$wgJobRunRate = 0;\n").expect("settings can be added");
}

fn without(mut record: Value, field: &str) -> Value {
    record.as_object_mut().expect("records are objects").remove(field);
    record
}
