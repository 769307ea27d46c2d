//! The sandbox's data: four tables that move together, and a clock that moves only when they do.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{
    document::{self, Document},
    draw::Draw,
    record::{self, DEALS_PER_COMPANY, Stream},
    table::{Row, Table},
    writes::Answers,
    written::{Body, Sent, Written},
};

/// All data.
pub struct World {
    seed: u64,
    initial_companies: u64,
    contacts: Table,
    companies: Table,
    deals: Table,
    events: Table,
    tags: Table,
    /// Deals that were added later, by company.
    added_deals: HashMap<u64, Vec<u64>>,
    written: Written,
    /// What was answered for each idempotency key.
    pub(super) answers: Answers,
    now_s: i64,
    movements: u64,
}

/// What share of each stream changes. Fractions of the live records; unknown fields are refused.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mutation {
    /// Records that get a new version.
    pub change: f64,
    /// Records that are added.
    pub insert: f64,
    /// Records that are deleted.
    pub delete: f64,
    /// Decides which; the same seed on the same data picks the same.
    pub seed: u64,
}

/// What a mutation did, id by id.
#[derive(Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Moved {
    /// The sandbox's time after it, RFC 3339.
    pub now: String,
    /// Contacts.
    pub contacts: MovedIds,
    /// Companies.
    pub companies: MovedIds,
    /// Deals; those of deleted companies are deleted with them.
    pub deals: MovedIds,
    /// Events; only added.
    pub events: MovedIds,
}

/// The ids of one stream.
#[derive(Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct MovedIds {
    /// Changed.
    pub changed: Vec<u64>,
    /// Added.
    pub inserted: Vec<u64>,
    /// Deleted.
    pub deleted: Vec<u64>,
}

/// A mutation happens this long after everything before it.
const MUTATION_PAUSE_S: i64 = 3600;

impl World {
    /// `records` contacts, a company for every fifty, twenty-five deals for each company, two events for each contact.
    pub fn new(records: u64, seed: u64) -> Self {
        let companies = (records / 50).max(1);
        let (contacts, events) = (Table::new(records), Table::new(records * 2));
        let now_s = events.initial_end_s().max(contacts.initial_end_s());
        Self {
            seed,
            initial_companies: companies,
            contacts,
            companies: Table::new(companies),
            deals: Table::new(companies * DEALS_PER_COMPANY),
            events,
            tags: Table::new(record::tag_count()),
            added_deals: HashMap::new(),
            written: Written::default(),
            answers: Answers::default(),
            now_s,
            movements: 0,
        }
    }

    /// The rows of a stream.
    pub fn table(&self, stream: Stream) -> &Table {
        match stream {
            Stream::Contacts => &self.contacts,
            Stream::Companies => &self.companies,
            Stream::Deals => &self.deals,
            Stream::Events => &self.events,
            Stream::Tags => &self.tags,
        }
    }

    /// The live deals of a company, by id.
    pub fn deals_of(&self, company: u64) -> Vec<Row> {
        let first = (company.saturating_sub(1)) * DEALS_PER_COMPANY + 1;
        let initial = (first..first + DEALS_PER_COMPANY).filter(|_| company <= self.initial_companies);
        let added = self.added_deals.get(&company).into_iter().flatten().copied();
        let is_theirs = |id: &u64| self.deals.is_live(*id) && self.company_of(*id) == company;
        initial.chain(added).filter(is_theirs).filter_map(|id| self.deals.row(id)).collect()
    }

    /// The company of a deal.
    fn company_of(&self, deal: u64) -> u64 {
        let written = self.written.get(Stream::Deals, deal).and_then(|body| body.id_in(Stream::Deals, "company_id"));
        written.unwrap_or_else(|| record::company_of(self.seed, deal, self.initial_companies))
    }

    /// The files of a company; there are none where there is no such company.
    pub fn documents(&self, company: u64) -> Vec<Document> {
        let row = self.companies.row(company);
        let body = self.written.get(Stream::Companies, company);
        row.map(|row| document::of_company(self.seed, &row, body)).unwrap_or_default()
    }

    /// Writes a record of this world.
    pub fn write(&self, out: &mut String, stream: Stream, row: &Row) {
        self.writer()(out, stream, row);
    }

    /// What decides all data.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What is needed to write records without holding the world.
    pub fn writer(&self) -> impl Fn(&mut String, Stream, &Row) + Send + use<> {
        let (seed, companies, written) = (self.seed, self.initial_companies, self.written.clone());
        move |out, stream, row| match written.get(stream, row.id) {
            Some(body) => record::write_sent(out, seed, stream, row, body),
            None => record::write(out, seed, stream, row, companies),
        }
    }

    /// Makes a record of the fields that were sent.
    pub fn create(&mut self, stream: Stream, sent: &Sent) -> u64 {
        let now_s = self.tick();
        let id = self.table_mut(stream).insert(now_s);
        self.keep(stream, id, Body::made(stream, sent));
        id
    }

    /// Changes the fields that were sent; with `is_whole` the others become null.
    pub fn change(&mut self, stream: Stream, id: u64, sent: &Sent, is_whole: bool) {
        let body = self.body(stream, id);
        let body = if is_whole { body.whole(stream, sent) } else { body.with(stream, sent) };
        let now_s = self.tick();
        self.table_mut(stream).change(id, now_s);
        self.keep(stream, id, body);
    }

    /// Deletes a record; the deals of a company go with it.
    pub fn delete(&mut self, stream: Stream, id: u64) {
        let deals = if stream == Stream::Companies { self.deals_of(id) } else { Vec::new() };
        let now_s = self.tick();
        self.table_mut(stream).delete(id, now_s);
        for deal in deals {
            self.deals.delete(deal.id, now_s);
        }
    }

    /// The fields of a record as they are now.
    fn body(&self, stream: Stream, id: u64) -> Body {
        if let Some(body) = self.written.get(stream, id) {
            return body.clone();
        }
        let mut text = String::new();
        if let Some(row) = self.table(stream).row(id) {
            self.write(&mut text, stream, &row);
        }
        Body::of_seed(stream, &serde_json::from_str(&text).unwrap_or_default())
    }

    fn keep(&mut self, stream: Stream, id: u64, body: Body) {
        if let (Stream::Deals, Some(company)) = (stream, body.id_in(stream, "company_id")) {
            let added = self.added_deals.entry(company).or_default();
            let is_initial = (id - 1) / DEALS_PER_COMPANY + 1 == company && company <= self.initial_companies;
            if !is_initial && !added.contains(&id) {
                added.push(id);
            }
        }
        self.written.insert(stream, id, body);
    }

    /// Changes, adds and deletes records, an hour after everything that is there.
    pub fn mutate(&mut self, mutation: &Mutation) -> Moved {
        self.now_s += MUTATION_PAUSE_S;
        let mut moved = Moved {
            contacts: self.move_stream(Stream::Contacts, mutation),
            companies: self.move_stream(Stream::Companies, mutation),
            deals: self.move_stream(Stream::Deals, mutation),
            events: self.move_stream(Stream::Events, &Mutation { change: 0.0, delete: 0.0, ..mutation.clone() }),
            now: String::new(),
        };
        self.delete_orphans(&mut moved);
        moved.now = record::instant(self.now_s).to_string();
        moved
    }

    fn move_stream(&mut self, stream: Stream, mutation: &Mutation) -> MovedIds {
        let live = self.table(stream).live_count();
        let count = |share: f64| (live as f64 * share.clamp(0.0, 1.0)).round() as u64;
        let draw = Draw::new(self.seed, [stream as u64, mutation.seed, self.now_s as u64]);
        let (deletions, changes, insertions) = (count(mutation.delete), count(mutation.change), count(mutation.insert));
        let mut victims = self.choose(stream, (deletions + changes).min(live), draw);
        let changed = victims.split_off((deletions as usize).min(victims.len()));
        let mut moved = MovedIds { deleted: victims, changed, inserted: Vec::new() };
        for id in &moved.deleted {
            let now_s = self.tick();
            self.table_mut(stream).delete(*id, now_s);
        }
        for id in &moved.changed {
            let now_s = self.tick();
            self.table_mut(stream).change(*id, now_s);
            if let Some(mut body) = self.written.get(stream, *id).cloned() {
                body.change_text(&record::words(Draw::new(self.seed, [stream as u64, *id, now_s as u64])));
                self.written.insert(stream, *id, body);
            }
        }
        for _ in 0..insertions {
            let now_s = self.tick();
            let id = self.table_mut(stream).insert(now_s);
            moved.inserted.push(id);
            if stream == Stream::Deals {
                let company = record::company_of(self.seed, id, self.initial_companies);
                self.added_deals.entry(company).or_default().push(id);
            }
        }
        moved
    }

    /// Distinct live ids.
    fn choose(&self, stream: Stream, count: u64, mut draw: Draw) -> Vec<u64> {
        let table = self.table(stream);
        let mut chosen = HashSet::new();
        let mut in_order = Vec::new();
        while in_order.len() < count as usize {
            let id = draw.below(table.last_id()) + 1;
            if table.is_live(id) && chosen.insert(id) {
                in_order.push(id);
            }
        }
        in_order
    }

    /// Deals go with their company; a deal that was added to a company that is gone goes at once.
    fn delete_orphans(&mut self, moved: &mut Moved) {
        let gone = moved.companies.deleted.iter().flat_map(|company| self.deals_of(*company)).map(|row| row.id);
        let mut orphans: BTreeSet<u64> = gone.collect();
        orphans.extend(moved.deals.inserted.iter().copied().filter(|id| {
            let company = record::company_of(self.seed, *id, self.initial_companies);
            !self.companies.is_live(company) && self.deals.is_live(*id)
        }));
        for id in orphans {
            let now_s = self.tick();
            self.deals.delete(id, now_s);
            moved.deals.changed.retain(|changed| *changed != id);
            if moved.deals.inserted.contains(&id) {
                moved.deals.inserted.retain(|inserted| *inserted != id);
            } else {
                moved.deals.deleted.push(id);
            }
        }
    }

    fn table_mut(&mut self, stream: Stream) -> &mut Table {
        match stream {
            Stream::Contacts => &mut self.contacts,
            Stream::Companies => &mut self.companies,
            Stream::Deals => &mut self.deals,
            Stream::Events => &mut self.events,
            Stream::Tags => &mut self.tags,
        }
    }

    /// A hundred movements share a second, so that readers meet equal cursor values.
    fn tick(&mut self) -> i64 {
        self.movements += 1;
        self.now_s += i64::from(self.movements.is_multiple_of(100));
        self.now_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutation_says_exactly_what_it_did() {
        let mut world = World::new(1000, 7);
        let before = world.contacts.live_count();
        let moved = world.mutate(&Mutation { change: 0.01, insert: 0.005, delete: 0.1, seed: 1 });
        let MovedIds { changed, inserted, deleted } = &moved.contacts;
        assert_eq!((changed.len(), inserted.len(), deleted.len()), (10, 5, 100));
        assert_eq!(world.contacts.live_count(), before + 5 - 100);
        assert!(deleted.iter().all(|id| !world.contacts.is_live(*id)));
        assert!(changed.iter().all(|id| world.contacts.row(*id).is_some_and(|row| row.version == 2)));
        assert!(world.companies.live_count() < 20);
        let gone = moved.companies.deleted[0];
        assert!(world.deals_of(gone).is_empty());
        assert!(moved.events.deleted.is_empty() && moved.events.changed.is_empty());
    }

    #[test]
    fn the_same_mutations_make_the_same_world() {
        let mutation = Mutation { change: 0.2, insert: 0.1, delete: 0.1, seed: 3 };
        let mut worlds = [World::new(500, 9), World::new(500, 9)];
        let moved = worlds.each_mut().map(|world| (world.mutate(&mutation), world.mutate(&mutation)));
        assert_eq!(moved[0], moved[1]);
    }

    #[test]
    fn every_live_deal_belongs_to_a_live_company() {
        let mut world = World::new(1000, 3);
        for seed in 0..5 {
            world.mutate(&Mutation { change: 0.1, insert: 0.2, delete: 0.2, seed });
        }
        let by_company: u64 = (1..=world.companies.last_id())
            .filter(|company| world.companies.is_live(*company))
            .map(|company| world.deals_of(company).len() as u64)
            .sum();
        assert_eq!(by_company, world.deals.live_count());
    }
}
