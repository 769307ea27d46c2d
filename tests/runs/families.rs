//! One tree of accounts, however the calls of those who change it at the same time fall between each other.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::join_all;
use listbackup_engine::{
    ErrorKind, Result,
    accounts::{Acting, Office},
    billing::Plans,
    model::{
        Account, AccountId,
        scope::{Scope, SystemScope},
    },
    ports::{Condition, Item, ItemPage, Key, Ports, Query, SortRange, Tables, Write},
    store::{self, Store},
    tables::{ACCOUNTS, TableSchema},
};

use crate::{rules::product, world::World};

/// Tables of which each answer comes a while later, so that by the seed others come first.
struct Late(Ports);

impl Late {
    async fn wait(&self) {
        let mut byte = [0];
        self.0.random.fill(&mut byte);
        tokio::time::sleep(Duration::from_millis(u64::from(byte[0] % 16))).await;
    }
}

#[async_trait]
impl Tables for Late {
    async fn get(&self, scope: Scope<'_>, table: &'static TableSchema, key: &Key) -> Result<Option<Item>> {
        self.wait().await;
        self.0.tables.get(scope, table, key).await
    }

    async fn transact(&self, scope: Scope<'_>, writes: Vec<Write>) -> Result<()> {
        self.wait().await;
        self.0.tables.transact(scope, writes).await
    }

    async fn query(&self, scope: Scope<'_>, query: Query) -> Result<ItemPage> {
        self.wait().await;
        self.0.tables.query(scope, query).await
    }

    fn index_delay(&self) -> Duration {
        self.0.tables.index_delay()
    }
}

/// A root with accounts right below it.
async fn family(world: &World, below: usize) -> (AccountId, Vec<AccountId>) {
    let new = || AccountId::new(&*world.ports.clock, &*world.ports.random);
    let now = world.ports.clock.now();
    let mut root = Account::root(new(), "root".to_owned(), now);
    root.children = u32::try_from(below).expect("few");
    let children: Vec<_> = (0..below).map(|at| root.child(new(), format!("child {at}"), now)).collect();
    let rows = std::iter::once(&root).chain(&children);
    let writes = rows.map(|account| store::put(account, Condition::Absent).expect("a row")).collect();
    Store::new(world.ports.tables.clone()).transact(&world.system, writes).await.expect("written");
    (root.account_id, children.into_iter().map(|child| child.account_id).collect())
}

async fn listed(world: &World, root_id: AccountId) -> Vec<Account> {
    let query = Query {
        table: &ACCOUNTS,
        index: Some("by-root"),
        partition: root_id.to_string(),
        sort: SortRange::All,
        descending: false,
        limit: 100,
        after: None,
    };
    Store::new(world.ports.tables.clone()).all(&world.system, query).await.expect("accounts")
}

/// Each account is listed after the one above it, whose path its own goes on, and each knows how many are right below it.
fn assert_one_tree(accounts: &[Account], seed: u64) {
    for (at, account) in accounts.iter().enumerate() {
        let children = accounts.iter().filter(|other| other.parent_id == Some(account.account_id)).count();
        assert_eq!(account.children as usize, children, "seed {seed}: {account:?}");
        let Some(parent_id) = account.parent_id else { continue };
        let parent = accounts[..at].iter().find(|other| other.account_id == parent_id);
        let above = &parent.unwrap_or_else(|| panic!("seed {seed}: nothing above {account:?}")).path;
        assert_eq!(account.path, format!("{above}{}/", account.account_id), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn moves_and_new_accounts_keep_one_tree_whoever_comes_first() {
    for seed in 0..100 {
        let size = 2 + usize::try_from(seed % 3).expect("few");
        let world = World::in_memory(seed, product(1)).await;
        let (root_id, accounts) = family(&world, size).await;
        let ports = Ports { tables: Arc::new(Late(world.ports.clone())), ..world.ports.clone() };
        let (store, plans) = (Store::new(ports.tables.clone()), Plans::default());
        let office = Office { ports: &ports, store: &store, system: &world.system, plans: &plans };
        // Each under the next one, in a circle, while each gets another account below it.
        let moves = (0..size).map(|at| moved(office, &world.system, accounts[at], accounts[(at + 1) % size]));
        let added = accounts.iter().map(|above| added(office, &world, *above));
        let (moved, _) = tokio::join!(join_all(moves), join_all(added));
        for error in moved.iter().filter_map(|moved| moved.as_ref().err()) {
            let kind = error.kind();
            assert!(matches!(kind, ErrorKind::Invalid | ErrorKind::Conflict), "seed {seed}: {error:?}");
        }
        assert!(moved.iter().any(Result::is_err), "seed {seed}: not all of a circle can be done");
        let accounts = listed(&world, root_id).await;
        assert_eq!(accounts.len(), 1 + 2 * size, "seed {seed}");
        assert_one_tree(&accounts, seed);
    }
}

async fn moved(office: Office<'_>, system: &SystemScope, account_id: AccountId, to: AccountId) -> Result<()> {
    let scope = system.account(account_id);
    office.move_account(Acting { scope: &scope, actor: "ada", may_own: true }, to).await.map(drop)
}

async fn added(office: Office<'_>, world: &World, above: AccountId) {
    let scope = world.system.account(above);
    let child_id = AccountId::new(&*world.ports.clock, &*world.ports.random);
    let acting = Acting { scope: &scope, actor: "ada", may_own: true };
    office.add_child(acting, child_id, "leaf").await.expect("an account below");
}
