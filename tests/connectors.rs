//! What the manifest runtime promises: published manifests load unmodified, and streams are read as their manifests say.

#[path = "connectors/attachments.rs"]
mod attachments;
#[path = "connectors/dynamic.rs"]
mod dynamic;
#[path = "connectors/failures.rs"]
mod failures;
#[path = "connectors/kit.rs"]
mod kit;
#[path = "connectors/pages.rs"]
mod pages;
#[path = "connectors/plug_ins.rs"]
mod plug_ins;
#[path = "connectors/published.rs"]
mod published;
#[path = "connectors/refusals.rs"]
mod refusals;
#[path = "connectors/slices.rs"]
mod slices;
