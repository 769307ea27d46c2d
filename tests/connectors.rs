//! What the manifest runtime promises: published manifests load unmodified, and streams are read as their manifests say.

#[path = "connectors/published.rs"]
mod published;
