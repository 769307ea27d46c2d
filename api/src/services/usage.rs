//! How much an account uses: from rows of sums, and from what can be counted at once.

use actix_web::web::{Data, Json, Path};
use jiff::civil::Date;
use listbackup_engine::{
    Result as EngineResult,
    accounts::members::PEOPLE,
    model::{
        AccountId, Membership,
        counter::{Of, day_of},
        role::Action,
        scope::AccountScope,
    },
    ports::{Query, SortRange},
    run::counted::{self, Counted},
    tables::USERS_ACCOUNTS,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Answer, subtree};
use crate::{
    body::Params,
    caller::{Caller, enter},
    schemas,
    state::AppState,
};

/// Members of one read.
const PAGE: usize = 500;

/// Whether with those below.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsageParams {
    /// Also the sums of the account with all below it in which the caller may read.
    #[param(required = false)]
    subtree: Option<bool>,
}

/// How much an account uses.
#[derive(Serialize, ToSchema)]
pub struct UsageView {
    /// The account.
    #[schema(value_type = schemas::AccountId)]
    account_id: AccountId,
    /// The first day, in UTC, of the month that runs are told of.
    #[schema(value_type = String, format = Date)]
    month_from: Date,
    /// Its own.
    #[serde(flatten)]
    own: Uses,
    /// With all accounts below it; absent unless it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    subtree: Option<Uses>,
}

/// How much is used.
#[derive(Default, Serialize, ToSchema)]
pub struct Uses {
    /// Accounts that it is the sum of.
    accounts: u64,
    /// Sources that are there.
    sources: u64,
    /// Members, in each account; not those who have their role from an account above.
    members: u64,
    /// Records of the newest snapshot of each source.
    live_records: u64,
    /// Bytes of the segments that hold them.
    stored_bytes: u64,
    /// Backups that ended this month, restores apart.
    runs_this_month: u64,
    /// Restores that did.
    restores_this_month: u64,
    /// Bytes that products sent this month.
    bytes_read_this_month: u64,
    /// Bytes that backups added to the store this month.
    bytes_stored_this_month: u64,
}

/// How much an account uses.
#[utoipa::path(get, path = "/accounts/{id}/usage",
    params(UsageParams, ("id" = String, Path, description = "The account's id.")),
    responses((status = 200, description = "What it uses now, and what this month came to.", body = UsageView)))]
pub async fn read(
    state: Data<AppState>,
    caller: Caller,
    id: Path<AccountId>,
    params: Params<UsageParams>,
) -> Answer<UsageView> {
    let there = enter(&state, &caller, *id, Action::Read).await?;
    let month_from = day_of(state.now()).first_of_month();
    let own = uses(&state, there.scope(), month_from).await?;
    let mut subtree = None;
    if params.0.subtree == Some(true) {
        let mut sum = Uses::default();
        for scope in subtree::readable(&state, &there).await?.scopes {
            sum.add(&uses(&state, &scope, month_from).await?);
        }
        subtree = Some(sum);
    }
    Ok(Json(UsageView { account_id: *id, month_from, own, subtree }))
}

async fn uses(state: &AppState, scope: &AccountScope, month_from: Date) -> EngineResult<Uses> {
    let now = counted::now(&state.store, scope, Of::Account).await?;
    let month = Counted::read(&state.store, scope, Of::Account, month_from, month_from.last_of_month()).await?.total();
    Ok(Uses {
        accounts: 1,
        sources: now.sources,
        members: members(state, scope).await?,
        live_records: now.figures.live_records,
        stored_bytes: now.figures.live_bytes,
        runs_this_month: month.runs.all(),
        restores_this_month: month.restores.all(),
        bytes_read_this_month: month.bytes_read,
        bytes_stored_this_month: month.bytes_stored,
    })
}

async fn members(state: &AppState, scope: &AccountScope) -> EngineResult<u64> {
    let query = Query {
        table: &USERS_ACCOUNTS,
        index: Some("by-account"),
        partition: scope.account_id().to_string(),
        sort: SortRange::Prefix(PEOPLE.to_owned()),
        descending: false,
        limit: PAGE,
        after: None,
    };
    Ok(state.store.all::<Membership>(scope, query).await?.len() as u64)
}

impl Uses {
    fn add(&mut self, more: &Self) {
        self.accounts += more.accounts;
        self.sources += more.sources;
        self.members += more.members;
        self.live_records += more.live_records;
        self.stored_bytes += more.stored_bytes;
        self.runs_this_month += more.runs_this_month;
        self.restores_this_month += more.restores_this_month;
        self.bytes_read_this_month += more.bytes_read_this_month;
        self.bytes_stored_this_month += more.bytes_stored_this_month;
    }
}
