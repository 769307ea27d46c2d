//! Access tokens that are not exactly right are refused.

use std::{net::IpAddr, sync::Arc};

use async_trait::async_trait;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use listbackup_engine::{
    Error, ErrorKind, Result,
    model::{Account, AccountId, Membership, Role, UserId, user::MembershipStatus},
    ports::{Condition, Identity, NewFactor, Person, SignIn, SignedIn},
    store::put,
};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::kit::{App, token};

const ISSUER: &str = "urn:test:issuer";
const KEY_ID: &str = "k1";

/// Signs people in elsewhere: only its keys and its name matter here.
struct Elsewhere {
    public: Vec<u8>,
}

#[async_trait]
impl Identity for Elsewhere {
    async fn register(&self, _: &str, _: &SecretString, _: &str) -> Result<()> {
        Err(elsewhere())
    }
    async fn verify(&self, _: &str, _: &SecretString) -> Result<UserId> {
        Err(elsewhere())
    }
    async fn resend(&self, _: &str) -> Result<()> {
        Err(elsewhere())
    }
    async fn sign_in(&self, _: &str, _: &SecretString, _: Option<AccountId>, _: IpAddr) -> Result<SignIn> {
        Err(elsewhere())
    }
    async fn answer(&self, _: &SecretString, _: &SecretString) -> Result<SignedIn> {
        Err(elsewhere())
    }
    async fn refresh(&self, _: &SecretString) -> Result<SignedIn> {
        Err(elsewhere())
    }
    async fn switch(&self, _: &SecretString, _: UserId, _: AccountId) -> Result<SignedIn> {
        Err(elsewhere())
    }
    async fn sign_out(&self, _: &SecretString) -> Result<()> {
        Err(elsewhere())
    }
    async fn sign_out_everywhere(&self, _: Person<'_>) -> Result<()> {
        Err(elsewhere())
    }
    async fn request_reset(&self, _: &str) -> Result<()> {
        Err(elsewhere())
    }
    async fn reset(&self, _: &str, _: &SecretString, _: &SecretString, _: IpAddr) -> Result<UserId> {
        Err(elsewhere())
    }
    async fn change_password(&self, _: Person<'_>, _: &SecretString, _: &SecretString) -> Result<()> {
        Err(elsewhere())
    }
    async fn has_factor(&self, _: Person<'_>) -> Result<bool> {
        Err(elsewhere())
    }
    async fn set_up_factor(&self, _: Person<'_>) -> Result<NewFactor> {
        Err(elsewhere())
    }
    async fn enable_factor(&self, _: Person<'_>, _: &SecretString) -> Result<Vec<SecretString>> {
        Err(elsewhere())
    }
    async fn disable_factor(&self, _: Person<'_>, _: &SecretString) -> Result<()> {
        Err(elsewhere())
    }
    async fn jwks(&self) -> Result<Value> {
        let public = BASE64_URL_SAFE_NO_PAD.encode(&self.public);
        Ok(json!({ "keys": [
            { "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": KEY_ID, "x": public },
            { "kty": "oct", "alg": "HS256", "kid": "symmetric", "k": public },
            { "kty": "OKP", "crv": "Ed25519", "use": "enc", "kid": "not-for-signing", "x": public },
        ] }))
    }
    fn issuer(&self) -> &str {
        ISSUER
    }
    fn audience(&self) -> &str {
        "listbackup"
    }
}

fn elsewhere() -> Error {
    Error::new(ErrorKind::Denied, "sign in elsewhere")
}

struct Issuer {
    private: EncodingKey,
    public: Vec<u8>,
}

impl Issuer {
    fn new() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
        let public = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap().public_key().as_ref().to_vec();
        Self { private: EncodingKey::from_ed_der(document.as_ref()), public }
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.private).unwrap()
    }
}

fn header() -> Header {
    Header { kid: Some(KEY_ID.to_owned()), ..Header::new(Algorithm::EdDSA) }
}

fn part(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

/// An account with one owner, in an API that trusts `issuer`, and the claims of a good token of theirs.
async fn trusting(issuer: &Issuer) -> (App, Value) {
    let public = issuer.public.clone();
    let app = App::start_with(|_| Some(Arc::new(Elsewhere { public }))).await;
    let (clock, random) = (&*app.ports.clock, &*app.ports.random);
    let (user_id, account_id) = (UserId::new(clock, random), AccountId::new(clock, random));
    let now = clock.now();
    let account = Account::root(account_id, "Ada".to_owned(), now);
    let membership =
        Membership { user_id, account_id, role: Role::Owner, status: MembershipStatus::Active, created_at: now };
    let writes = vec![put(&account, Condition::Absent).unwrap(), put(&membership, Condition::Absent).unwrap()];
    app.store.transact(&app.system, writes).await.unwrap();
    let now = now.as_second();
    let claims = json!({ "iss": ISSUER, "aud": "listbackup", "sub": user_id, "account": account_id,
        "token_use": "access", "iat": now - 1, "nbf": now - 1, "exp": now + 600 });
    (app, claims)
}

fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

fn without(claims: &Value, name: &str) -> Value {
    let mut claims = claims.clone();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

/// Tokens whose signature is right and whose claims are not.
fn wrong_claims(issuer: &Issuer, good: &Value) -> Vec<(String, String)> {
    let now = good["iat"].as_i64().unwrap() + 1;
    let mut table = vec![
        ("other audience".to_owned(), with(good, "aud", json!("somebody"))),
        ("other audiences".to_owned(), with(good, "aud", json!(["somebody", "else"]))),
        ("other issuer".to_owned(), with(good, "iss", json!("urn:test:other"))),
        ("refresh token".to_owned(), with(good, "token_use", json!("refresh"))),
        ("expired".to_owned(), with(good, "exp", json!(now - 1))),
        ("expires now".to_owned(), with(good, "exp", json!(now - 2))),
        ("lives too long".to_owned(), with(good, "exp", json!(now + 86_400))),
        ("not yet valid".to_owned(), with(good, "nbf", json!(now + 3600))),
        ("made in the future".to_owned(), with(good, "iat", json!(now + 3600))),
        ("expiry as text".to_owned(), with(good, "exp", json!("never"))),
        ("other account".to_owned(), with(good, "account", json!(AccountId::derived(1, [1; 10])))),
        ("other user".to_owned(), with(good, "sub", json!(UserId::derived(1, [1; 10])))),
        ("no id as user".to_owned(), with(good, "sub", json!("admin"))),
    ];
    for name in ["iss", "aud", "sub", "account", "token_use", "iat", "nbf", "exp"] {
        table.push((format!("missing {name}"), without(good, name)));
    }
    table.into_iter().map(|(name, claims)| (name, issuer.sign(&header(), &claims))).collect()
}

/// Tokens whose claims are right and whose signature, header or form is not.
fn wrong_form(issuer: &Issuer, good: &Value) -> Vec<(String, String)> {
    let token = issuer.sign(&header(), good);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let none = |alg: &str| format!("{}.{}.", part(&json!({ "alg": alg, "kid": KEY_ID })), part(good));
    let hs256 = |key_id: &str, secret: &[u8]| {
        let header = Header { kid: Some(key_id.to_owned()), ..Header::new(Algorithm::HS256) };
        encode(&header, good, &EncodingKey::from_secret(secret)).unwrap()
    };
    let named = |key_id: Option<&str>| Header { kid: key_id.map(str::to_owned), ..header() };
    let twice = good.to_string().replacen('{', "{\"exp\":1,", 1);
    let message_twice =
        format!("{}.{}", part(&json!({ "alg": "EdDSA", "kid": KEY_ID })), BASE64_URL_SAFE_NO_PAD.encode(twice));
    let signature_twice =
        jsonwebtoken::crypto::sign(message_twice.as_bytes(), &issuer.private, Algorithm::EdDSA).unwrap();
    let stranger = Issuer::new();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": BASE64_URL_SAFE_NO_PAD.encode(&stranger.public) });
    let own_key = Header { jwk: serde_json::from_value(jwk).ok(), ..header() };
    let own_url = Header { jku: Some("https://evil.example/jwks".to_owned()), ..header() };
    let critical = Header { crit: Some(vec!["exp".to_owned()]), ..header() };
    let cut = &signature[..signature.len() - 4];
    [
        ("no algorithm", none("none")),
        ("no algorithm in capitals", none("NONE")),
        ("HS256 with the public key", hs256(KEY_ID, &issuer.public)),
        ("HS256 with the published symmetric key", hs256("symmetric", &issuer.public)),
        ("another key", stranger.sign(&header(), good)),
        ("another key in its header", stranger.sign(&own_key, good)),
        ("another key by address", stranger.sign(&own_url, good)),
        ("unknown key id", issuer.sign(&named(Some("k2")), good)),
        ("no key id", issuer.sign(&named(None), good)),
        ("key that is not for signing", issuer.sign(&named(Some("not-for-signing")), good)),
        ("critical extension", issuer.sign(&critical, good)),
        ("duplicate claims", format!("{message_twice}.{signature_twice}")),
        ("no signature", format!("{message}.")),
        ("cut signature", format!("{message}.{cut}")),
        ("altered claims", token.replacen('.', ".x", 1)),
        ("two parts", message.to_owned()),
        ("not a token", "nonsense".to_owned()),
        ("huge", issuer.sign(&header(), &with(good, "padding", json!("x".repeat(9_000))))),
    ]
    .into_iter()
    .map(|(name, token)| (name.to_owned(), token))
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_token_that_is_exactly_right_is_let_in() {
    let issuer = Issuer::new();
    let (app, good) = trusting(&issuer).await;
    let nobody = app.nobody();
    for right in [good.clone(), with(&good, "aud", json!(["other", "listbackup"]))] {
        nobody.with_token(issuer.sign(&header(), &right)).get("/system/status").await.expect(200);
    }
    for (name, token) in wrong_claims(&issuer, &good).into_iter().chain(wrong_form(&issuer, &good)) {
        let answer = nobody.with_token(token).get("/system/status").await;
        assert_eq!(answer.status, 401, "{name}: {}", answer.text);
        assert_eq!(answer.body["code"], "unauthenticated", "{name}");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{name}");
    }
    let basic = nobody.with("authorization", "Basic YWRhOnBhc3N3b3Jk").get("/system/status").await;
    basic.expect(401);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_signed_in_stays_so_when_the_key_is_replaced_and_the_key_stays_published() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let published = async || {
        let document = app.nobody().get("/.well-known/jwks.json").await.expect(200).clone();
        document["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect::<Vec<_>>()
    };
    let before = published().await;
    app.rotate_signing_key().await;
    let after = published().await;
    assert_eq!((before.len(), after.len(), &after[1..]), (1, 2, &before[..]));
    ada.caller.get("/auth/me").await.expect(200);
    let again = token(app.login(&ada.email, None).await.expect(200));
    assert_eq!(jsonwebtoken::decode_header(&again).unwrap().kid.map(Value::from).as_ref(), Some(&after[0]));
    app.nobody().with_token(again).get("/auth/me").await.expect(200);
    app.stop().await;
}

/// A user pool's tokens are for a client, and for no account.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_of_a_user_pool_each_request_names_its_account() {
    let issuer = Issuer::new();
    let (app, own) = trusting(&issuer).await;
    let account = own["account"].as_str().unwrap().to_owned();
    let good = ["aud", "account", "nbf"]
        .iter()
        .fold(with(&own, "client_id", json!("listbackup")), |claims, name| without(&claims, name));
    let get = async |claims: &Value, account: Option<&str>| {
        let caller = app.nobody().with_token(issuer.sign(&header(), claims));
        let caller = match account {
            Some(account) => caller.with("listbackup-account", account),
            None => caller,
        };
        caller.get("/system/status").await
    };
    get(&good, Some(&account)).await.expect(200);
    let unnamed = get(&good, None).await;
    assert_eq!(unnamed.status, 401);
    assert!(unnamed.text.contains("listbackup-account: acc_"), "{}", unnamed.text);
    let foreign = AccountId::derived(1, [1; 10]).to_string();
    for named in [foreign.as_str(), "acc_nonsense", ""] {
        assert_eq!(get(&good, Some(named)).await.status, 401, "{named}");
    }
    for wrong in [
        with(&good, "client_id", json!("another client")),
        with(&good, "token_use", json!("id")),
        with(&good, "aud", json!("another client")),
        with(&good, "iat", json!(own["exp"].as_i64().unwrap() - 1)),
        without(&good, "sub"),
    ] {
        assert_eq!(get(&wrong, Some(&account)).await.status, 401, "{wrong}");
    }
    // What our own tokens name counts, whatever the request does.
    get(&own, Some(&foreign)).await.expect(200);
    app.stop().await;
}
