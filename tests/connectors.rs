//! What the manifest runtime promises: published manifests load unmodified, and streams are read as their manifests say.

#[path = "connectors/attachments.rs"]
mod attachments;
#[path = "connectors/failures.rs"]
mod failures;
#[path = "connectors/kit.rs"]
mod kit;
#[path = "connectors/ours.rs"]
mod ours;
#[path = "connectors/pages.rs"]
mod pages;
#[path = "connectors/published.rs"]
mod published;
#[path = "connectors/refusals.rs"]
mod refusals;
#[path = "connectors/slices.rs"]
mod slices;
#[path = "connectors/stand_ins.rs"]
mod stand_ins;
