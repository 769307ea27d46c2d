//! Second factors where they are kept: sealed, and with the directory's other secrets under another master key.

use std::{fs, time::Duration};

use listbackup_engine::{
    adapters::embedded::NewMasterKey,
    ports::{Identity, Person, SignIn},
};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    authenticator::code_of,
    letters_to,
    suites::identity::HERE,
    support::{Embedded, pass},
};

const EMAIL: &str = "ada@example.com";

fn secret(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}

async fn sign_in(identity: &dyn Identity) -> SignIn {
    identity.sign_in(EMAIL, &secret("correct horse battery"), None, HERE).await.unwrap()
}

/// Somebody with an authenticator app: its secret, and a recovery code.
async fn owner(embedded: &Embedded) -> (SecretString, SecretString) {
    let ports = embedded.stores.ports();
    ports.identity.register(EMAIL, &secret("correct horse battery"), "Ada").await.unwrap();
    let letter = letters_to(&embedded.stores.mail_dir(), EMAIL).pop().unwrap();
    let code = letter.lines().find_map(|line| line.strip_prefix("Code: ")).unwrap();
    ports.identity.verify(EMAIL, &secret(code)).await.unwrap();
    let SignIn::Done(signed_in) = sign_in(&*ports.identity).await else { panic!("nobody was to be asked") };
    let ada = Person { user_id: signed_in.user_id, access_token: &signed_in.access_token };
    let app = ports.identity.set_up_factor(ada).await.unwrap().secret;
    let recovery = ports.identity.enable_factor(ada, &code_of(&app, ports.clock.now())).await.unwrap();
    (app, recovery.into_iter().next().unwrap())
}

async fn assert_lets_in(embedded: &Embedded, app: &SecretString) {
    let ports = embedded.stores.ports();
    let SignIn::SecondFactor(question) = sign_in(&*ports.identity).await else { panic!("nobody was asked") };
    ports.identity.answer(&question.token, &code_of(app, ports.clock.now())).await.unwrap();
    pass(Duration::from_secs(30)).await;
}

#[tokio::test(start_paused = true)]
async fn an_authenticator_app_goes_on_under_a_new_master_key_wherever_the_change_stops() {
    let embedded = Embedded::new();
    let (app, _) = owner(&embedded).await;
    pass(Duration::from_secs(30)).await;
    let new = NewMasterKey::at(&embedded.directory.path().join("new.key")).unwrap();
    // A key that signs tokens, and the secret of the app.
    assert_eq!(embedded.stores.wrap_secrets_anew(&*new.keys()).await.unwrap(), 2);
    assert_lets_in(&embedded, &app).await;
    embedded.stores.take_master_key(&new).unwrap();
    let embedded = embedded.reopen();
    assert_lets_in(&embedded, &app).await;
    assert_eq!(embedded.stores.remove_other_forms_of_secrets().await.unwrap(), 2);
    assert_lets_in(&embedded, &app).await;
}

#[tokio::test(start_paused = true)]
async fn no_secret_of_a_second_factor_lies_in_the_directory_in_clear() {
    let embedded = Embedded::new();
    let (app, recovery) = owner(&embedded).await;
    let SignIn::SecondFactor(question) = sign_in(&*embedded.stores.ports().identity).await else {
        panic!("nobody was asked")
    };
    let directory = embedded.close();
    let plain = recovery.expose_secret().replace('-', "");
    let texts = [app.expose_secret(), recovery.expose_secret(), &plain, question.token.expose_secret()];
    for file in ["listbackup.db", "listbackup.db-wal"] {
        let held = fs::read(directory.path().join(file)).unwrap_or_default();
        for text in texts {
            assert!(!held.windows(text.len()).any(|window| window == text.as_bytes()), "{file}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_factor_and_its_last_code_survive_closing_and_opening() {
    let embedded = Embedded::new();
    let (app, recovery) = owner(&embedded).await;
    let embedded = embedded.reopen();
    let ports = embedded.stores.ports();
    let SignIn::SecondFactor(question) = sign_in(&*ports.identity).await else { panic!("nobody was asked") };
    let used = ports.identity.answer(&question.token, &code_of(&app, ports.clock.now())).await;
    assert!(used.is_err(), "it turned the factor on");
    ports.identity.answer(&question.token, &recovery).await.unwrap();
}
