//! What people do about how they sign in: another password, a second factor, ending every session.

use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::{
    authenticator::code_of,
    caller::{Gateway, text},
    day::{PASSWORD, signed_in},
};

const OTHER: &str = "another long password";

/// As the person who is signed in, with this address; signed in anew at the end, with the password of everybody.
pub async fn changed(api: &mut Gateway, email: &str) {
    api.call("POST", "/auth/reset", &[], json!({ "email": email })).await;
    // The stand-in takes any code of a letter.
    let reset = json!({ "email": email, "code": "123456", "password": OTHER });
    api.call("POST", "/auth/reset/confirm", &[], reset).await;
    signed_in(api, email, OTHER).await;
    let made = api.call("POST", "/auth/mfa/setup", &[], Value::Null).await;
    let app = text(&made["secret"]).to_owned().into();
    for route in ["/auth/mfa/enable", "/auth/mfa/disable"] {
        let code = code_of(&app, Timestamp::now());
        api.call("POST", route, &[], json!({ "code": code.expose_secret() })).await;
    }
    let change = json!({ "old_password": OTHER, "new_password": PASSWORD });
    api.call("POST", "/auth/password", &[], change).await;
    let again = signed_in(api, email, PASSWORD).await;
    let everywhere = json!({ "refresh_token": again["refresh_token"], "everywhere": true });
    api.call("POST", "/auth/logout", &[], everywhere).await;
    signed_in(api, email, PASSWORD).await;
}
