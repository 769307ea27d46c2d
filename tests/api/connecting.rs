//! What ties a sign-in at a product to who began it.

use futures::future::join_all;
use listbackup_engine::{
    model::{Membership, OAuthState, Role},
    ports::Condition,
    store::{key, key1, put},
    token,
};
use serde_json::json;

use crate::{
    data::{approved, by_oauth, id, product, source},
    kit::{self, App},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_takes_longer_than_ten_minutes_is_lost() {
    let app = App::start().await;
    let product = product().await;
    let ada = app.person("ada").await;
    let source = source(&ada, "Shop", &by_oauth(&product)).await;
    let callback = approved(&ada, &source).await;
    let state = callback.split("state=").nth(1).unwrap().split('&').next().unwrap();
    let kept = app.store.get::<OAuthState>(&app.system, key1(token::hash(state))).await.unwrap().row;
    assert_eq!(kept.expires_at - kept.created_at.as_second(), 600);
    let over = OAuthState { expires_at: app.ports.clock.now().as_second(), ..kept };
    app.store.transact(&app.system, vec![put(&over, Condition::Any).unwrap()]).await.unwrap();
    assert_eq!(app.nobody().get(&callback).await.expect(400)["code"], "sign_in_lost");
    assert_eq!(ada.caller.get(&format!("/sources/{}", id(&source))).await.expect(200)["state"], "needs_authorisation");
    app.stop().await;
    product.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_comes_back_for_its_person_in_its_account_only() {
    let app = App::start().await;
    let product = product().await;
    let (ada, eve) = (app.person("ada").await, app.person("eve").await);
    let bob = app.member("bob", &ada, Role::Admin).await;
    let source = source(&ada, "Shop", &by_oauth(&product)).await;
    // Another member of the account, who may do whatever it takes.
    let callback = approved(&ada, &source).await;
    assert_eq!(bob.caller.get(&callback).await.expect(400)["code"], "sign_in_lost");
    // The same person at work in another account.
    let invited = Membership { account_id: eve.account_id, ..membership(&app, &ada).await };
    app.store.transact(&app.system, vec![put(&invited, Condition::Any).unwrap()]).await.unwrap();
    let elsewhere = ada.caller.with_token(kit::token(app.login(&ada.email, Some(eve.account_id)).await.expect(200)));
    let callback = approved(&ada, &source).await;
    assert_eq!(elsewhere.get(&callback).await.expect(400)["code"], "sign_in_lost");
    // Whoever may no longer do it.
    let callback = approved(&bob, &source).await;
    let lowered = Membership { role: Role::Viewer, ..membership(&app, &bob).await };
    app.store.transact(&app.system, vec![put(&lowered, Condition::Any).unwrap()]).await.unwrap();
    assert_eq!(app.nobody().get(&callback).await.expect(400)["code"], "sign_in_lost");
    // And she herself.
    let callback = approved(&ada, &source).await;
    ada.caller.get(&callback).await.expect(200);
    app.stop().await;
    product.stop().await.unwrap();
}

async fn membership(app: &App, of: &crate::kit::Person) -> Membership {
    app.store.get::<Membership>(&app.system, key(of.user_id, of.account_id)).await.unwrap().row
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_signed_in_many_times_at_once_keeps_each_and_a_pause_too() {
    let app = App::start().await;
    let product = product().await;
    let ada = app.person("ada").await;
    let source = source(&ada, "Shop", &by_oauth(&product)).await;
    let mut callbacks = Vec::new();
    for _ in 0..8 {
        callbacks.push(approved(&ada, &source).await);
    }
    let nobody = app.nobody();
    for answer in join_all(callbacks.iter().map(|callback| nobody.get(callback))).await {
        answer.expect(200);
    }
    let path = format!("/sources/{}", id(&source));
    assert_eq!(ada.caller.post(&format!("{path}/test"), &json!({})).await.expect(200)["ok"], true);
    ada.caller.post(&format!("{path}/pause"), &json!({})).await.expect(200);
    nobody.get(&approved(&ada, &source).await).await.expect(200);
    assert_eq!(ada.caller.get(&path).await.expect(200)["state"], "paused");
    app.stop().await;
    product.stop().await.unwrap();
}
