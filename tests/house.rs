//! House rules.
#[test]
fn a() {}
