//! Letters by SMTP, to a server that runs as a process of its own.

use std::{path::Path, sync::Arc};

use listbackup_engine::{
    ErrorKind, Result,
    adapters::smtp::{SmtpMail, SmtpSettings},
    letters,
    ports::{Letter, Mail},
};
use secrecy::SecretString;

use crate::{
    servers::{mail_server, process::Server},
    support::{SeededRandom, TokioClock},
};

const FROM: &str = "Backups <letters@example.com>";
const RIGHT: &str = "ada:right%20%26%20proper+";

fn letter(to: &str) -> Letter {
    letters::verification(to, "Grüße", "abcd-efgh-jkmn-pqrs")
}

fn settings(url: &str) -> Result<SmtpSettings> {
    SmtpSettings::new(&SecretString::from(url), Some(FROM))
}

fn mail(settings: &SmtpSettings) -> SmtpMail {
    SmtpMail::new(settings, Arc::new(TokioClock::new()), Arc::new(SeededRandom::new(1))).expect("TLS works here")
}

/// A server, or `None` when none is installed.
fn server(directory: &Path, mode: &str) -> Option<Server> {
    match mail_server(directory, mode) {
        Ok(server) => Some(server),
        Err(reason) => {
            println!("skipped: {reason}");
            None
        }
    }
}

#[tokio::test]
async fn a_letter_arrives_encrypted_by_name_and_password_and_with_both_of_its_forms() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(server) = server(directory.path(), "starttls") else { return };
    let root = std::fs::read(directory.path().join("server.pem")).expect("a certificate");
    let to = |who: &str| settings(&format!("smtp://{who}@127.0.0.1:{}?tls=required", server.port)).expect("settings");
    let trusting = |who: &str| to(who).trusting(&root).expect("a certificate");

    let untrusted = mail(&to(RIGHT)).send(&letter("ada@example.com")).await.expect_err("a stranger's certificate");
    let unknown = mail(&trusting("ada:wrong")).send(&letter("ada@example.com")).await.expect_err("a wrong password");
    assert_eq!(unknown.kind(), ErrorKind::Denied, "{unknown}");
    let nobody = mail(&trusting(RIGHT)).send(&letter("nobody@example.com")).await.expect_err("no such person");
    assert_eq!(nobody.kind(), ErrorKind::Invalid, "{nobody}");
    assert!(nobody.to_string().contains("no such person"), "{nobody}");
    for error in [untrusted, unknown, nobody] {
        assert!(!format!("{error} {error:?}").contains("proper"), "{error:?}");
    }
    assert!(!directory.path().join("0.eml").exists(), "nothing was sent");

    mail(&trusting(RIGHT)).send(&letter("ada@example.com")).await.expect("sent");
    let arrived = std::fs::read_to_string(directory.path().join("0.eml")).expect("it arrived");
    for part in
        ["From: Backups <letters@example.com>", "To: ada@example.com", "\r\nCode: abcd-efgh-jkmn-pqrs\r\n", "text/html"]
    {
        assert!(arrived.contains(part), "{part} is missing in {arrived}");
    }
    assert!(arrived.contains("multipart/alternative"), "{arrived}");
}

#[tokio::test]
async fn a_server_that_is_gone_is_tried_again_later_and_one_without_encryption_is_never_used() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(server) = server(directory.path(), "plain") else { return };
    let port = server.port;
    let at = |query: &str| settings(&format!("smtp://{RIGHT}@127.0.0.1:{port}{query}")).expect("settings");
    mail(&at("")).send(&letter("ada@example.com")).await.expect("a server on this machine needs no encryption");
    let refused = mail(&at("?tls=required")).send(&letter("ada@example.com")).await.expect_err("none is offered");
    assert_eq!(refused.kind(), ErrorKind::Denied, "{refused}");
    drop(server);
    let gone = mail(&at("")).send(&letter("ada@example.com")).await.expect_err("nobody is there");
    assert_eq!(gone.kind(), ErrorKind::Retry, "{gone}");
    for elsewhere in
        ["smtp://mail.example?tls=none", "http://mail.example", "smtps://:p@mail.example", "smtp://ada@mail.example"]
    {
        assert_eq!(settings(elsewhere).expect_err("refused").kind(), ErrorKind::Invalid, "{elsewhere}");
    }
    assert!(!format!("{:?}", at("")).contains("proper"), "no password is shown");
}
