//! Whether the tables are those of the schema, before anything relies on it.

use aws_sdk_dynamodb::{
    operation::describe_table::DescribeTableError,
    types::{IndexStatus, KeySchemaElement, KeyType, ScalarAttributeType, TableDescription, TableStatus},
};

use super::{DynamoTables, failed};
use crate::{
    error::{Error, Problem, Result},
    tables::{self, Attribute, AttributeType, TableSchema},
};

impl DynamoTables {
    /// Finds out whether every table is there, with its key and all of its indexes, and can be used. What is there beside
    /// them does no harm.
    ///
    /// # Errors
    /// `Invalid` with every difference, each at the name of its table; `Retry` when DynamoDB cannot be reached.
    pub async fn check_tables(&self) -> Result<()> {
        let looks = tables::ALL.map(|table| self.differences(table));
        let mut problems = Vec::new();
        for found in futures::future::join_all(looks).await {
            problems.extend(found?);
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::invalid(
            "the tables in DynamoDB are not those of this version; deploy its templates first",
            problems,
        ))
    }

    async fn differences(&self, table: &'static TableSchema) -> Result<Vec<Problem>> {
        let name = self.settings.table_name(table);
        let messages = match self.client.describe_table().table_name(&name).send().await {
            Ok(answer) => answer.table.map_or(vec!["it is not described".to_owned()], |found| compare(table, &found)),
            Err(error) => match error.as_service_error() {
                Some(DescribeTableError::ResourceNotFoundException(_)) => vec!["there is no such table".to_owned()],
                _ => return Err(failed(error, table)),
            },
        };
        Ok(messages.into_iter().map(|message| Problem { place: name.clone(), message }).collect())
    }
}

fn compare(table: &TableSchema, found: &TableDescription) -> Vec<String> {
    let mut messages = Vec::new();
    // One that is being changed can be used.
    if !matches!(found.table_status, Some(TableStatus::Active | TableStatus::Updating)) {
        messages.push("it is not ready yet".to_owned());
    }
    if !is_key(found, found.key_schema(), table.partition, table.sort) {
        messages.push(format!("its key must be {}", shown(table.partition, table.sort)));
    }
    for index in table.indexes {
        let keys = shown(index.partition, index.sort);
        let same_name = |name: Option<&str>| name == Some(index.name);
        match found.global_secondary_indexes().iter().find(|found| same_name(found.index_name())) {
            None => messages.push(format!("it lacks the index {} by {keys}", index.name)),
            Some(there) if !is_key(found, there.key_schema(), index.partition, index.sort) => {
                messages.push(format!("its index {} must be by {keys}", index.name));
            }
            Some(there) if there.index_status == Some(IndexStatus::Creating) => {
                messages.push(format!("its index {} is still being built", index.name));
            }
            Some(_) => {}
        }
    }
    messages
}

fn is_key(table: &TableDescription, key: &[KeySchemaElement], partition: Attribute, sort: Option<Attribute>) -> bool {
    let is_there = |attribute: Attribute, kind: &KeyType| {
        let is_named = key.iter().any(|part| part.attribute_name == attribute.name && part.key_type == *kind);
        let kind = match attribute.kind {
            AttributeType::Text => ScalarAttributeType::S,
            AttributeType::Number => ScalarAttributeType::N,
        };
        let mut types = table.attribute_definitions().iter();
        is_named && types.any(|found| found.attribute_name == attribute.name && found.attribute_type == kind)
    };
    key.len() == 1 + usize::from(sort.is_some())
        && is_there(partition, &KeyType::Hash)
        && sort.is_none_or(|sort| is_there(sort, &KeyType::Range))
}

fn shown(partition: Attribute, sort: Option<Attribute>) -> String {
    let one = |attribute: Attribute| match attribute.kind {
        AttributeType::Text => format!("{} (S)", attribute.name),
        AttributeType::Number => format!("{} (N)", attribute.name),
    };
    sort.map_or_else(|| one(partition), |sort| format!("{} and {}", one(partition), one(sort)))
}
