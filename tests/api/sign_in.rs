//! From registering to signing out.

use serde_json::json;

use crate::kit::{App, PASSWORD};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_person_registers_proves_the_address_and_signs_in() {
    let app = App::start().await;
    let nobody = app.nobody();
    let registration = json!({ "email": "Ada@Example.com", "password": PASSWORD, "name": "Ada" });
    nobody.post("/auth/register", &registration).await.expect(202);
    app.login("ada@example.com", None).await.expect(401);

    let code = app.code_for("ada@example.com");
    nobody.post("/auth/verify", &json!({ "email": "ada@example.com", "code": "wrong" })).await.expect(401);
    nobody.post("/auth/verify", &json!({ "email": "ada@example.com", "code": code })).await.expect(200);
    nobody.post("/auth/verify", &json!({ "email": "ada@example.com", "code": code })).await.expect(401);

    let signed_in = app.login("ada@example.com", None).await;
    let signed_in = signed_in.expect(200);
    assert_eq!(signed_in["token_type"], "Bearer");
    assert!(signed_in["expires_in_seconds"].as_u64().unwrap() <= 900);
    let ada = nobody.with_token(signed_in["access_token"].as_str().unwrap());
    let me = ada.get("/auth/me").await;
    assert_eq!(me.expect(200)["email"], "ada@example.com");
    assert_eq!(me.body["role"], "owner");
    let accounts = ada.get("/auth/accounts").await;
    assert_eq!(accounts.expect(200)["items"][0]["id"], me.body["account_id"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registering_a_known_address_answers_as_for_an_unknown_one() {
    let app = App::start().await;
    app.person("ada").await;
    let nobody = app.nobody();
    let known = json!({ "email": "ada@example.com", "password": PASSWORD, "name": "Eve" });
    let unknown = json!({ "email": "new@example.com", "password": PASSWORD, "name": "Eve" });
    let (known, unknown) = (nobody.post("/auth/register", &known).await, nobody.post("/auth/register", &unknown).await);
    assert_eq!((known.status, known.text), (unknown.status, unknown.text));
    let wrong = json!({ "email": "ada@example.com", "password": "wrong password" });
    let absent = json!({ "email": "nobody@example.com", "password": "wrong password" });
    let (wrong, absent) = (nobody.post("/auth/login", &wrong).await, nobody.post("/auth/login", &absent).await);
    assert_eq!(wrong.expect(401)["code"], absent.expect(401)["code"]);
    assert_eq!(wrong.body["detail"], absent.body["detail"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_tries_without_end_is_slowed_down_and_no_other_one_and_nobody_who_is_signed_in() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    // A proxy on this machine, which is believed, says where a request came from.
    let thief = app.nobody().with("X-Forwarded-For", "203.0.113.9");
    let tries = (0..150).map(|n| {
        let guess = json!({ "email": format!("person-{n}@example.com"), "code": "wrong" });
        let thief = &thief;
        async move { thief.post("/auth/verify", &guess).await }
    });
    let answers = futures::future::join_all(tries).await;
    let tried = answers.iter().filter(|answer| answer.status == 401).count();
    assert!((100..150).contains(&tried), "{tried} were looked at: a hundred at once, and two more each second");
    let refused = answers.iter().find(|answer| answer.status == 429).expect("too many");
    assert_eq!(refused.body["code"], "rate_limited");
    assert!((1..=60).contains(&refused.header("retry-after").parse::<u64>().unwrap()));
    let login = json!({ "email": ada.email, "password": PASSWORD });
    thief.post("/auth/login", &login).await.expect(429);
    app.nobody().with("X-Forwarded-For", "203.0.113.10").post("/auth/login", &login).await.expect(200);
    ada.caller.with("X-Forwarded-For", "203.0.113.9").get("/auth/me").await.expect(200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_works_once_and_its_reuse_ends_the_session() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let nobody = app.nobody();
    let signed_in = app.login(&ada.email, None).await;
    let first = json!({ "refresh_token": signed_in.expect(200)["refresh_token"] });
    let refreshed = nobody.post("/auth/refresh", &first).await;
    let second = json!({ "refresh_token": refreshed.expect(200)["refresh_token"] });
    nobody.with_token(refreshed.body["access_token"].as_str().unwrap()).get("/auth/me").await.expect(200);
    nobody.post("/auth/refresh", &first).await.expect(401);
    nobody.post("/auth/refresh", &second).await.expect(401);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_shows_so_many_refresh_tokens_that_are_none_and_whoever_has_one_stays_signed_in_elsewhere() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let thief = app.nobody().with("X-Forwarded-For", "203.0.113.9");
    let unknown = json!({ "refresh_token": "lbr_unknown" });
    let tries = (0..150).map(|_| thief.post("/auth/refresh", &unknown));
    let answers = futures::future::join_all(tries).await;
    let tried = answers.iter().filter(|answer| answer.status == 401).count();
    assert!((100..150).contains(&tried), "{tried} were looked at: a hundred at once, and two more each second");
    assert!(answers.iter().any(|answer| answer.status == 429 && !answer.header("retry-after").is_empty()));
    // Signing in from there is another matter, and so are other networks.
    let login = json!({ "email": ada.email, "password": PASSWORD });
    let signed_in = thief.post("/auth/login", &login).await;
    let owner = app.nobody().with("X-Forwarded-For", "203.0.113.10");
    let mut token = signed_in.expect(200)["refresh_token"].clone();
    for _ in 0..120 {
        let next = owner.post("/auth/refresh", &json!({ "refresh_token": token })).await;
        token = next.expect(200)["refresh_token"].clone();
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_session() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let signed_in = app.login(&ada.email, None).await;
    let refresh = json!({ "refresh_token": signed_in.expect(200)["refresh_token"] });
    app.nobody().post("/auth/logout", &refresh).await.expect(204);
    app.nobody().post("/auth/refresh", &refresh).await.expect(401);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_is_in_the_activity_log_of_its_account() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let log = ada.caller.get("/activity?kind=user.signed_in").await;
    assert_eq!(log.expect(200)["items"][0]["actor"], ada.user_id.to_string());
    app.stop().await;
}
