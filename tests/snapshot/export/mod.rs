//! What an export holds is what the snapshot holds: every value of every record, in every format.

mod archive;
mod csv;
mod json;
mod parquet;
mod world;
