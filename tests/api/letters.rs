//! Letters to people about their own sign-in, and to owners about the end of their account.

use listbackup_engine::model::Role;
use serde_json::json;

use crate::{
    credentials::{NEW_PASSWORD, reset, with_factor},
    kit::{App, PASSWORD, Person},
};

/// Letters to somebody with this subject.
fn letters(app: &App, to: &Person, subject: &str) -> usize {
    let line = format!("Subject: {subject}");
    app.letters_to(&to.email).iter().filter(|letter| letter.lines().any(|one| one.starts_with(&line))).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_another_password_has_a_letter_that_says_so() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let change = |old: &str, new: &str| json!({ "old_password": old, "new_password": new });
    ada.caller.post("/auth/password", &change("not the password", NEW_PASSWORD)).await;
    assert_eq!(letters(&app, &ada, "Your ListBackup password was changed"), 0);
    ada.caller.post("/auth/password", &change(PASSWORD, NEW_PASSWORD)).await.expect(204);
    assert_eq!(letters(&app, &ada, "Your ListBackup password was changed"), 1);
    reset(&app, &ada).await;
    assert_eq!(letters(&app, &ada, "Your ListBackup password was changed"), 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_turns_a_second_factor_on_or_off_has_a_letter_that_says_so() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let (_, recovery_codes) = with_factor(&ada.caller).await;
    let (on, off) = ("Signing in to ListBackup asks for a code now", "Signing in to ListBackup asks for no code");
    assert_eq!((letters(&app, &ada, on), letters(&app, &ada, off)), (1, 0));
    ada.caller.post("/auth/mfa/disable", &json!({ "code": recovery_codes[0] })).await.expect(204);
    assert_eq!((letters(&app, &ada, on), letters(&app, &ada, off)), (1, 1));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_recovery_code_was_used_has_a_letter_that_says_how_many_are_left_and_the_activity_has_it() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let (_, recovery_codes) = with_factor(&ada.caller).await;
    let used = "A recovery code was used to sign in to ListBackup";
    let login = |code: &str| json!({ "email": ada.email, "password": PASSWORD, "code": code });
    app.nobody().post("/auth/login", &login("not-a-code")).await.expect(401);
    assert_eq!(letters(&app, &ada, used), 0);
    app.nobody().post("/auth/login", &login(&recovery_codes[0])).await.expect(200);
    app.nobody().post("/auth/login", &login(&recovery_codes[0])).await.expect(401);
    assert_eq!(letters(&app, &ada, used), 1);
    let letter = app.letters_to(&ada.email).into_iter().find(|letter| letter.contains(used)).expect("the letter");
    assert!(letter.contains("Recovery codes left: 9"), "{letter}");
    app.settled().await;
    let events = ada.caller.get("/activity?kind=user.signed_in").await;
    let newest = &events.expect(200)["items"][0];
    assert_eq!(newest["details"]["recoveryCodesLeft"], 9, "{newest}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_have_a_letter_when_the_end_of_their_account_is_announced_and_called_off() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let (bob, eve) = (app.member("bob", &ada, Role::Owner).await, app.member("eve", &ada, Role::Admin).await);
    let path = format!("/accounts/{}", ada.account_id);
    for _ in 0..2 {
        ada.caller.delete(&path).await.expect(202);
    }
    let announced = [&ada, &bob, &eve].map(|person| letters(&app, person, "The account ada will be deleted on"));
    assert_eq!(announced, [1, 1, 0], "asked for twice, it is announced once");
    bob.caller.delete(&format!("{path}/deletion")).await.expect(200);
    assert_eq!([&ada, &bob, &eve].map(|person| letters(&app, person, "The account ada stays")), [1, 1, 0]);
    app.stop().await;
}
