//! What people do about how they sign in: another password, a second factor, ending every session.

use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::authenticator;
use crate::kit::{App, PASSWORD, Person, client::Caller};

pub const NEW_PASSWORD: &str = "another long password";

/// Asks for a code and sets the new password by it.
pub async fn reset(app: &App, person: &Person) {
    let nobody = app.nobody();
    nobody.post("/auth/reset", &json!({ "email": person.email })).await.expect(202);
    let code = app.code_for(&person.email);
    let right = json!({ "email": person.email, "code": code, "password": NEW_PASSWORD });
    nobody.post("/auth/reset/confirm", &right).await.expect(204);
    nobody.post("/auth/reset/confirm", &right).await.expect(401);
}

/// Signs in, and asserts the status.
async fn sign_in(app: &App, person: &Person, password: &str, code: Option<&str>, status: u16) -> Value {
    let mut login = json!({ "email": person.email, "password": password });
    if let Some(code) = code {
        login["code"] = code.into();
    }
    app.nobody().post("/auth/login", &login).await.expect(status).clone()
}

fn refresh_of(signed_in: &Value) -> Value {
    json!({ "refresh_token": signed_in["refresh_token"] })
}

async fn assert_told(of: &Person, kind: &str) {
    let log = of.caller.get(&format!("/activity?kind={kind}")).await;
    assert_eq!(log.expect(200)["items"][0]["actor"], of.user_id.to_string(), "{kind}");
}

/// What an authenticator app shows, so many steps of 30 s from now.
fn code_of(secret: &str, steps: i64) -> String {
    let then = Timestamp::now() + SignedDuration::from_secs(30 * steps);
    authenticator::code_of(&secret.to_owned().into(), then).expose_secret().to_owned()
}

/// Turns the second factor on; the secret and the recovery codes.
pub async fn with_factor(caller: &Caller) -> (String, Vec<String>) {
    let made = caller.post("/auth/mfa/setup", &Value::Null).await;
    let secret = made.expect(200)["secret"].as_str().unwrap().to_owned();
    assert!(made.body["uri"].as_str().unwrap().starts_with("otpauth://totp/"));
    assert_eq!(caller.post("/auth/mfa/enable", &json!({ "code": "000" })).await.pointers(), ["/code"]);
    let enabled = caller.post("/auth/mfa/enable", &json!({ "code": code_of(&secret, 0) })).await;
    let codes = enabled.expect(200)["recovery_codes"].as_array().unwrap();
    (secret, codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_password_is_replaced_by_a_mailed_code_once_and_every_session_ends() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let before = sign_in(&app, &ada, PASSWORD, None, 200).await;
    let wrong = json!({ "email": ada.email, "code": "wrong", "password": NEW_PASSWORD });
    app.nobody().post("/auth/reset/confirm", &wrong).await.expect(401);
    reset(&app, &ada).await;
    app.nobody().post("/auth/refresh", &refresh_of(&before)).await.expect(401);
    sign_in(&app, &ada, PASSWORD, None, 401).await;
    sign_in(&app, &ada, NEW_PASSWORD, None, 200).await;
    assert_told(&ada, "user.password_reset").await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_for_a_reset_does_not_tell_whether_an_address_is_known() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let nobody = app.nobody();
    let known = nobody.post("/auth/reset", &json!({ "email": ada.email })).await;
    let unknown = nobody.post("/auth/reset", &json!({ "email": "nobody@example.com" })).await;
    assert_eq!((known.status, &known.text), (unknown.status, &unknown.text));
    let with = |email: &str| json!({ "email": email, "code": "wrong", "password": NEW_PASSWORD });
    let known = nobody.post("/auth/reset/confirm", &with(&ada.email)).await;
    let unknown = nobody.post("/auth/reset/confirm", &with("nobody@example.com")).await;
    assert_eq!(known.expect(401)["detail"], unknown.expect(401)["detail"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_a_password_takes_the_present_one_and_ends_the_other_sessions() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let elsewhere = sign_in(&app, &ada, PASSWORD, None, 200).await;
    let change = |old: &str, new: &str| json!({ "old_password": old, "new_password": new });
    let refused = ada.caller.post("/auth/password", &change("not the password", NEW_PASSWORD)).await;
    assert_eq!(refused.pointers(), ["/old_password"]);
    assert_eq!(ada.caller.post("/auth/password", &change(PASSWORD, "short")).await.pointers(), ["/new_password"]);
    ada.caller.post("/auth/password", &change(PASSWORD, NEW_PASSWORD)).await.expect(204);
    app.nobody().post("/auth/refresh", &refresh_of(&elsewhere)).await.expect(401);
    sign_in(&app, &ada, PASSWORD, None, 401).await;
    sign_in(&app, &ada, NEW_PASSWORD, None, 200).await;
    assert_told(&ada, "user.password_changed").await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_second_factor_the_password_alone_signs_nobody_in() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    assert_eq!(ada.caller.get("/auth/me").await.expect(200)["second_factor"], false);
    let (secret, recovery_codes) = with_factor(&ada.caller).await;
    assert_eq!(ada.caller.get("/auth/me").await.expect(200)["second_factor"], true);
    assert_eq!(sign_in(&app, &ada, PASSWORD, None, 401).await["code"], "second_factor_required");
    assert_eq!(sign_in(&app, &ada, "not the password", None, 401).await["code"], "sign_in_refused");
    sign_in(&app, &ada, PASSWORD, Some("000000"), 401).await;
    // The code that turned it on was used.
    sign_in(&app, &ada, PASSWORD, Some(&code_of(&secret, 1)), 200).await;
    sign_in(&app, &ada, PASSWORD, Some(&recovery_codes[0]), 200).await;
    sign_in(&app, &ada, PASSWORD, Some(&recovery_codes[0]), 401).await;
    assert_told(&ada, "user.second_factor_enabled").await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_outlives_a_reset_and_is_turned_off_by_a_code_only() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let (_, recovery_codes) = with_factor(&ada.caller).await;
    reset(&app, &ada).await;
    assert_eq!(sign_in(&app, &ada, NEW_PASSWORD, None, 401).await["code"], "second_factor_required");
    ada.caller.post("/auth/mfa/setup", &Value::Null).await.expect(409);
    assert_eq!(ada.caller.post("/auth/mfa/disable", &json!({ "code": "000000" })).await.pointers(), ["/code"]);
    ada.caller.post("/auth/mfa/disable", &json!({ "code": recovery_codes[1] })).await.expect(204);
    sign_in(&app, &ada, NEW_PASSWORD, None, 200).await;
    assert_told(&ada, "user.second_factor_disabled").await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_out_everywhere_ends_every_session() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let (here, elsewhere) =
        (sign_in(&app, &ada, PASSWORD, None, 200).await, sign_in(&app, &ada, PASSWORD, None, 200).await);
    let mut everywhere = refresh_of(&here);
    everywhere["everywhere"] = true.into();
    app.nobody().post("/auth/logout", &everywhere).await.expect(204);
    app.nobody().post("/auth/refresh", &refresh_of(&elsewhere)).await.expect(401);
    app.nobody().post("/auth/logout", &everywhere).await.expect(401);
    assert_told(&ada, "user.signed_out").await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_key_changes_nothing_about_how_its_owner_signs_in() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let made = ada.caller.post("/auth/keys", &json!({ "name": "ci", "role": "owner" })).await;
    let key = app.nobody().with_token(made.expect(201)["secret"].as_str().unwrap());
    let change = json!({ "old_password": PASSWORD, "new_password": NEW_PASSWORD });
    key.post("/auth/password", &change).await.expect(403);
    key.post("/auth/mfa/setup", &Value::Null).await.expect(403);
    assert_eq!(key.get("/auth/me").await.expect(200).get("second_factor"), None);
    app.stop().await;
}
