//! The list prices of `deploy/README.md`: us-east-1, US dollars, November 2025.

use crate::requests::{
    Counts,
    map::{Billed, Service},
};

/// What each unit costs.
pub const UNITS: [(Service, Billed, f64); 7] = [
    (Service::DynamoDb, Billed::Writes, 0.625 / 1e6),
    (Service::DynamoDb, Billed::Reads, 0.125 / 1e6),
    (Service::S3, Billed::Puts, 0.005 / 1e3),
    (Service::S3, Billed::Gets, 0.0004 / 1e3),
    (Service::Sqs, Billed::Each, 0.40 / 1e6),
    (Service::EventBridge, Billed::Each, 1.00 / 1e6),
    (Service::Kms, Billed::Each, 0.03 / 1e4),
];

/// What requests cost.
pub fn dollars(counts: &Counts) -> f64 {
    UNITS.iter().map(|(service, billed, price)| counts.units(*service, *billed) * price).sum()
}
