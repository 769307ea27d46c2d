//! What the manifest runtime promises: published manifests load unmodified, and streams are read as their
//! manifests say, which is what the reference implementation makes of them.

#[path = "connectors/attachments.rs"]
mod attachments;
#[path = "connectors/budgets.rs"]
mod budgets;
#[path = "connectors/dynamic.rs"]
mod dynamic;
#[path = "connectors/failures.rs"]
mod failures;
#[path = "connectors/grades.rs"]
mod grades;
#[path = "connectors/kit.rs"]
mod kit;
#[path = "connectors/malicious.rs"]
mod malicious;
#[path = "connectors/ours.rs"]
mod ours;
#[path = "connectors/pages.rs"]
mod pages;
#[path = "connectors/plug_ins.rs"]
mod plug_ins;
#[path = "support/program.rs"]
#[allow(dead_code, reason = "each test binary uses a part of the kit")]
mod program;
#[path = "connectors/published.rs"]
mod published;
#[path = "connectors/rare.rs"]
mod rare;
#[path = "connectors/reference.rs"]
mod reference;
#[path = "connectors/refusals.rs"]
mod refusals;
#[path = "connectors/slices.rs"]
mod slices;
#[path = "connectors/stand_ins.rs"]
mod stand_ins;
#[path = "connectors/stuck.rs"]
mod stuck;
#[path = "connectors/tapes.rs"]
mod tapes;
