//! A run as plain async functions.

pub mod schedule;
