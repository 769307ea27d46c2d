//! Where a record of the snapshot is in the product: under its key, under the one that an earlier restore gave it, under one
//! that its natural key finds, or nowhere.

use bytes::Bytes;

use super::{
    candidates::Candidate,
    decide::{Judge, Looked, writable},
    members::Members,
    natural::{self, Named},
    work::Target,
};
use crate::{error::Result, snapshot::RecordKey};

/// Where a record is.
pub(super) enum Place {
    /// It is gone, or never was there.
    Nowhere,
    /// It is there.
    There(There),
    /// Nobody can tell, for the reason told.
    Unclear(String),
}

/// A record that is in the product.
pub(super) struct There {
    /// Its key there.
    pub(super) key: RecordKey,
    /// As it is there.
    pub(super) body: Bytes,
    /// What it was found by.
    pub(super) how: How,
}

/// What a record was found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Its key in the snapshot.
    SameKey,
    /// The id map of earlier restores.
    Earlier,
    /// Its natural key.
    NaturalKey,
}

impl There {
    /// How it was found, where not by its key.
    pub(super) fn found(&self, target: &Target) -> Option<String> {
        match self.how {
            How::SameKey => None,
            How::Earlier => Some(format!("an earlier restore made it as {}", self.key)),
            How::NaturalKey => Some(format!("found as {} by {}", self.key, natural_name(target))),
        }
    }

    /// Why nothing is written.
    pub(super) fn skipped(&self, target: &Target) -> String {
        match self.how {
            How::SameKey => "only fields that the product sets itself differ".to_owned(),
            How::Earlier => format!("an earlier restore made it again as {}", self.key),
            How::NaturalKey => format!("it is there as {}, found by {}", self.key, natural_name(target)),
        }
    }
}

impl Judge<'_> {
    /// Where a record is; `wanted` are its fields with the references of the product.
    pub(super) async fn place(
        &self,
        target: &Target,
        candidate: &Candidate,
        wanted: &Members,
        looked: &Looked,
    ) -> Result<Place> {
        let (stream, key) = (&*target.spec.name, &candidate.key);
        if let Some(current) = &candidate.current {
            return Ok(Place::There(There { key: key.clone(), body: current.clone(), how: How::SameKey }));
        }
        if let Some(new) = self.ids.new_key(stream, key)?
            && let Some(body) = self.states.current(stream, &new.key).await?
        {
            return Ok(Place::There(There { key: new.key, body, how: How::Earlier }));
        }
        self.by_natural_key(target, candidate, wanted, looked).await
    }

    async fn by_natural_key(
        &self,
        target: &Target,
        candidate: &Candidate,
        wanted: &Members,
        looked: &Looked,
    ) -> Result<Place> {
        let stream = &*target.spec.name;
        if !target.write.natural_key.iter().all(|field| looked.is_final(field)) {
            return Ok(Place::Nowhere);
        }
        let own = natural::text(target, &writable(target, &candidate.wanted)?);
        let Some((text, own)) = natural::text(target, wanted).zip(own) else { return Ok(Place::Nowhere) };
        let (named, is_only) = self.natural.find(self.states, target, &text, &own).await?;
        let found = match named {
            Named::One(found) if is_only => found,
            Named::Several if is_only => {
                let what = natural_name(target);
                return Ok(Place::Unclear(format!(
                    "several records in the product have {what}; which it is, a person must say"
                )));
            }
            _ => return Ok(Place::Nowhere),
        };
        // One that stands for another record is not this one.
        let is_own = !self.states.is_elsewhere && self.states.wanted.get(stream, &found).await?.is_some();
        if is_own || self.ids.is_taken(stream, &found)? {
            return Ok(Place::Nowhere);
        }
        let body = self.states.current(stream, &found).await?;
        Ok(body.map_or(Place::Nowhere, |body| Place::There(There { key: found, body, how: How::NaturalKey })))
    }
}

fn natural_name(target: &Target) -> String {
    let fields: Vec<String> = target.write.natural_key.iter().map(|field| field.join(".")).collect();
    format!("its natural key ({})", fields.join(", "))
}
