//! Invoices and cards, as Stripe has them: nothing of it is kept here.

use actix_web::web::{Data, Json};
use jiff::Timestamp;
use listbackup_engine::billing::stripe::{Invoice, PaymentMethod};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Answer,
    billing::{books, own_standing},
};
use crate::{
    body::Params,
    caller::Caller,
    paging::{Page, PageParams},
    state::AppState,
};

/// An invoice.
#[derive(Serialize, ToSchema)]
pub struct InvoiceView {
    /// Its id at Stripe.
    id: String,
    /// Its number on paper; absent while it is a draft.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<String>,
    /// `draft`, `open`, `paid`, `uncollectible` or `void`.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    /// In the smallest unit of the currency.
    total: i64,
    /// Of that, what is to be paid.
    amount_due: i64,
    /// Three letters of ISO 4217, in lower case.
    currency: String,
    /// When it was made.
    created_at: Timestamp,
    /// A page of Stripe that shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    page_url: Option<String>,
    /// The document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pdf_url: Option<String>,
}

/// A card.
#[derive(Serialize, ToSchema)]
pub struct PaymentMethodView {
    /// Its id at Stripe.
    id: String,
    /// Its brand.
    brand: String,
    /// The last four digits.
    last4: String,
    /// The month in which it ends.
    exp_month: i64,
    /// The year in which it ends.
    exp_year: i64,
}

/// Invoices of this account, newest first; none before its first checkout.
#[utoipa::path(get, path = "/billing/invoices", params(PageParams), responses(
    (status = 200, description = "A page of invoices.", body = Page<InvoiceView>),
    (status = 409, description = "There are no payments here (`payments_off`).",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn list(state: Data<AppState>, caller: Caller, page: Params<PageParams>) -> Answer<Page<InvoiceView>> {
    // What Stripe gives for one request.
    const STRIPES_LIMIT: usize = 100;
    let books = books(&state)?;
    let Some(standing) = own_standing(&state, &caller).await? else { return Ok(Json(Page::whole(Vec::new()))) };
    let limit = page.0.limit().min(STRIPES_LIMIT);
    let found = books.stripe.invoices(&standing.customer_id, limit, page.0.cursor.as_deref()).await?;
    let (invoices, has_more) = found;
    let next_cursor = invoices.last().filter(|_| has_more).map(|last| last.id.clone());
    Ok(Json(Page { items: invoices.into_iter().map(InvoiceView::of).collect(), next_cursor }))
}

/// Cards of this account; they are changed in the billing portal.
#[utoipa::path(get, path = "/billing/payment-methods", responses(
    (status = 200, description = "The cards.", body = Page<PaymentMethodView>),
    (status = 409, description = "There are no payments here (`payments_off`).",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn cards(state: Data<AppState>, caller: Caller) -> Answer<Page<PaymentMethodView>> {
    let books = books(&state)?;
    let Some(standing) = own_standing(&state, &caller).await? else { return Ok(Json(Page::whole(Vec::new()))) };
    let cards = books.stripe.payment_methods(&standing.customer_id).await?;
    Ok(Json(Page::whole(cards.into_iter().map(PaymentMethodView::of).collect())))
}

impl InvoiceView {
    fn of(invoice: Invoice) -> Self {
        let Invoice { id, number, status, total, amount_due, currency, created_at, page_url, pdf_url } = invoice;
        Self { id, number, status, total, amount_due, currency, created_at, page_url, pdf_url }
    }
}

impl PaymentMethodView {
    fn of(card: PaymentMethod) -> Self {
        let PaymentMethod { id, brand, last4, exp_month, exp_year } = card;
        Self { id, brand, last4, exp_month, exp_year }
    }
}
