//! `listbackup sandbox`: the make-believe SaaS product, alone.

use std::net::SocketAddr;

use super::{
    exit::{Done, Outcome},
    output,
};
use crate::{
    sandbox::{Sandbox, SandboxSettings},
    server, signal,
};

/// Arguments of `sandbox`.
#[derive(clap::Args)]
#[command(after_help = "\
Example: listbackup sandbox --records 100000 --seed 7
Then, elsewhere: listbackup backup --integration sandbox --set base_url=http://127.0.0.1:8710 --set credentials.auth_type=api_key --set credentials.api_key=sandbox-key
Change some records: curl -d '{\"change\":0.01,\"insert\":0.005,\"delete\":0.001}' http://127.0.0.1:8710/_sandbox/mutate")]
pub struct Args {
    /// Contacts that the product has; its other streams are in proportion
    #[arg(long, value_name = "N", default_value_t = 1000)]
    records: u64,
    /// The same seed makes the same records
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Requests a second before it answers 429 [default: no limit]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    rate_limit: u32,
    /// Address
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8710")]
    listen: SocketAddr,
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let settings = SandboxSettings {
        records: args.records,
        seed: args.seed,
        rate_limit_per_second: args.rate_limit,
        listen: args.listen,
        ..SandboxSettings::default()
    };
    let sandbox = Sandbox::start(settings).await.map_err(|error| server::unusable(args.listen, &error))?;
    output::line(&format!("the sandbox is up at {}", sandbox.url()));
    signal::stop().await;
    sandbox.stop().await?;
    Ok(Done::Whole)
}
