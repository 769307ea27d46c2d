//! People in a user pool of Cognito.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use listbackup::jwt::Verifier;
use listbackup_engine::{
    Error, ErrorKind,
    adapters::{
        aws::{AwsClients, AwsOptions, AwsSettings, CognitoIdentity, DynamoTables},
        embedded::SystemClock,
    },
    model::{User, UserId},
    ports::{Identity, Ports, SignIn, SignedIn},
    store::{self, Store},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use wiremock::{Mock, MockBuilder, MockServer, ResponseTemplate, matchers};

use crate::{
    aws,
    servers::aws::{StandIn, options, settings},
    suites::identity::{HERE, Known, Signing, keeps_those_of_a_pool},
    support::{Embedded, Subject},
};

#[tokio::test]
async fn people_sign_in_as_promised_on_ministack() {
    // It looks at the time of a session in whole seconds, at no code of a letter, and at no session of a question.
    let known = Known { ends_old_sessions: true, takes_any_letter: true, knows_no_questions: true, ..Known::default() };
    people_sign_in_as_promised(StandIn::MiniStack, known).await;
}

#[tokio::test]
async fn people_sign_in_as_promised_on_moto() {
    // It knows neither ResendConfirmationCode nor GetTokensFromRefreshToken nor RevokeToken.
    // It takes any code of a letter and of an app, and tells an unknown session of a question like an unknown pool.
    let known = Known {
        sends_no_code_again: true,
        has_no_sessions: true,
        takes_any_letter: true,
        takes_any_code: true,
        knows_no_questions: true,
        ..Known::default()
    };
    people_sign_in_as_promised(StandIn::Moto, known).await;
}

async fn people_sign_in_as_promised(stand_in: StandIn, known: Known) {
    let Some(aws) = aws(stand_in).await else { return };
    let settings = aws.make_user_pool().await;
    aws.make_tables().await;
    let embedded = Embedded::new();
    let mut ports = embedded.stores.ports();
    // Tokens have the time of whoever makes them.
    ports.clock = Arc::new(SystemClock);
    let (clock, random) = (ports.clock.clone(), ports.random.clone());
    ports.tables = Arc::new(DynamoTables::new(&aws.clients, &settings, clock, random));
    let subject = subject(ports, &aws.clients, &settings);
    // Both send no letters, and take any code.
    let signing = Signing { subject: &subject, letters: &|_| vec!["Code: 123456".to_owned()] };
    keeps_those_of_a_pool(&signing, known).await;
    let (token, user_id) = access_tokens_are_verified_by_the_published_keys(&subject, &settings).await;
    // Moto's live for an hour, whatever the client of the pool says, and the API takes none that lives so long.
    if stand_in == StandIn::MiniStack {
        let verified = Verifier::new(&subject.ports).verify(token.expose_secret()).await.unwrap();
        assert_eq!((verified.user_id, verified.account_id), (user_id, None));
    }
}

async fn access_tokens_are_verified_by_the_published_keys(
    subject: &Subject,
    settings: &AwsSettings,
) -> (SecretString, UserId) {
    let identity = &subject.ports.identity;
    let (email, password) = ("grace@example.com", secret("correct horse battery"));
    identity.register(email, &password, "Grace").await.unwrap();
    let user_id = identity.verify(email, &secret("123456")).await.unwrap();
    let SignIn::Done(signed_in) = identity.sign_in(email, &password, None, HERE).await.unwrap() else {
        panic!("nobody was to be asked");
    };
    let token = signed_in.access_token;
    let keys: JwkSet = serde_json::from_value(identity.jwks().await.unwrap()).unwrap();
    let header = jsonwebtoken::decode_header(token.expose_secret()).unwrap();
    let key = DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).expect("the key is published")).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_issuer(&[identity.issuer()]);
    validation.validate_aud = false;
    let claims = jsonwebtoken::decode::<Value>(token.expose_secret(), &key, &validation).unwrap().claims;
    assert_eq!((&claims["token_use"], &claims["client_id"]), (&json!("access"), &json!(identity.audience())));
    assert_eq!(Some(identity.audience()), settings.user_pool().map(|(_, client)| client));
    assert_eq!(identity.user_of(claims["sub"].as_str().unwrap()), Some(user_id));
    (token, user_id)
}

pub const SUB: &str = "f4c8d2a0-1b2c-4d3e-8f90-a1b2c3d4e5f6";

#[tokio::test]
async fn refusals_of_the_pool_tell_no_more_than_our_own() {
    for (code, said, kind) in [
        ("NotAuthorizedException", "Incorrect username or password.", ErrorKind::Denied),
        ("UserNotFoundException", "User does not exist.", ErrorKind::Denied),
        ("UserNotConfirmedException", "User is not confirmed.", ErrorKind::Denied),
        ("PasswordResetRequiredException", "Password reset required.", ErrorKind::Denied),
        ("InvalidParameterException", "Missing required parameter", ErrorKind::Denied),
        ("NotAuthorizedException", "Password attempts exceeded", ErrorKind::RateLimited),
        ("LimitExceededException", "Attempt limit exceeded", ErrorKind::RateLimited),
        ("ResourceNotFoundException", "User pool client does not exist.", ErrorKind::Invalid),
    ] {
        let pool = MockServer::start().await;
        on("InitiateAuth").respond_with(refusal(code, said)).mount(&pool).await;
        let embedded = Embedded::new();
        let error = sign_in(&*identity(&pool, &embedded).await).await.err().unwrap();
        assert_eq!(error.kind(), kind, "{code} {said}: {error}");
        assert_eq!(error.to_string() == "the address or the password is wrong", kind == ErrorKind::Denied, "{error}");
        assert_eq!(error.retry_after().is_some(), kind == ErrorKind::RateLimited);
    }
}

#[tokio::test]
async fn whom_the_pool_got_in_another_way_is_let_in_once_their_address_is_proved() {
    for (is_proved, revoked) in [("true", 0), ("false", 1)] {
        let pool = MockServer::start().await;
        on("InitiateAuth").respond_with(tokens(Some("first"))).mount(&pool).await;
        on("AdminGetUser").respond_with(user(is_proved)).mount(&pool).await;
        on("RevokeToken").respond_with(answer(json!({}))).expect(revoked).mount(&pool).await;
        let embedded = Embedded::new();
        let identity = identity(&pool, &embedded).await;
        let signed_in = sign_in(&*identity).await;
        let rows = rows(&embedded, &*identity).await;
        match is_proved {
            "true" => {
                assert_eq!(rows.unwrap().email, "ada@example.com");
                let again = sign_in(&*identity).await.unwrap();
                assert_eq!(again.account_id, signed_in.unwrap().account_id, "a first account is made once");
            }
            _ => {
                assert_eq!(signed_in.err().map(|error| error.kind()), Some(ErrorKind::Denied));
                assert_eq!(rows, None);
            }
        }
    }
}

#[tokio::test]
async fn a_pool_that_rotates_gives_a_new_refresh_token_and_one_used_twice_ends_the_session() {
    let pool = MockServer::start().await;
    on("AdminGetUser").respond_with(user("true")).mount(&pool).await;
    for (given, expected) in [(Some("second"), "second"), (None, "first")] {
        let refresh = on("GetTokensFromRefreshToken").respond_with(tokens(given)).up_to_n_times(1).expect(1);
        refresh.mount(&pool).await;
        let embedded = Embedded::new();
        let refreshed = identity(&pool, &embedded).await.refresh(&secret("first")).await.unwrap();
        assert_eq!(refreshed.refresh_token.expose_secret(), expected);
        assert_eq!(refreshed.expires_in, Duration::from_secs(900));
    }
    let reuse = refusal("RefreshTokenReuseException", "Refresh token was already used");
    on("GetTokensFromRefreshToken").respond_with(reuse).expect(1).mount(&pool).await;
    on("RevokeToken").respond_with(answer(json!({}))).expect(1).mount(&pool).await;
    let embedded = Embedded::new();
    let refused = identity(&pool, &embedded).await.refresh(&secret("first")).await;
    assert_eq!(refused.err().map(|error| error.kind()), Some(ErrorKind::Denied));
}

#[tokio::test]
async fn whoever_registers_twice_gets_the_same_answer_and_the_code_again() {
    let pool = MockServer::start().await;
    on("SignUp").respond_with(refusal("UsernameExistsException", "User already exists")).mount(&pool).await;
    let confirmed = refusal("InvalidParameterException", "User is already confirmed.");
    on("ResendConfirmationCode").respond_with(confirmed).expect(1).mount(&pool).await;
    let embedded = Embedded::new();
    let identity = identity(&pool, &embedded).await;
    identity.register("ada@example.com", &secret("correct horse"), "Ada").await.unwrap();
}

#[tokio::test]
async fn what_the_pool_demands_of_a_password_is_told() {
    let pool = MockServer::start().await;
    let said = "Password did not conform with policy: Password must have symbol characters";
    on("SignUp").respond_with(refusal("InvalidPasswordException", said)).mount(&pool).await;
    let embedded = Embedded::new();
    let identity = identity(&pool, &embedded).await;
    let error = identity.register("ada@example.com", &secret("correct horse"), "Ada").await.unwrap_err();
    let problems: Vec<_> = error.problems().iter().map(|problem| (&*problem.place, &*problem.message)).collect();
    assert_eq!(problems, [("/password", said)]);
}

#[tokio::test]
async fn the_pools_keys_are_read_once_a_minute_and_serve_for_a_day_while_it_is_gone() {
    let pool = MockServer::start().await;
    let keys = json!({ "keys": [{ "kid": "1" }] });
    let given = Mock::given(matchers::path("/keys")).respond_with(ResponseTemplate::new(200).set_body_json(&keys));
    given.up_to_n_times(1).expect(1).mount(&pool).await;
    let gone = Mock::given(matchers::path("/keys")).respond_with(ResponseTemplate::new(503));
    gone.expect(2).mount(&pool).await;
    tokio::time::pause();
    let embedded = Embedded::new();
    let identity = identity(&pool, &embedded).await;
    for later in [0, 59, 61, 24 * 3600] {
        // The answer of a real server comes while the paused clock would run ahead: it is moved by hand.
        tokio::time::advance(Duration::from_secs(later)).await;
        tokio::time::resume();
        let read = identity.jwks().await;
        tokio::time::pause();
        match later {
            86_400 => assert_eq!(read.unwrap_err().kind(), ErrorKind::Retry),
            _ => assert_eq!(read.unwrap(), keys),
        }
    }
}

#[tokio::test]
async fn without_a_pool_in_the_settings_nobody_signs_in() {
    let settings = settings("http://127.0.0.1:1".to_owned());
    let ports = Embedded::new().subject().ports;
    let clients = AwsClients::new(&settings).await;
    let made = CognitoIdentity::new(&clients, &settings, ports.tables, ports.clock, ports.random);
    assert_eq!(made.err().map(|error| error.kind()), Some(ErrorKind::Invalid));
}

/// The ports with people in the pool.
fn subject(mut ports: Ports, clients: &AwsClients, settings: &AwsSettings) -> Subject {
    let (tables, clock, random) = (ports.tables.clone(), ports.clock.clone(), ports.random.clone());
    ports.identity = Arc::new(CognitoIdentity::new(clients, settings, tables, clock, random).unwrap());
    Subject::new(ports)
}

pub async fn identity(pool: &MockServer, embedded: &Embedded) -> Arc<dyn Identity> {
    identity_over(pool, embedded.stores.ports()).await
}

pub async fn identity_over(pool: &MockServer, ports: Ports) -> Arc<dyn Identity> {
    let settings = AwsSettings::new(AwsOptions {
        user_pool_id: Some("us-east-1_Pool1".to_owned()),
        user_pool_client_id: Some("client".to_owned()),
        user_pool_keys_url: Some(format!("{}/keys", pool.uri())),
        ..options(pool.uri())
    });
    let settings = settings.unwrap();
    subject(ports, &AwsClients::new(&settings).await, &settings).ports.identity
}

async fn sign_in(identity: &dyn Identity) -> Result<SignedIn, Error> {
    match identity.sign_in("ada@example.com", &secret("correct horse"), None, HERE).await? {
        SignIn::Done(signed_in) => Ok(signed_in),
        SignIn::SecondFactor(_) => panic!("nobody was to be asked"),
    }
}

async fn rows(embedded: &Embedded, identity: &dyn Identity) -> Option<User> {
    let subject = embedded.subject();
    let key = store::key1(identity.user_of(SUB).unwrap());
    Store::new(subject.ports.tables.clone()).find::<User>(&subject.system, key).await.unwrap().map(|found| found.row)
}

pub fn on(operation: &str) -> MockBuilder {
    let target = format!("AWSCognitoIdentityProviderService.{operation}");
    Mock::given(matchers::header("x-amz-target", target.as_str()))
}

pub fn answer(body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

pub fn refusal(code: &str, said: &str) -> ResponseTemplate {
    ResponseTemplate::new(400).set_body_json(json!({ "__type": code, "message": said }))
}

pub fn tokens(refresh_token: Option<&str>) -> ResponseTemplate {
    let claims = BASE64_URL_SAFE_NO_PAD.encode(json!({ "sub": SUB, "username": SUB }).to_string());
    let mut given = json!({ "AccessToken": format!("e30.{claims}.c2ln"), "ExpiresIn": 900, "TokenType": "Bearer" });
    if let Some(token) = refresh_token {
        given["RefreshToken"] = json!(token);
    }
    answer(json!({ "AuthenticationResult": given }))
}

pub fn user(is_proved: &str) -> ResponseTemplate {
    let attribute = |name: &str, value: &str| json!({ "Name": name, "Value": value });
    answer(json!({ "Username": SUB, "UserStatus": "CONFIRMED", "UserAttributes": [attribute("sub", SUB),
        attribute("email", "ada@example.com"), attribute("email_verified", is_proved), attribute("name", "Ada")] }))
}

pub fn secret(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}
