//! `listbackup up --sandbox` on a fresh directory, its document, and a person who signed in as people do.

use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    program::Program,
    running::{Api, Running},
};

/// A running program.
pub struct Served {
    program: Program,
    running: Running,
    directory: TempDir,
    /// Its OpenAPI document.
    pub document: Value,
}

/// Someone who can sign in.
pub struct Person {
    pub email: String,
    pub password: String,
}

/// A file of this folder.
pub fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schema").join(name)
}

impl Served {
    /// Starts the program, and a directory for what tools write.
    pub async fn start() -> Self {
        let program = Program::new();
        let running = Running::up_with(&program, &["--sandbox", "--trust-proxy", "127.0.0.1"]);
        let document = running.api().call(Method::GET, "/system/openapi.json", None).await;
        Self { program, running, directory: tempfile::tempdir().expect("a directory"), document }
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.running.url()
    }

    /// The folder that its letters go to.
    pub fn mails(&self) -> PathBuf {
        self.program.data_dir().join("mail")
    }

    /// Where tools may write.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The document as a file.
    pub async fn write_document(&self) -> PathBuf {
        let file = self.directory().join("document.json");
        tokio::fs::write(&file, self.document.to_string()).await.expect("the document is written");
        file
    }

    /// The address of its sandbox.
    pub async fn sandbox(&self) -> String {
        let sources = self.running.api().call(Method::GET, "/sources", None).await;
        sources["items"][0]["settings"]["base_url"].as_str().expect("the sandbox's source").to_owned()
    }

    /// Registers someone, proves the address by the letter that came, connects the sandbox and backs it up.
    pub async fn person_with_a_backup(&self) -> Person {
        let (email, password) = ("ada@example.com".to_owned(), "correct horse battery staple".to_owned());
        let at = |path: &str| format!("{}{path}", self.url());
        let person = json!({ "email": email, "password": password, "name": "Ada" });
        let _: Value = Api::post(&at("/auth/register"), &person).await;
        let code = self.mailed_code(&email);
        let _: Value = Api::post(&at("/auth/verify"), &json!({ "email": email, "code": code })).await;
        let tokens: Value = Api::post(&at("/auth/login"), &json!({ "email": email, "password": password })).await;
        let api = Api::at(self.url(), tokens["access_token"].as_str().expect("a token").to_owned());
        let source = api.connect_sandbox(&self.sandbox().await).await;
        let run = api.ended(&api.sync(&source).await).await;
        assert_eq!(run["status"], "succeeded", "{run}");
        Person { email, password }
    }

    fn mailed_code(&self, email: &str) -> String {
        let letters = std::fs::read_dir(self.mails()).expect("the folder of letters").flatten();
        let mut texts = letters.map(|letter| std::fs::read_to_string(letter.path()).expect("a letter"));
        let letter = texts.find(|text| text.contains(&format!("To: {email}"))).expect("a letter came");
        let code = letter.lines().find_map(|line| line.strip_prefix("Code: "));
        code.expect("the letter has a code").trim().to_owned()
    }
}
