//! `listbackup connector`: try a connector without storing anything.

mod compat;
mod conformance;
mod new;
mod tape;

use std::{collections::BTreeMap, fmt, fs, path::PathBuf, sync::Arc};

use clap::Subcommand;
use listbackup_engine::{
    Error, ErrorKind, Result,
    adapters::embedded::SystemClock,
    connectors::{Connector, Page, Problem, ReadRequest, StreamSpec},
    ports::Clock,
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, json, value::RawValue};
use tokio::sync::mpsc;

use self::tape::Tape;
use super::{
    exit::{Done, Outcome},
    output,
    product::Product,
};

/// Pages that may wait to be printed.
const PAGE_SLOTS: usize = 4;

/// Arguments of `connector`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

impl Args {
    /// True when the one JSON document was asked for.
    pub fn wants_json(&self) -> bool {
        match &self.action {
            Action::Compat { json, .. } => *json,
            Action::Test(args) => args.json,
            Action::New { .. } | Action::Check { .. } | Action::Discover { .. } | Action::Read { .. } => false,
        }
    }
}

#[derive(Subcommand)]
enum Action {
    /// Write a manifest to start from: NAME.yaml, which reads the sandbox.
    #[command(after_help = "Example: listbackup connector new my-shop")]
    New {
        /// The connector's name: lower case letters, digits and `-`
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Say what of manifests is unsupported or suspicious, before anything runs. Exit code 0: they run unmodified.
    #[command(after_help = "Example: listbackup connector compat shop.yaml crm.yaml")]
    Compat {
        /// Low-code manifests (YAML)
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Try the connection.
    #[command(after_help = "Example: listbackup connector check --manifest shop.yaml --set api_key=…")]
    Check {
        #[command(flatten)]
        product: Product,
        #[command(flatten)]
        tape: Tape,
    },
    /// List the streams.
    #[command(after_help = "Example: listbackup connector discover --integration sandbox --config sandbox.json")]
    Discover {
        #[command(flatten)]
        product: Product,
        #[command(flatten)]
        tape: Tape,
    },
    /// Print records and state as protocol messages, one JSON object a line.
    #[command(after_help = "Example: listbackup connector read --manifest shop.yaml --config shop.json --limit 10")]
    Read {
        #[command(flatten)]
        product: Product,
        #[command(flatten)]
        tape: Tape,
        /// Streams to read, as a configured catalog [default: all]
        #[arg(long, value_name = "FILE")]
        catalog: Option<PathBuf>,
        /// States to read from: a list of STREAM state messages
        #[arg(long, value_name = "FILE")]
        state: Option<PathBuf>,
        /// Records of each stream, at most
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
    },
    /// Read with faults on the way, and grade each line of the contract that shows. Exit code 0: none is broken.
    #[command(
        after_help = "Example: listbackup connector test --manifest shop.yaml --config shop.json --replay-http ./recorded"
    )]
    Test(conformance::Args),
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    match args.action {
        Action::New { name } => new::run(&name),
        Action::Test(args) => conformance::run(args).await,
        Action::Compat { files, json } => compat::run(&files, json),
        Action::Check { product, tape } => {
            tape.connect(&product)?.check().await?;
            output::line("the connection works");
            Ok(Done::Whole)
        }
        Action::Discover { product, tape } => {
            output::json(&tape.connect(&product)?.discover().await?);
            Ok(Done::Whole)
        }
        Action::Read { product, tape, catalog, state, limit } => {
            let connector = tape.connect(&product)?;
            let selected = selected(connector.discover().await?.streams, catalog.as_ref())?;
            let states = state.as_ref().map(read_states).transpose()?.unwrap_or_default();
            read_all(&connector, selected, &states, limit).await
        }
    }
}

/// A stream to read, and whether from a state.
struct Selected {
    stream: Arc<StreamSpec>,
    is_incremental: bool,
}

#[derive(Deserialize)]
struct ConfiguredCatalog {
    streams: Vec<ConfiguredStream>,
}

#[derive(Deserialize)]
struct ConfiguredStream {
    stream: StreamName,
    #[serde(default)]
    sync_mode: String,
}

#[derive(Deserialize)]
struct StreamName {
    name: String,
}

fn selected(streams: Vec<StreamSpec>, catalog: Option<&PathBuf>) -> Result<Vec<Selected>> {
    let Some(path) = catalog else {
        let all = streams.into_iter();
        return Ok(all
            .map(|stream| Selected { is_incremental: stream.is_incremental(), stream: Arc::new(stream) })
            .collect());
    };
    let catalog: ConfiguredCatalog = read_json(path)?;
    let known: Vec<String> = streams.iter().map(|stream| stream.name.clone()).collect();
    let mut by_name: BTreeMap<String, StreamSpec> =
        streams.into_iter().map(|stream| (stream.name.clone(), stream)).collect();
    let mut selected = Vec::new();
    let mut problems = Vec::new();
    for configured in catalog.streams {
        match by_name.remove(&configured.stream.name) {
            Some(stream) => selected
                .push(Selected { stream: Arc::new(stream), is_incremental: configured.sync_mode == "incremental" }),
            None => problems.push(Problem {
                place: format!("{}: stream {}", path.display(), configured.stream.name),
                message: format!("the connector has no such stream; it has: {}", known.join(", ")),
            }),
        }
    }
    if problems.is_empty() {
        Ok(selected)
    } else {
        Err(Error::invalid("the catalog does not fit the connector", problems))
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &PathBuf) -> Result<T> {
    let wrong = |message: String| Error::new(ErrorKind::Invalid, message).with("file", path.display());
    let text = fs::read_to_string(path).map_err(|error| wrong(format!("the file cannot be read: {error}")))?;
    serde_json::from_str(&text).map_err(|error| wrong(format!("not of the expected form: {error}")))
}

/// States by stream name.
fn read_states(path: &PathBuf) -> Result<BTreeMap<String, Value>> {
    let messages: Vec<Value> = read_json(path)?;
    let (mut states, mut problems) = (BTreeMap::new(), Vec::new());
    for (i, message) in messages.iter().enumerate() {
        match stream_state(message) {
            Some((name, state)) => drop(states.insert(name.to_owned(), state.clone())),
            None => problems.push(Problem {
                place: format!("{}: entry {i}", path.display()),
                message: "is no state of a stream: `stream` with `stream_descriptor.name` and `stream_state`"
                    .to_owned(),
            }),
        }
    }
    if problems.is_empty() { Ok(states) } else { Err(Error::invalid("the states cannot be read", problems)) }
}

/// Both the bare state and the whole message that carries it are in use.
fn stream_state(message: &Value) -> Option<(&str, &Value)> {
    let stream = message.get("state").unwrap_or(message).get("stream")?;
    Some((stream.get("stream_descriptor")?.get("name")?.as_str()?, stream.get("stream_state")?))
}

async fn read_all(
    connector: &Arc<dyn Connector>,
    selected: Vec<Selected>,
    states: &BTreeMap<String, Value>,
    limit: Option<u64>,
) -> Outcome {
    let mut done = Done::Whole;
    for Selected { stream, is_incremental } in selected {
        let state = states.get(&stream.name).filter(|_| is_incremental).cloned();
        let request = ReadRequest { stream: stream.clone(), state, position: None };
        if let Err(error) = read_stream(connector.clone(), request, is_incremental, limit).await {
            // A state that the connector cannot read is wrong input, like a file that cannot be.
            let is_refused = error.kind() == ErrorKind::Invalid || done == Done::Refused;
            done = if is_refused { Done::Refused } else { Done::Failed };
            let error = error.with("stream", &stream.name);
            output::error(&error);
            output::line(&trace(&stream.name, &error).to_string());
        }
    }
    Ok(done)
}

async fn read_stream(
    connector: Arc<dyn Connector>,
    request: ReadRequest,
    is_incremental: bool,
    limit: Option<u64>,
) -> Result<()> {
    let name = request.stream.name.clone();
    let (sender, mut pages) = mpsc::channel(PAGE_SLOTS);
    let reader = tokio::spawn(async move { connector.read(request, sender).await });
    let mut left = limit.unwrap_or(u64::MAX);
    while let Some(page) = pages.recv().await {
        print_records(&name, &page, &mut left)?;
        if left == 0 {
            reader.abort();
            return Ok(());
        }
    }
    let end =
        reader.await.map_err(|error| Error::new(ErrorKind::Bug, format!("the connector broke off: {error}")))??;
    for failed in &end.failed_items {
        output::note(&format!("{name}: {} could not be read: {}", failed.item, failed.reason));
    }
    let state = end.state.filter(|_| is_incremental).unwrap_or_else(|| json!({ "__ab_no_cursor_state_message": true }));
    output::line(
        &json!({
            "type": "STATE",
            "state": { "type": "STREAM", "stream": { "stream_descriptor": { "name": name }, "stream_state": state } },
        })
        .to_string(),
    );
    Ok(())
}

fn now_ms() -> i64 {
    SystemClock.now().as_millisecond()
}

/// A record's text goes out as it came in: large numbers keep their digits.
#[derive(Serialize)]
struct RecordMessage<'a> {
    r#type: &'static str,
    record: Record<'a>,
}

#[derive(Serialize)]
struct Record<'a> {
    stream: &'a str,
    data: &'a Members<'a>,
    emitted_at: i64,
}

/// A record's members in their order, values as they came in. The protocol leaves out members that are `null`.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry::<String, &'de RawValue>()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let told = self.0.iter().filter(|(_, value)| value.get() != "null");
        serializer.collect_map(told.map(|(name, value)| (name, value)))
    }
}

fn print_records(stream: &str, page: &Page, left: &mut u64) -> Result<()> {
    for record in &page.records {
        if *left == 0 {
            break;
        }
        *left -= 1;
        let data: Members<'_> = serde_json::from_slice(page.record_body(record))
            .map_err(|error| Error::new(ErrorKind::Bug, format!("a record is not a JSON object: {error}")))?;
        let emitted_at = now_ms();
        let message = RecordMessage { r#type: "RECORD", record: Record { stream, data: &data, emitted_at } };
        if let Ok(text) = serde_json::to_string(&message) {
            // A message is one line, however the product laid out its JSON: a line break can only be between tokens.
            output::line(&text.replace(['\n', '\r'], " "));
        }
    }
    Ok(())
}

fn trace(stream: &str, error: &Error) -> Value {
    json!({
        "type": "TRACE",
        "trace": {
            "type": "ERROR",
            "emitted_at": now_ms(),
            "error": { "message": error.to_string(), "failure_type": error.kind().code(), "stream_descriptor": { "name": stream } },
        },
    })
}
