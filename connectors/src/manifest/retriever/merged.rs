//! A page whose records come in several requests, each with some of their properties.

use std::{collections::HashMap, sync::Arc};

use super::{
    super::{
        answer::Answer, extract, json::Slice as Json, properties::QueryProperties, request::requester::Sent,
        stream::Bound, template::Python,
    },
    Batch,
    reader::Reader,
};
use crate::{RecordSlice, Result};

/// Records of several requests: those that belong together are one.
#[derive(Default)]
struct Merged {
    /// Complete as they are.
    single: Vec<String>,
    together: Vec<Python>,
    places: HashMap<String, usize>,
}

impl Merged {
    fn add(&mut self, properties: &QueryProperties, record: Json<'_>) {
        let Some(key) = properties.merge_key(record) else { return self.single.push(record.text().to_owned()) };
        let record = Python::from_json(record);
        match self.places.get(&key) {
            Some(&place) => merge(&mut self.together[place], record),
            None => {
                self.places.insert(key, self.together.len());
                self.together.push(record);
            }
        }
    }

    fn into_texts(self) -> Vec<String> {
        let mut texts = self.single;
        texts.extend(self.together.iter().map(Python::to_json));
        texts
    }
}

/// Adds the members of `new`; where both are objects, theirs.
fn merge(present: &mut Python, new: Python) {
    match (present, new) {
        (Python::Dict(members), Python::Dict(others)) => {
            for (key, value) in others {
                match members.iter_mut().find(|(known, _)| *known == key) {
                    Some((_, slot)) => merge(slot, value),
                    None => members.push((key, value)),
                }
            }
        }
        (slot, value) => *slot = value,
    }
}

impl Reader {
    /// The next page where `properties` say what is asked for; `None` at the end.
    pub(super) async fn merged_page(&mut self, bound: &Bound, properties: &QueryProperties) -> Result<Option<Batch>> {
        let stream = Arc::clone(&self.stream);
        let (mut merged, mut last, mut received) = (Merged::default(), None, 0);
        for names in properties.chunks(&self.session, &bound.schema).await? {
            self.asked = Some(names);
            let call = self.call(bound)?;
            let response = match stream.retriever.requester.send(&self.session, &call).await? {
                Sent::Answer(response) => *response,
                Sent::Ignored(status) => {
                    self.is_done = true;
                    self.ignored = Some(status);
                    return Ok(None);
                }
            };
            let mut answer = Answer::open(response, &stream.retriever.decoder)?;
            received += answer.take_received();
            loop {
                let page = answer.piece(&bound.plan)?;
                let (body, kept) = self.select(bound, &page)?;
                for found in &kept {
                    let range = found.slice.body.start as usize..found.slice.body.end as usize;
                    merged.add(properties, Json::checked(std::str::from_utf8(&body[range]).unwrap_or("{}")));
                }
                if answer.is_over() {
                    last = Some((page, answer));
                    break;
                }
            }
        }
        let Some((page, mut answer)) = last else { return Ok(None) };
        self.note(&page).map_err(|error| answer.at(error))?;
        let (body, kept) = extract::rewritten(&merged.into_texts(), &bound.plan)?;
        let (kept, has_old) = self.observe(bound, &body, kept);
        answer.kept = kept.len();
        self.token = self.next_token(&page, &answer, &body, &kept, has_old)?;
        self.is_done = self.token.is_none();
        let records: Vec<RecordSlice> = kept.into_iter().map(|found| found.slice).collect();
        let attachments = match &stream.attachments {
            Some(attachments) => attachments.of_page(&self.session, &self.slice, &body, &records)?,
            None => Vec::new(),
        };
        let (next, has_more) = (self.token.clone(), !self.is_done);
        Ok(Some(Batch { body, records, attachments, received, next, has_more, latest: self.latest }))
    }
}
