//! Partition routers made of others: several partitions in one request, or the partitions of several routers once each.

use std::{collections::HashSet, sync::Arc};

use serde_json::Value;
use tokio::sync::mpsc::{self, Sender};

use super::{
    load::{Take, View},
    partition::{Parents, Router, hand_over},
    session::Session,
    slice::Slice,
    template::{Python, Template},
};
use crate::{Error, ErrorKind, Result};

/// Partitions found ahead of those being put together.
const PARTITIONS_AHEAD: usize = 64;

/// `GroupingPartitionRouter`.
#[derive(Debug)]
pub(crate) struct Grouping {
    /// What gives the single partitions.
    pub(crate) inner: Router,
    size: usize,
    deduplicates: bool,
}

/// `UnionPartitionRouter`.
#[derive(Debug)]
pub(crate) struct Union {
    /// In order; of equal partitions the first counts.
    pub(crate) routers: Vec<Router>,
    field: Template,
}

impl Grouping {
    /// Reads the component.
    pub(crate) fn load(view: &View<'_>) -> Take<Self> {
        let size = view.int("group_size")?.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
        Ok(Self {
            inner: Router::read(&view.required_child("underlying_partition_router")?)?,
            size: size.ok_or_else(|| view.problem("`group_size` must be a whole number above zero"))?,
            deduplicates: view.flag("deduplicate")?.unwrap_or(true),
        })
    }

    /// Finds the groups and sends each to `to`.
    ///
    /// # Errors
    /// As for [`Router::partitions`]; `Invalid` when a partition has several fields.
    pub(crate) async fn partitions(
        &self,
        session: &Arc<Session>,
        state: Option<&Value>,
        to: &Sender<Slice>,
    ) -> Result<Parents> {
        let (inner_to, mut found) = mpsc::channel(PARTITIONS_AHEAD);
        let search = async move { self.inner.partitions(session, state, &inner_to).await };
        let group = async move {
            let mut batch: Vec<Slice> = Vec::with_capacity(self.size);
            let mut seen = HashSet::new();
            while let Some(partition) = found.recv().await {
                let key = key_of(&partition)?;
                if self.deduplicates && !seen.insert(key) {
                    continue;
                }
                batch.push(partition);
                if batch.len() == self.size {
                    hand_over(to, grouped(&std::mem::take(&mut batch))).await?;
                }
            }
            if batch.is_empty() { Ok(()) } else { hand_over(to, grouped(&batch)).await }
        };
        let (parents, handed) = tokio::join!(search, group);
        handed?;
        parents
    }
}

/// The one field of a partition beside its parent's.
fn key_of(partition: &Slice) -> Result<String> {
    let mut fields = partition.partition.iter().filter(|(name, _)| name != "parent_slice");
    match (fields.next(), fields.next()) {
        (Some((_, value)), None) => Ok(value.to_json()),
        _ => Err(Error::new(ErrorKind::Invalid, "a GroupingPartitionRouter needs partitions of one field each")),
    }
}

/// Every field as the list of its values.
fn grouped(batch: &[Slice]) -> Slice {
    let lists = |of: fn(&Slice) -> &super::slice::Named| {
        let mut names: Vec<&String> = Vec::new();
        for (name, _) in batch.iter().flat_map(of) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let value = |slice: &Slice, name: &String| {
            let found = of(slice).iter().find(|(known, _)| known == name);
            found.map_or(Python::None, |(_, value)| value.clone())
        };
        let list = |name: &String| (name.clone(), Python::List(batch.iter().map(|slice| value(slice, name)).collect()));
        names.into_iter().map(list).collect()
    };
    Slice { partition: lists(|slice| &slice.partition), window: Vec::new(), extra: lists(|slice| &slice.extra) }
}

impl Union {
    /// Reads the component.
    pub(crate) fn load(view: &View<'_>) -> Take<Self> {
        let routers: Vec<_> = view.children("partition_routers").iter().map(Router::read).collect();
        let routers = routers.into_iter().collect::<Take<Vec<_>>>()?;
        if routers.is_empty() {
            return Err(view.problem("a UnionPartitionRouter needs `partition_routers`"));
        }
        Ok(Self { routers, field: view.required_template("partition_field")? })
    }

    /// Finds the partitions of all routers and sends each to `to`, once.
    ///
    /// # Errors
    /// As for [`Router::partitions`]; `Invalid` when a router does not give the field.
    pub(crate) async fn partitions(
        &self,
        session: &Arc<Session>,
        state: Option<&Value>,
        to: &Sender<Slice>,
    ) -> Result<Parents> {
        let field = &self.field.text(&session.engine, session.scope())?;
        let mut seen = HashSet::new();
        let mut all = Parents::default();
        for router in &self.routers {
            let (inner_to, mut found) = mpsc::channel(PARTITIONS_AHEAD);
            let search = async move { router.partitions(session, state, &inner_to).await };
            let seen = &mut seen;
            let unite = async move {
                while let Some(partition) = found.recv().await {
                    let one = reduced(partition, field)?;
                    if seen.insert(one.partition_key()) {
                        hand_over(to, one).await?;
                    }
                }
                Ok(())
            };
            let (parents, united) = tokio::join!(search, unite);
            let united: Result<()> = united;
            united?;
            all.add(parents?);
        }
        Ok(all)
    }
}

/// The partition with `field` alone; the others go to the further fields.
fn reduced(partition: Slice, field: &str) -> Result<Slice> {
    let (kept, carried): (Vec<_>, Vec<_>) = partition.partition.into_iter().partition(|(name, _)| name == field);
    if kept.is_empty() {
        let message = format!("a router of a UnionPartitionRouter gives partitions without `{field}`");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let mut extra = partition.extra;
    extra.extend(carried);
    Ok(Slice { partition: kept, window: Vec::new(), extra })
}
