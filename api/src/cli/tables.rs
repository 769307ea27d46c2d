//! `listbackup tables`: the schema of the ten tables.

use listbackup_engine::tables::{ALL, Attribute, AttributeType, TableSchema};
use serde_json::{Value, json};

use super::{
    exit::{Done, Outcome},
    output,
};

/// Arguments of `tables`.
#[derive(clap::Args)]
#[command(after_help = "Example: listbackup tables --json")]
pub struct Args {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Outcome {
    if args.json {
        output::json(&ALL.iter().map(|table| document(table)).collect::<Vec<_>>());
    } else {
        let rows: Vec<Vec<String>> = ALL.iter().map(|table| row(table)).collect();
        output::table(&["table", "key", "indexes"], &rows);
    }
    Ok(Done::Whole)
}

fn row(table: &TableSchema) -> Vec<String> {
    let key = |partition: Attribute, sort: Option<Attribute>| {
        sort.map_or_else(|| partition.name.to_owned(), |sort| format!("{} + {}", partition.name, sort.name))
    };
    let indexes: Vec<String> =
        table.indexes.iter().map(|index| format!("{} ({})", index.name, key(index.partition, index.sort))).collect();
    vec![table.name.to_owned(), key(table.partition, table.sort), indexes.join(", ")]
}

fn document(table: &TableSchema) -> Value {
    let attribute = |attribute: Attribute| {
        let kind = match attribute.kind {
            AttributeType::Text => "text",
            AttributeType::Number => "number",
        };
        json!({ "name": attribute.name, "type": kind })
    };
    json!({
        "name": table.name,
        "partition": attribute(table.partition),
        "sort": table.sort.map(attribute),
        "expires": table.expires,
        "indexes": table.indexes.iter().map(|index| json!({
            "name": index.name,
            "partition": attribute(index.partition),
            "sort": index.sort.map(attribute),
        })).collect::<Vec<_>>(),
    })
}
