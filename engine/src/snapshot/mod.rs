//! The snapshot store.
