//! `--record-http` and `--replay-http`: exchanges kept in a folder, and answered from it.

use std::{path::PathBuf, sync::Arc};

use listbackup_engine::{
    Result,
    connectors::{
        Connector, Result as ConnectorResult,
        http::{
            Wire,
            tape::{Recorder, Replay, Secrets},
        },
    },
};

use crate::cli::product::{Chosen, Product};

/// Where exchanges are written, or answered from.
#[derive(clap::Args, Clone, Debug)]
pub struct Tape {
    /// Write each HTTP exchange to a file in this folder, without secrets
    #[arg(long, value_name = "DIR", conflicts_with = "replay_http")]
    record_http: Option<PathBuf>,
    /// Answer from exchanges recorded in this folder; nothing is sent
    #[arg(long, value_name = "DIR")]
    replay_http: Option<PathBuf>,
}

impl Tape {
    /// Connects the product, over a recording if one is wanted.
    ///
    /// # Errors
    /// As for [`Product::choose`] and [`Chosen::connect`]; `Invalid` for a folder that cannot be used.
    pub fn connect(&self, product: &Product) -> Result<Arc<dyn Connector>> {
        let chosen = product.choose()?;
        let wire = self.wire(&chosen)?;
        chosen.connect_over(wire)
    }

    fn wire(&self, chosen: &Chosen) -> ConnectorResult<Wire> {
        if let Some(folder) = &self.record_http {
            return Ok(Wire::default().recording(Recorder::new(folder, secrets(chosen))?));
        }
        replay(chosen, self.replay_http.as_ref())
    }
}

/// The network, or a recording from its start.
///
/// # Errors
/// `Invalid` for a folder that cannot be used.
pub fn replay(chosen: &Chosen, folder: Option<&PathBuf>) -> ConnectorResult<Wire> {
    let Some(folder) = folder else { return Ok(Wire::default()) };
    Ok(Wire::default().replaying(Replay::read(folder, secrets(chosen))?))
}

fn secrets(chosen: &Chosen) -> Arc<Secrets> {
    Arc::new(Secrets::of_settings(&chosen.integration.spec().settings_schema, &chosen.settings))
}
