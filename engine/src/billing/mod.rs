//! Plans and who pays for them. What a plan limits is asked where a thing is made, under one row of the account that pays; Stripe is asked
//! by [`stripe`], and what it says becomes rows in [`standing`].
//!
//! Where no plan limits anything and none has a price, nothing here reads or writes a row.

pub mod allowance;
pub mod family;
pub mod letters;
pub mod payer;
pub mod plans;
pub mod retention;
pub mod standing;
pub mod stripe;

pub use allowance::Allowance;
pub use payer::Payer;
pub use plans::{Limit, Limits, Plan, Plans};
