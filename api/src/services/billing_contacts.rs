//! Who gets letters about payments. Kept also where there are no payments yet.

use actix_web::web::{Data, Json};
use listbackup_engine::{
    model::{ActivityKind, billing::BillingContacts, user::normal_address},
    ports::Condition,
    run::event::Subject,
    store::{key, put},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::Answer;
use crate::{
    body::Body,
    caller::Caller,
    changes::{commit, told},
    problem::Problem,
    schemas,
    state::AppState,
};

/// Who gets letters about payments.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactsView {
    /// Their addresses.
    #[schema(max_items = 10, value_type = Vec<schemas::EmailAddress>)]
    emails: Vec<String>,
}

/// Who gets letters about payments of this account: whoever began its first checkout, unless somebody said otherwise.
#[utoipa::path(get, path = "/billing/contacts", responses(
    (status = 200, description = "The contacts.", body = ContactsView)))]
pub async fn read(state: Data<AppState>, caller: Caller) -> Answer<ContactsView> {
    let place = key(caller.account_id(), BillingContacts::KEY);
    let found = state.store.find::<BillingContacts>(caller.scope(), place).await?;
    Ok(Json(ContactsView { emails: found.map(|found| found.row.emails).unwrap_or_default() }))
}

/// Says who gets letters about payments of this account from now on.
#[utoipa::path(put, path = "/billing/contacts", request_body = ContactsView, responses(
    (status = 200, description = "The contacts as they are now.", body = ContactsView)))]
pub async fn replace(state: Data<AppState>, caller: Caller, body: Body<ContactsView>) -> Answer<ContactsView> {
    let (mut emails, mut problems) = (Vec::new(), Vec::new());
    for (number, given) in body.value.emails.iter().enumerate() {
        match normal_address(given) {
            Some(email) if !emails.contains(&email) => emails.push(email),
            Some(_) => {}
            None => problems.push(Problem::field(format!("/emails/{number}"), "must be an e-mail address")),
        }
    }
    if !problems.is_empty() {
        return Err(Problem::invalid(problems));
    }
    let contacts = BillingContacts::new(caller.account_id(), emails);
    let details = [("emails", json!(contacts.emails))];
    let told = told(&state, &caller, ActivityKind::BillingContactsChanged, Subject::default(), details);
    commit(&state, caller.scope(), vec![put(&contacts, Condition::Any)?], told).await?;
    Ok(Json(ContactsView { emails: contacts.emails }))
}
