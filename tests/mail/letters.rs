//! What people wrote never becomes more than words of a letter.

use jiff::Timestamp;
use listbackup_engine::{
    letters::{
        AccountDeletion, Alert, AlertKind, DeletionStage, FactorChange, InvitationFacts, Payment, WebhookDisabled,
        account_deletion, alert, already_registered, invitation, no_account, password_changed, payment,
        recovery_code_used, reset_code, second_factor_changed, verification, webhook_disabled,
    },
    ports::Letter,
};
use url::Url;

const TO: &str = "ada@example.com";
const CODE: &str = "abcd-efgh-jkmn-pqrs";
const LINK: &str = "https://backup.example/x?a=1&b=2";

/// Every letter, with `words` wherever somebody else's words stand.
fn all(words: &str) -> Vec<Letter> {
    let at: Timestamp = "2026-11-28T08:00:00Z".parse().expect("a time");
    let url: Url = LINK.parse().expect("an address");
    let link = Some(&url);
    let mut all = vec![
        verification(TO, words, CODE),
        already_registered(TO),
        reset_code(TO, words, CODE),
        no_account(TO),
        password_changed(TO, words, at),
        second_factor_changed(TO, words, FactorChange::On, at),
        second_factor_changed(TO, words, FactorChange::Off, at),
        recovery_code_used(TO, words, 9, at),
        invitation(TO, &InvitationFacts { account: words, code: CODE, expires_at: at, link }),
        webhook_disabled(TO, &WebhookDisabled { account: words, url: &url, failing_since: at, reason: words, link }),
    ];
    for stage in [DeletionStage::Announced { due_at: at }, DeletionStage::Recalled, DeletionStage::Done { at }] {
        all.push(account_deletion(TO, &AccountDeletion { account: words, by: words, stage, link }));
    }
    for kind in [
        AlertKind::RunFailed,
        AlertKind::RunPartial,
        AlertKind::RunSuspicious,
        AlertKind::SourceStale,
        AlertKind::AuthorisationLost,
    ] {
        let facts =
            Alert { kind, account: words, source: words, job: Some(words), at, reason: words, earlier: 3, link };
        all.push(alert(TO, &facts));
    }
    let plan = words.to_owned();
    let payments = [
        Payment::Failed { stops_at: Some(at) },
        Payment::Made,
        Payment::Plan { plan: plan.clone() },
        Payment::Cancelled { plan: plan.clone(), ends_at: Some(at) },
        Payment::Over { plan },
    ];
    all.extend(payments.iter().map(|what| payment(TO, what)));
    all
}

#[test]
fn names_are_never_markup_a_header_or_a_flood() {
    let long = "x".repeat(10_000);
    for words in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=y>",
        "a\r\nBcc: eve@example.com\r\n\r\nCode: eve",
        "\u{202e}evil\u{2066}",
        &long,
    ] {
        for letter in all(words) {
            assert!(!letter.html.contains("<script") && !letter.html.contains("<img"), "{}", letter.html);
            assert!(!letter.subject.chars().any(char::is_control), "{:?}", letter.subject);
            assert!(letter.subject.chars().count() <= 151, "{:?}", letter.subject);
            assert!(!letter.text.lines().any(|line| line.starts_with("Bcc:") || line.starts_with("Code: eve")));
            for form in [&letter.subject, &letter.text, &letter.html] {
                assert!(!form.contains(['\u{202e}', '\u{2066}', '\r']), "{form:?}");
            }
            assert!(letter.text.len() < 4_000 && letter.html.len() < 12_000, "{} bytes", letter.html.len());
        }
    }
}

#[test]
fn text_and_page_say_the_same() {
    for letter in all("Müller & Söhne") {
        let page = letter.html.replace("&amp;", "&").replace("&quot;", "\"");
        assert_eq!(letter.to, TO);
        assert!(page.contains(&letter.subject), "{page}");
        for line in letter.text.lines().filter(|line| !line.is_empty()) {
            // `Name: value` of a fact stands in two cells.
            let said = match line.split_once(": ") {
                Some((name, value)) if !page.contains(line) => {
                    page.contains(value) && (name == "Code" || page.contains(name))
                }
                _ => page.contains(line.trim_end_matches(':')),
            };
            assert!(said, "{line:?} is missing in {page}");
        }
        assert_eq!(letter.text.contains(LINK), page.contains(&format!("href=\"{LINK}\"")), "{page}");
        for elsewhere in ["<img", "<link", "@import", "url(", "<script"] {
            assert!(!page.contains(elsewhere), "nothing is fetched: {page}");
        }
    }
}
