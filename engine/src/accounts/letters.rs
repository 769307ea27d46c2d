//! Letters to the owners of an account that is to be deleted.

use url::Url;

use super::recipients::recipients;
use crate::{
    letters::{AccountDeletion, DeletionStage, account_deletion},
    model::{Account, Role, User, UserId, scope::SystemScope},
    ports::Ports,
    store::{Store, key1},
};

/// Tells each owner how far the deletion is that `by`, a user's id, asked for or took back. What it tells has happened: a letter that
/// cannot be sent is told in the log, and the activity has the event all the same.
pub async fn tell_owners(
    ports: &Ports,
    system: &SystemScope,
    account: &Account,
    by: &str,
    stage: DeletionStage,
    link: Option<&Url>,
) {
    let store = Store::new(ports.tables.clone());
    let owners = match recipients(&store, system, account, |role| role == Role::Owner).await {
        Ok(owners) => owners,
        Err(error) => {
            tracing::error!(%error, account = %account.account_id, "the owners of an account were not told of its deletion");
            return;
        }
    };
    let name = name_of(&store, system, by).await;
    let by = name.as_deref().unwrap_or("Somebody who owns it");
    let facts = AccountDeletion { account: &account.name, by, stage, link };
    for owner in owners {
        let letter = account_deletion(&owner.email, &facts);
        if let Err(error) = ports.mail.send(&letter).await {
            let (account, user) = (account.account_id, owner.user_id);
            tracing::error!(%error, %account, %user, "a letter about the deletion of an account was not sent");
        }
    }
}

async fn name_of(store: &Store, system: &SystemScope, actor: &str) -> Option<String> {
    let user_id: UserId = actor.parse().ok()?;
    Some(store.find::<User>(system, key1(user_id)).await.ok()??.row.name)
}
