//! Families of accounts: members, invitations, accounts below accounts.

use serde_json::{Value, json};

use listbackup_engine::{
    accounts::tree::{LEVELS_MAX, MOVED_MAX},
    model::{AccountId, Role},
};

use crate::kit::{App, Person, client::Caller, token};

/// Makes an account below another one; its id.
pub async fn child(of: &Caller, parent: &str, name: &str) -> String {
    let made = of.post(&format!("/accounts/{parent}/children"), &json!({ "name": name })).await;
    made.expect(201)["id"].as_str().unwrap().to_owned()
}

/// The person at work in another account.
pub async fn at_work_in(app: &App, person: &Person, account_id: &str) -> Caller {
    let account_id: AccountId = account_id.parse().unwrap();
    person.caller.with_token(token(app.login(&person.email, Some(account_id)).await.expect(200)))
}

async fn invite(by: &Person, email: &str, role: &str) -> Value {
    let invitation = json!({ "email": email, "role": role });
    by.caller.post(&format!("/accounts/{}/invitations", by.account_id), &invitation).await.expect(201).clone()
}

fn member(of: &Person, who: &Person) -> String {
    format!("/accounts/{}/members/{}", of.account_id, who.user_id)
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_invited_becomes_a_member_once_by_the_code_in_the_letter() {
    let app = App::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    let made = invite(&ada, "Bob@Example.com", "operator").await;
    let accept = json!({ "code": app.code_for(&bob.email) });
    let listed = ada.caller.get(&format!("/accounts/{}/invitations", ada.account_id)).await;
    assert_eq!(listed.expect(200)["items"][0], made);
    assert!(!listed.text.contains(accept["code"].as_str().unwrap()));

    let joined = bob.caller.post("/accounts/invitations/accept", &accept).await;
    assert_eq!(joined.expect(200), &json!({ "id": ada.account_id, "name": "ada", "role": "operator" }));
    bob.caller.post("/accounts/invitations/accept", &accept).await.expect(403);
    let there = at_work_in(&app, &bob, &ada.account_id.to_string()).await;
    assert_eq!(there.get("/auth/me").await.expect(200)["role"], "operator");
    assert_eq!(
        ada.caller.get(&format!("/accounts/{}/invitations", ada.account_id)).await.expect(200)["items"],
        json!([])
    );
    let members = ada.caller.get(&format!("/accounts/{}/members", ada.account_id)).await;
    assert_eq!(names(members.expect(200)), ["ada", "bob"]);
    for kind in ["member.invited", "member.added"] {
        assert_eq!(ada.caller.get(&format!("/activity?kind={kind}")).await.expect(200)["items"][0]["kind"], kind);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_for_its_address_only_and_for_nobody_once_it_is_taken_back() {
    let app = App::start().await;
    let (ada, bob, eve) = (app.person("ada").await, app.person("bob").await, app.person("eve").await);
    let made = invite(&ada, &bob.email, "viewer").await;
    let first = json!({ "code": app.code_for(&bob.email) });
    eve.caller.post("/accounts/invitations/accept", &first).await.expect(403);
    let path = format!("/accounts/{}/invitations/{}", ada.account_id, made["id"].as_str().unwrap());
    ada.caller.post(&format!("{path}/resend"), &Value::Null).await.expect(200);
    let second = json!({ "code": app.code_for(&bob.email) });
    bob.caller.post("/accounts/invitations/accept", &first).await.expect(403);
    ada.caller.delete(&path).await.expect(204);
    ada.caller.delete(&path).await.expect(404);
    bob.caller.post("/accounts/invitations/accept", &second).await.expect(403);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_code_that_is_used_many_times_at_once_one_use_counts() {
    let app = App::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    invite(&ada, &bob.email, "viewer").await;
    let accept = json!({ "code": app.code_for(&bob.email) });
    let uses = (0..8).map(|_| bob.caller.post("/accounts/invitations/accept", &accept));
    let answers = futures::future::join_all(uses).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_that_is_asked_for_twice_under_one_key_is_one() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let path = format!("/accounts/{}/invitations", ada.account_id);
    let bob = json!({ "email": "bob@example.com", "role": "viewer" });
    let once = ada.caller.with("idempotency-key", "1");
    let (first, again) = (once.post(&path, &bob).await, once.post(&path, &bob).await);
    assert_eq!(first.expect(201)["id"], again.expect(201)["id"]);
    ada.caller.post(&path, &bob).await.expect(409);
    ada.caller.post(&path, &json!({ "email": ada.email, "role": "viewer" })).await.expect(409);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_address_is_not_invited() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let path = format!("/accounts/{}/invitations", ada.account_id);
    for email in ["bob", "bob@example", "bob@example.com, eve@example.com"] {
        let refused = ada.caller.post(&path, &json!({ "email": email, "role": "viewer" })).await;
        assert_eq!(refused.pointers(), ["/email"], "{email}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_owners_give_and_take_ownership() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let (bob, cy) = (app.member("bob", &ada, Role::Admin).await, app.member("cy", &ada, Role::Viewer).await);
    let owner = json!({ "role": "owner" });
    bob.caller.patch(&member(&ada, &cy), &owner).await.expect(403);
    bob.caller.patch(&member(&ada, &ada), &json!({ "role": "viewer" })).await.expect(403);
    bob.caller.delete(&member(&ada, &ada)).await.expect(403);
    let invitation = json!({ "email": "new@example.com", "role": "owner" });
    bob.caller.post(&format!("/accounts/{}/invitations", ada.account_id), &invitation).await.expect(403);
    bob.caller.patch(&member(&ada, &cy), &json!({ "role": "operator" })).await.expect(200);
    assert_eq!(cy.caller.get("/auth/me").await.expect(200)["role"], "operator");
    ada.caller.patch(&member(&ada, &cy), &owner).await.expect(200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_owner_cannot_leave_however_many_leave_at_once() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    ada.caller.delete(&member(&ada, &ada)).await.expect(409);
    ada.caller.patch(&member(&ada, &ada), &json!({ "role": "admin" })).await.expect(409);
    let bob = app.member("bob", &ada, Role::Owner).await;
    let cy = app.member("cy", &ada, Role::Owner).await;
    let paths: Vec<_> = [&ada, &bob, &cy].map(|person| (person, member(&ada, person))).into();
    let left = futures::future::join_all(paths.iter().map(|(person, path)| person.caller.delete(path))).await;
    let mut statuses: Vec<_> = left.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 204, 409]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_taken_out_is_refused_from_the_next_call_on() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let bob = app.member("bob", &ada, Role::Viewer).await;
    let cy = app.member("cy", &ada, Role::Viewer).await;
    bob.caller.delete(&member(&ada, &cy)).await.expect(403);
    ada.caller.delete(&member(&ada, &bob)).await.expect(204);
    bob.caller.get("/sources").await.expect(401);
    cy.caller.delete(&member(&ada, &cy)).await.expect(204);
    cy.caller.get("/sources").await.expect(401);
    ada.caller.delete(&member(&ada, &cy)).await.expect(404);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_holds_below_and_can_be_changed_there_but_an_owner_owns_all() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let bob = app.member("bob", &ada, Role::Operator).await;
    let branch = child(&ada.caller, &ada.account_id.to_string(), "Branch").await;
    let shop = child(&ada.caller, &branch, "Shop").await;
    let role = async |who: &Person, account: &str| {
        at_work_in(&app, who, account).await.get("/auth/me").await.expect(200)["role"].as_str().unwrap().to_owned()
    };
    assert_eq!((role(&bob, &branch).await, role(&bob, &shop).await), ("operator".into(), "operator".into()));
    let at_branch = |who: &Person| format!("/accounts/{branch}/members/{}", who.user_id);
    ada.caller.patch(&at_branch(&bob), &json!({ "role": "viewer" })).await.expect(200);
    assert_eq!((role(&bob, &branch).await, role(&bob, &shop).await), ("viewer".into(), "viewer".into()));
    assert_eq!(role(&bob, &ada.account_id.to_string()).await, "operator");
    ada.caller.delete(&at_branch(&bob)).await.expect(204);
    assert_eq!(role(&bob, &shop).await, "operator");
    ada.caller.patch(&at_branch(&ada), &json!({ "role": "viewer" })).await.expect(409);
    let eve = app.person("eve").await;
    ada.caller.patch(&at_branch(&eve), &json!({ "role": "viewer" })).await.expect(404);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subtree_moves_with_all_that_is_below_it_and_never_below_itself() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let root = ada.account_id.to_string();
    let (north, south) = (child(&ada.caller, &root, "North").await, child(&ada.caller, &root, "South").await);
    let city = child(&ada.caller, &north, "City").await;
    let shop = child(&ada.caller, &city, "Shop").await;
    let to = |parent: &str| json!({ "parent_id": parent });
    let move_of = |account: &str| format!("/accounts/{account}/move");
    assert_eq!(ada.caller.post(&move_of(&north), &to(&shop)).await.pointers(), ["/parent_id"]);
    assert_eq!(ada.caller.post(&move_of(&north), &to(&north)).await.pointers(), ["/parent_id"]);
    ada.caller.post(&move_of(&root), &to(&south)).await.expect(409);
    let moved = ada.caller.post(&move_of(&city), &to(&south)).await;
    assert_eq!(moved.expect(200)["parent_id"], south);
    let below = async |account: &str| {
        let list = ada.caller.get(&format!("/accounts/{account}/hierarchy")).await;
        names(list.expect(200)).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(below(&north).await, ["North"]);
    assert_eq!(below(&south).await, ["South", "City", "Shop"]);
    let eve = app.person("eve").await;
    let elsewhere = ada.caller.post(&move_of(&city), &to(&eve.account_id.to_string())).await;
    assert_eq!(elsewhere.pointers(), ["/parent_id"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_is_no_deeper_than_an_index_takes_by_making_and_by_moving() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let root = ada.account_id.to_string();
    let mut lowest = root.clone();
    for level in 2..=LEVELS_MAX {
        lowest = child(&ada.caller, &lowest, &level.to_string()).await;
    }
    let refused = ada.caller.post(&format!("/accounts/{lowest}/children"), &json!({ "name": "too deep" })).await;
    assert!(refused.expect(422)["detail"].as_str().unwrap().contains("33 deep"));
    let beside = child(&ada.caller, &root, "Beside").await;
    let to = json!({ "parent_id": lowest });
    assert_eq!(ada.caller.post(&format!("/accounts/{beside}/move"), &to).await.pointers(), ["/parent_id"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_accounts_than_one_transaction_holds_do_not_move_by_halves() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let root = ada.account_id.to_string();
    let (from, to) = (child(&ada.caller, &root, "From").await, child(&ada.caller, &root, "To").await);
    for number in 1..MOVED_MAX {
        child(&ada.caller, &from, &number.to_string()).await;
    }
    let (path, to) = (format!("/accounts/{from}/move"), json!({ "parent_id": to }));
    ada.caller.post(&path, &to).await.expect(200);
    child(&ada.caller, &from, "one more").await;
    assert_eq!(ada.caller.post(&path, &json!({ "parent_id": root })).await.pointers(), ["/parent_id"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_at_once_never_make_a_circle_and_lose_no_account() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let root = ada.account_id.to_string();
    let mut accounts = Vec::new();
    for name in ["a", "b", "c", "d"] {
        accounts.push(child(&ada.caller, &root, name).await);
    }
    // Each under the next one, in a circle, while each gets another child.
    let moves = (0..4).map(|at| {
        let (path, parent) = (format!("/accounts/{}/move", accounts[at]), &accounts[(at + 1) % 4]);
        let caller = &ada.caller;
        async move { caller.post(&path, &json!({ "parent_id": parent })).await.status }
    });
    let children = accounts.iter().map(|account| child(&ada.caller, account, "leaf"));
    let (statuses, leaves) = tokio::join!(futures::future::join_all(moves), futures::future::join_all(children));
    assert!(statuses.iter().all(|status| [200, 409, 422].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&422), "the last one of a circle is refused: {statuses:?}");
    let listed = ada.caller.get("/accounts").await;
    let all = listed.expect(200)["items"].as_array().unwrap();
    assert_eq!(all.len(), 1 + 4 + leaves.len());
    for account in all.iter().skip(1) {
        let above = all.iter().position(|other| other["id"] == account["parent_id"]).expect("its parent is listed");
        assert!(above < all.iter().position(|other| other["id"] == account["id"]).unwrap(), "parents come first");
    }
    app.stop().await;
}
