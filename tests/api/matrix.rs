//! The wall between tenants, route by route: every route of the table with every kind of caller. A new route fails this until it has a
//! row in `rows.rs`.

use std::collections::BTreeSet;

use listbackup::{caller::Guard, routes::Route};
use listbackup_engine::{
    model::{Account, AccountId, Role, role::Action},
    ports::{Query, SortRange},
    store::{key1, put},
    tables::{API_KEYS, BILLING, COUNTERS, INTEGRATIONS, JOBS, RUNS, SOURCES, TableSchema, USERS_ACCOUNTS, WEBHOOKS},
};
use serde_json::{Map, Value, json};

use crate::{
    access::remove,
    kit::{App, Person, client::Caller, token},
    rows::{Ids, all_routes, call},
};

/// Who calls, seen from the account whose things are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A member of the account.
    Member(Role),
    /// An admin of the account above, at work in this one.
    AdminAbove,
    /// An admin of an account below, at work there.
    AdminBelow,
    /// Was an owner, and is no member any more.
    Removed,
    /// The owner of an account elsewhere.
    OtherTenant,
    /// An owner's access key that may operate.
    AccessKey,
    /// No credentials.
    Nobody,
}

const KINDS: [Kind; 11] = [
    Kind::Member(Role::Owner),
    Kind::Member(Role::Admin),
    Kind::Member(Role::Operator),
    Kind::Member(Role::Viewer),
    Kind::Member(Role::Billing),
    Kind::AdminAbove,
    Kind::AdminBelow,
    Kind::Removed,
    Kind::OtherTenant,
    Kind::AccessKey,
    Kind::Nobody,
];

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is carried out, or fails for what it asks and not for who asks.
    In,
    /// 403.
    Forbidden,
    /// 404: the thing is nobody's, as far as they can tell.
    Hidden,
    /// 401.
    Unknown,
}

impl Kind {
    /// Where they work they have this role; `None` for who works nowhere.
    fn role(self) -> Option<Role> {
        match self {
            Self::Member(role) => Some(role),
            Self::AdminAbove | Self::AdminBelow => Some(Role::Admin),
            Self::OtherTenant => Some(Role::Owner),
            Self::AccessKey => Some(Role::Operator),
            Self::Removed | Self::Nobody => None,
        }
    }

    /// True for who works in another account than the one whose things are named.
    fn is_elsewhere(self) -> bool {
        matches!(self, Self::AdminBelow | Self::OtherTenant)
    }

    fn fate(self, route: &Route) -> Fate {
        let Some(role) = self.role() else { return Fate::Unknown };
        let is_person = self != Self::AccessKey;
        let is_let_in = match route.guard {
            Guard::Open | Guard::Operator => return Fate::In,
            // Everybody may leave, and who is named is somebody else.
            Guard::Member if route.path.ends_with("/members/{user}") && !self.is_elsewhere() => {
                role.allows(Action::Administer)
            }
            Guard::Member => true,
            Guard::Person => is_person,
            Guard::May(action) => role.allows(action),
            Guard::PersonMay(action) => is_person && role.allows(action),
        };
        match (is_let_in, self.is_elsewhere() && route.path.contains("{id}")) {
            (false, _) => Fate::Forbidden,
            (true, true) => Fate::Hidden,
            (true, false) => Fate::In,
        }
    }
}

/// An account with something in it, and one kind of caller.
struct Scene {
    owner: Person,
    ids: Ids,
    caller: Caller,
}

impl Scene {
    async fn of(app: &App, kind: Kind, number: usize) -> Self {
        let owner = app.person(&format!("owner{number}")).await;
        let ids = Ids::of(app, &owner).await;
        let name = format!("caller{number}");
        let caller = match kind {
            Kind::Member(Role::Owner) => owner.caller.clone(),
            Kind::Member(role) => app.member(&name, &owner, role).await.caller,
            Kind::AdminAbove => above(app, &owner, &name).await,
            Kind::AdminBelow => below(app, &owner, &name).await,
            Kind::Removed => {
                let member = app.member(&name, &owner, Role::Owner).await;
                remove(app, &member).await;
                member.caller
            }
            Kind::OtherTenant => app.person(&name).await.caller,
            Kind::AccessKey => {
                let made = owner.caller.post("/auth/keys", &json!({ "name": "k", "role": "operator" })).await;
                app.nobody().with_token(made.expect(201)["secret"].as_str().unwrap())
            }
            Kind::Nobody => app.nobody(),
        };
        Self { owner, ids, caller }
    }
}

/// An admin of a new account above the owner's, at work in the owner's.
async fn above(app: &App, owner: &Person, name: &str) -> Caller {
    let top = app.person(&format!("{name}top")).await;
    let mut account = app.store.get::<Account>(&app.system, key1(owner.account_id)).await.unwrap().row;
    (account.parent_id, account.root_id) = (Some(top.account_id), top.account_id);
    account.path = format!("/{}/{}/", top.account_id, owner.account_id);
    let write = put(&account, listbackup_engine::ports::Condition::Any).unwrap();
    app.store.transact(&app.system, vec![write]).await.unwrap();
    let admin = app.member(name, &top, Role::Admin).await;
    admin.caller.with_token(token(app.login(&admin.email, Some(owner.account_id)).await.expect(200)))
}

/// An admin of an account below the owner's, at work there.
async fn below(app: &App, owner: &Person, name: &str) -> Caller {
    let path = format!("/accounts/{}/children", owner.account_id);
    let made = owner.caller.post(&path, &json!({ "name": "Below" })).await;
    let account_id: AccountId = made.expect(201)["id"].as_str().unwrap().parse().unwrap();
    let child = Person { account_id, caller: owner.caller.clone(), email: owner.email.clone(), user_id: owner.user_id };
    app.member(name, &child, Role::Admin).await.caller
}

/// All that is stored of an account and may not be touched from elsewhere.
async fn stored(app: &App, account_id: AccountId) -> Vec<Value> {
    const PLACES: [(&TableSchema, Option<&str>); 9] = [
        (&SOURCES, None),
        (&JOBS, None),
        (&RUNS, Some("by-account")),
        (&API_KEYS, Some("by-account")),
        (&USERS_ACCOUNTS, Some("by-account")),
        (&COUNTERS, None),
        (&WEBHOOKS, None),
        (&BILLING, None),
        (&INTEGRATIONS, None),
    ];
    let account = app.store.get::<Account>(&app.system, key1(account_id)).await.unwrap().row;
    let mut rows = vec![json!(account)];
    for (table, index) in PLACES {
        let (partition, sort) = (account_id.to_string(), SortRange::All);
        let query = Query { table, index, partition, sort, descending: false, limit: 1000, after: None };
        let page = app.store.page(&app.system, query).await.unwrap();
        // What is derived of events comes by itself, a little after them.
        let is_derived = |row: &Map<String, Value>| row.contains_key("deliveryId") || row.contains_key("sequence");
        let bodies = page.items.into_iter().map(|item| item.body).filter(|row| !is_derived(row));
        rows.extend(bodies.map(Value::Object));
    }
    rows
}

/// Reads first and deletions last, so that each route finds things as long as they are there.
fn in_order() -> Vec<Route> {
    let mut routes = all_routes();
    routes.sort_by_key(|route| ["GET", "PATCH", "PUT", "POST", "DELETE"].iter().position(|verb| route.method == *verb));
    routes
}

/// True for what is there for sure when it is read.
fn is_there(route: &Route) -> bool {
    let first = route.path.split('/').nth(1).unwrap_or_default();
    let is_list_or_thing =
        !route.path.contains("{") || ["accounts", "sources", "jobs", "runs", "webhooks"].contains(&first);
    route.method == "GET" && is_list_or_thing && !NEEDS_MORE.contains(&route.path)
}

/// Reads that ask for parameters, for a product behind the source, or for payments.
const NEEDS_MORE: [&str; 7] = [
    "/data/search",
    "/data/records/history",
    "/integrations/oauth/callback",
    "/sources/{id}/streams",
    "/metrics",
    "/billing/invoices",
    "/billing/payment-methods",
];

/// The body has a proof in it, and a wrong one.
const PROVES: [&str; 4] = ["/accounts/invitations/accept", "/auth/password", "/auth/mfa/enable", "/auth/mfa/disable"];

async fn check(kind: Kind, scene: &Scene, route: &Route) {
    let answer = call(route, &scene.caller, &scene.ids).await;
    let what = format!("{} {} by {kind:?}: {} {}", route.method, route.path, answer.status, answer.text);
    assert!(answer.status < 500 || answer.status == 501, "{what}");
    if matches!(route.guard, Guard::Open | Guard::Operator) {
        return;
    }
    match kind.fate(route) {
        Fate::In => {
            let is_refused = [401, 403].contains(&answer.status);
            assert!(!is_refused || PROVES.contains(&route.path) && answer.status == 403, "{what}");
            assert!(!answer.text.contains("your role"), "{what}");
            assert!(!is_there(route) || answer.status == 200, "{what}");
        }
        Fate::Forbidden => assert_eq!(answer.status, 403, "{what}"),
        Fate::Hidden => assert_eq!((answer.status, &answer.body["code"]), (404, &json!("not_found")), "{what}"),
        Fate::Unknown => assert_eq!((answer.status, &answer.body["code"]), (401, &json!("unauthenticated")), "{what}"),
    }
    if kind.is_elsewhere() && answer.status < 300 {
        let ids = [&scene.ids.source, &scene.ids.job, &scene.ids.run, &scene.ids.key, &scene.ids.webhook];
        assert!(ids.iter().all(|id| !answer.text.contains(*id)), "shows what is another account's: {what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_does_for_every_kind_of_caller_what_its_guard_says_and_nothing_for_others() {
    let app = App::start().await;
    let routes = in_order();
    let distinct: BTreeSet<_> = routes.iter().map(|route| (route.method.as_str(), route.path)).collect();
    assert_eq!(distinct.len(), routes.len());
    for (number, kind) in KINDS.into_iter().enumerate() {
        let scene = Scene::of(&app, kind, number).await;
        let before = stored(&app, scene.owner.account_id).await;
        for route in &routes {
            check(kind, &scene, route).await;
        }
        if kind.is_elsewhere() || kind.role().is_none() {
            assert_eq!(
                stored(&app, scene.owner.account_id).await,
                before,
                "{kind:?} changed what is another account's"
            );
        }
    }
    println!("{} routes x {} callers = {} calls", routes.len(), KINDS.len(), routes.len() * KINDS.len());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_another_accounts_source_and_a_move_below_it_are_refused() {
    let app = App::start().await;
    let scene = Scene::of(&app, Kind::OtherTenant, 0).await;
    let body = json!({ "source_id": scene.ids.source, "name": "theft", "schedule": { "kind": "manual" } });
    assert_eq!(scene.caller.post("/jobs", &body).await.pointers(), ["/source_id"]);
    let by_source = scene.caller.get(&format!("/jobs?source_id={}", scene.ids.source)).await;
    assert_eq!(by_source.expect(200)["items"], json!([]));
    let log = scene.caller.get("/activity").await;
    assert!(!log.text.contains(&scene.ids.account) && !log.text.contains(&scene.ids.run));
    app.stop().await;
}
