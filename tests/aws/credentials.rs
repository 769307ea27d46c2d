//! Other passwords and second factors of people in a user pool, as far as stand-ins do not have them.

use listbackup_engine::{
    ErrorKind, Result,
    model::AccountId,
    ports::{Challenge, Identity, Person, SignIn},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use wiremock::{MockServer, Request, ResponseTemplate};

use crate::{
    identity::{answer, identity, on, refusal, secret, tokens, user},
    suites::identity::HERE,
    support::Embedded,
};

const EMAIL: &str = "ada@example.com";

/// The question that a pool asks for an account.
async fn question(pool: &MockServer, identity: &dyn Identity, account: Option<AccountId>) -> Result<Challenge> {
    let challenge = json!({ "ChallengeName": "SOFTWARE_TOKEN_MFA", "Session": "the session",
        "ChallengeParameters": { "USER_ID_FOR_SRP": "ada-in-the-pool" } });
    on("InitiateAuth").respond_with(answer(challenge)).mount(pool).await;
    match identity.sign_in(EMAIL, &secret("correct horse"), account, HERE).await? {
        SignIn::SecondFactor(challenge) => Ok(challenge),
        SignIn::Done(_) => panic!("nobody was asked"),
    }
}

fn ada<'a>(identity: &dyn Identity, access_token: &'a SecretString) -> Person<'a> {
    Person { user_id: identity.user_of("f4c8d2a0-1b2c-4d3e-8f90-a1b2c3d4e5f6").unwrap(), access_token }
}

fn with_app(is_on: bool) -> ResponseTemplate {
    let settings = if is_on { json!(["SOFTWARE_TOKEN_MFA"]) } else { json!([]) };
    answer(json!({ "Username": "ada-in-the-pool", "UserMFASettingList": settings,
        "UserAttributes": [{ "Name": "email", "Value": EMAIL }] }))
}

/// The bodies of requests for an operation.
async fn asked(pool: &MockServer, operation: &str) -> Vec<Value> {
    let of = |request: &&Request| {
        request.headers["x-amz-target"].to_str().is_ok_and(|target| target.ends_with(&format!(".{operation}")))
    };
    let requests = pool.received_requests().await.unwrap();
    requests.iter().filter(of).map(|request| request.body_json().unwrap()).collect()
}

#[tokio::test]
async fn a_question_of_the_pool_is_answered_by_its_session_under_its_name_of_the_person() {
    let pool = MockServer::start().await;
    let embedded = Embedded::new();
    let identity = identity(&pool, &embedded).await;
    let asked_for = question(&pool, &*identity, None).await.unwrap();
    on("RespondToAuthChallenge").respond_with(tokens(Some("first"))).mount(&pool).await;
    on("AdminGetUser").respond_with(user("true")).mount(&pool).await;
    let signed_in = identity.answer(&asked_for.token, &secret("123 456")).await.unwrap();
    let sent = &asked(&pool, "RespondToAuthChallenge").await[0];
    assert_eq!((&sent["Session"], &sent["ChallengeName"]), (&json!("the session"), &json!("SOFTWARE_TOKEN_MFA")));
    let responses = json!({ "USERNAME": "ada-in-the-pool", "SOFTWARE_TOKEN_MFA_CODE": "123456" });
    assert_eq!((&sent["ChallengeResponses"], &sent["ClientId"]), (&responses, &json!("client")));

    // The account that was asked for is the one that counts at the end.
    let asked_for = question(&pool, &*identity, Some(signed_in.account_id)).await.unwrap();
    assert_eq!(identity.answer(&asked_for.token, &secret("1")).await.unwrap().account_id, signed_in.account_id);
    on("RevokeToken").respond_with(answer(json!({}))).expect(1).mount(&pool).await;
    let foreign = embedded.subject().account().account_id();
    let asked_for = question(&pool, &*identity, Some(foreign)).await.unwrap();
    let refused = identity.answer(&asked_for.token, &secret("1")).await;
    assert_eq!(refused.err().map(|error| error.kind()), Some(ErrorKind::Denied));
}

#[tokio::test]
async fn who_is_to_give_something_else_is_refused_with_a_reason() {
    for (name, reason) in [("SMS_MFA", "authenticator app"), ("NEW_PASSWORD_REQUIRED", "new password")] {
        let pool = MockServer::start().await;
        let challenge = json!({ "ChallengeName": name, "Session": "s", "ChallengeParameters": {} });
        on("InitiateAuth").respond_with(answer(challenge)).mount(&pool).await;
        let identity = identity(&pool, &Embedded::new()).await;
        let error = identity.sign_in(EMAIL, &secret("correct horse"), None, HERE).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn refusals_of_a_code_are_told_alike() {
    for (code, kind) in [
        ("CodeMismatchException", ErrorKind::Denied),
        ("ExpiredCodeException", ErrorKind::Denied),
        ("NotAuthorizedException", ErrorKind::Denied),
        ("EnableSoftwareTokenMFAException", ErrorKind::Denied),
        ("TooManyFailedAttemptsException", ErrorKind::RateLimited),
        ("ResourceNotFoundException", ErrorKind::Invalid),
    ] {
        let pool = MockServer::start().await;
        let identity = identity(&pool, &Embedded::new()).await;
        for operation in ["RespondToAuthChallenge", "VerifySoftwareToken"] {
            on(operation).respond_with(refusal(code, "no")).mount(&pool).await;
        }
        on("GetUser").respond_with(with_app(true)).mount(&pool).await;
        let asked_for = question(&pool, &*identity, None).await.unwrap();
        let (token, guess) = (secret("access"), secret("123456"));
        let ada = ada(&*identity, &token);
        let errors = [
            identity.answer(&asked_for.token, &guess).await.err().unwrap(),
            identity.enable_factor(ada, &guess).await.unwrap_err(),
            identity.disable_factor(ada, &guess).await.unwrap_err(),
        ];
        assert!(errors.iter().all(|error| error.kind() == kind), "{code}: {errors:?}");
        assert_eq!(asked(&pool, "SetUserMFAPreference").await, Vec::<Value>::new(), "nothing changed");
    }
}

#[tokio::test]
async fn a_second_factor_is_turned_on_and_off_in_the_pool_by_a_code_alone() {
    let pool = MockServer::start().await;
    let identity = identity(&pool, &Embedded::new()).await;
    let token = secret("access");
    let ada = ada(&*identity, &token);
    on("GetUser").respond_with(with_app(false)).up_to_n_times(1).mount(&pool).await;
    on("GetUser").respond_with(with_app(true)).mount(&pool).await;
    on("AssociateSoftwareToken").respond_with(answer(json!({ "SecretCode": "ABC" }))).expect(1).mount(&pool).await;
    on("VerifySoftwareToken").respond_with(answer(json!({ "Status": "ERROR" }))).up_to_n_times(1).mount(&pool).await;
    on("VerifySoftwareToken").respond_with(answer(json!({ "Status": "SUCCESS" }))).mount(&pool).await;
    on("SetUserMFAPreference").respond_with(answer(json!({}))).mount(&pool).await;
    assert_eq!(identity.set_up_factor(ada).await.unwrap().secret.expose_secret(), "ABC");
    let again = identity.set_up_factor(ada).await;
    assert_eq!(again.err().map(|error| error.kind()), Some(ErrorKind::Conflict));
    assert_eq!(identity.enable_factor(ada, &secret("1")).await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(identity.enable_factor(ada, &secret("2")).await.unwrap().len(), 0, "a pool has no recovery codes");
    identity.disable_factor(ada, &secret("3")).await.unwrap();
    let set = asked(&pool, "SetUserMFAPreference").await;
    let settings: Vec<_> = set.iter().map(|request| &request["SoftwareTokenMfaSettings"]).collect();
    let expected = [true, false].map(|is_on| json!({ "Enabled": is_on, "PreferredMfa": is_on }));
    assert_eq!(settings, expected.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn whoever_asks_the_pool_for_a_new_password_is_answered_alike() {
    for code in
        ["UserNotFoundException", "InvalidParameterException", "NotAuthorizedException", "LimitExceededException"]
    {
        let pool = MockServer::start().await;
        on("ForgotPassword").respond_with(refusal(code, "no")).expect(1..).mount(&pool).await;
        identity(&pool, &Embedded::new()).await.request_reset(EMAIL).await.unwrap();
    }
}

#[tokio::test]
async fn a_new_password_ends_every_sign_in_in_the_pool() {
    let pool = MockServer::start().await;
    let identity = identity(&pool, &Embedded::new()).await;
    for operation in ["ConfirmForgotPassword", "ChangePassword"] {
        on(operation).respond_with(answer(json!({}))).mount(&pool).await;
    }
    for operation in ["AdminUserGlobalSignOut", "GlobalSignOut"] {
        on(operation).respond_with(answer(json!({}))).up_to_n_times(1).expect(1).mount(&pool).await;
    }
    on("AdminGetUser").respond_with(user("true")).mount(&pool).await;
    let (token, password) = (secret("access"), secret("another horse"));
    let ada = ada(&*identity, &token);
    assert_eq!(identity.reset(EMAIL, &secret("123 456"), &password, HERE).await.unwrap(), ada.user_id);
    identity.change_password(ada, &secret("correct horse"), &password).await.unwrap();
    let sent = &asked(&pool, "ConfirmForgotPassword").await[0];
    assert_eq!((&sent["Username"], &sent["ConfirmationCode"]), (&json!(EMAIL), &json!("123456")));
    assert_eq!(asked(&pool, "AdminUserGlobalSignOut").await[0]["Username"], EMAIL);
    assert_eq!(asked(&pool, "GlobalSignOut").await[0]["AccessToken"], "access");

    // The code is used up and the password set: whoever hears of an error must hear that, too.
    let refused = refusal("NotAuthorizedException", "no");
    on("AdminUserGlobalSignOut").respond_with(refused.clone()).mount(&pool).await;
    on("GlobalSignOut").respond_with(refused).mount(&pool).await;
    let errors = [
        identity.reset(EMAIL, &secret("123456"), &password, HERE).await.unwrap_err(),
        identity.change_password(ada, &secret("correct horse"), &password).await.unwrap_err(),
    ];
    for error in errors {
        assert!(error.kind() != ErrorKind::Denied && error.to_string().contains("password is set"), "{error}");
    }
}

#[tokio::test]
async fn refusals_of_a_new_password_say_what_was_wrong() {
    for (code, of_reset, of_change) in [
        ("CodeMismatchException", ErrorKind::Denied, None),
        ("ExpiredCodeException", ErrorKind::Denied, None),
        ("UserNotFoundException", ErrorKind::Denied, Some(ErrorKind::Denied)),
        ("NotAuthorizedException", ErrorKind::Denied, Some(ErrorKind::Denied)),
        ("InvalidPasswordException", ErrorKind::Invalid, Some(ErrorKind::Invalid)),
        ("PasswordHistoryPolicyViolationException", ErrorKind::Invalid, Some(ErrorKind::Invalid)),
        ("TooManyFailedAttemptsException", ErrorKind::RateLimited, None),
        ("LimitExceededException", ErrorKind::RateLimited, Some(ErrorKind::RateLimited)),
    ] {
        let pool = MockServer::start().await;
        let identity = identity(&pool, &Embedded::new()).await;
        for operation in ["ConfirmForgotPassword", "ChangePassword"] {
            on(operation).respond_with(refusal(code, "no")).mount(&pool).await;
        }
        let (token, password) = (secret("access"), secret("another horse"));
        let reset = identity.reset(EMAIL, &secret("123456"), &password, HERE).await.unwrap_err();
        let change = identity.change_password(ada(&*identity, &token), &password, &password).await.unwrap_err();
        assert_eq!(reset.kind(), of_reset, "{code}");
        assert!(of_change.is_none_or(|kind| change.kind() == kind), "{code}: {change}");
        if of_reset == ErrorKind::Invalid {
            assert_eq!((&*reset.problems()[0].place, &*change.problems()[0].place), ("/password", "/password"));
        }
    }
}
