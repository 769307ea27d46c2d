//! What an integration is and how its records are read.
//!
//! A small crate: it builds in seconds and knows nothing of storage, actors or the cloud. Authors start at
//! [`connector`] (the contract) and `connectors/README.md`.

// Reading is futures within futures, from a connection's check down to the socket; the compiler's own limit is 128.
#![recursion_limit = "256"]

pub mod attachment;
pub mod catalog;
mod clock;
pub mod conformance;
pub mod connector;
pub mod error;
pub mod http;
pub mod manifest;
pub mod native;
pub mod oauth;
pub mod page;
pub mod registry;

pub use attachment::{Attachment, AttachmentBody, AttachmentRequest, ResumeAt};
pub use catalog::{Catalog, Deletions, OAuth2SignIn, Reference, SignIn, Spec, StreamSpec, WriteSpec};
pub use connector::{
    Authenticator, BackoffStrategy, BodyDecoder, Connector, CredentialStore, FailedItem, Integration, Link, PageEnd,
    PaginationStrategy, PartitionRouter, ReadEnd, ReadRequest, RecordExtractor, RecordFilter, RecordTransformation,
    RecordWriter, SchemaSource, Settings, StateMigration, TokenPlace, Tokens, WriteAction, WriteRequest, WrittenRecord,
};
pub use error::{Error, ErrorKind, Problem, Result};
pub use page::{KeySlices, Page, PageProgress, RecordSlice};
