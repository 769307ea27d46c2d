//! A run as plain async functions.
