//! Deciding what a record that came means: new, changed, unchanged, gone, or a repetition.

use super::{StreamWriter, figures::Category};
use crate::{
    error::Result,
    snapshot::{
        digest::{self, ContentDigest, Fingerprint, Tag},
        json,
        segment::{Before, NewRecord},
    },
};

/// What is known of a key.
struct Known {
    /// Its newest entry of this run.
    own: Option<(Place, Fingerprint)>,
    /// Its entry in the parent, when it is live there.
    parent: Option<(u32, Fingerprint)>,
    category: Category,
}

/// Where the newest entry of a key stands.
#[derive(Clone, Copy)]
enum Place {
    /// In the buffer being filled.
    Building,
    /// In a buffer under way to the store.
    Sent,
    /// In a segment that this run stored.
    Own(u32),
    /// In the parent.
    Parent(u32),
}

impl Known {
    /// What the key is in the parent, as seen from a new entry.
    fn before(&self, fingerprint: &Fingerprint) -> Before {
        match &self.parent {
            None => Before::Absent,
            Some((_, parent)) if parent.digest == fingerprint.digest => Before::Same,
            Some(_) => Before::Other,
        }
    }

    /// The live entry that holds now, if there is one.
    fn live(&self) -> Option<(Place, Fingerprint)> {
        let newest = self.own.or(self.parent.map(|(entry, fingerprint)| (Place::Parent(entry), fingerprint)));
        newest.filter(|(_, fingerprint)| !fingerprint.is_tombstone())
    }
}

impl StreamWriter {
    /// Takes the record whose key was read, or its deletion. True when something was written.
    pub(super) async fn apply(&mut self, body: Option<&[u8]>) -> Result<bool> {
        let tag = self.segments.ring.hashers().tag(&self.current.key);
        let known = self.look_up(tag).await?;
        self.current.in_parent.iter().for_each(|found| self.seen.insert(found.entry));
        match body {
            Some(body) => self.apply_live(tag, body, &known).await,
            None => self.apply_deletion(tag, &known).await,
        }
    }

    async fn look_up(&mut self, tag: Tag) -> Result<Known> {
        let current = &mut self.current;
        self.parent_tables.find(&current.key, tag, &self.segments, &mut current.in_parent).await?;
        let newest = current.in_parent.first().map(|found| (found.entry, found.fingerprint));
        let parent = newest.filter(|(_, fingerprint)| !fingerprint.is_tombstone());
        let is_seen = parent.is_some_and(|(entry, _)| self.seen.contains(entry));
        let in_memory = match self.building.find(&current.key, tag) {
            Some(i) => Some((Place::Building, self.building.fingerprint(i))),
            None => self.outbox.find(&current.key, tag).map(|(buffer, i)| (Place::Sent, buffer.fingerprint(i))),
        };
        let own = match in_memory {
            Some(own) => Some(own),
            None => {
                self.own_tables.find(&current.key, tag, &self.segments, &mut current.in_own).await?;
                current.in_own.first().map(|found| (Place::Own(found.entry), found.fingerprint))
            }
        };
        let category = Category::of(own.as_ref().map(|own| &own.1), parent.as_ref().map(|parent| &parent.1), is_seen);
        Ok(Known { own, parent, category })
    }

    async fn apply_live(&mut self, tag: Tag, body: &[u8], known: &Known) -> Result<bool> {
        self.tally.figures.body_bytes += body.len() as u64;
        let digest = self.segments.ring.hashers().body(body);
        let live = known.live();
        if live.is_some_and(|(_, fingerprint)| fingerprint.digest == digest) {
            self.count_unchanged(body.len(), known);
            return Ok(false);
        }
        let fingerprint = Fingerprint { tag, digest, shape: digest::shape(body) };
        if let Some((place, stored)) = live
            && stored.shape == fingerprint.shape
            && let Some(stored) = self.body_at(place, tag).await?
            && json::is_same_content(&stored, body)
        {
            self.count_unchanged(stored.len(), known);
            return Ok(false);
        }
        // A record that went back to the parent's content, written another way, is stored as the parent has it, so that
        // equal content keeps an equal digest.
        if known.own.is_some()
            && let Some((entry, parent)) = known.parent
            && parent.digest != digest
            && parent.shape == fingerprint.shape
            && let Some(stored) = self.body_at(Place::Parent(entry), tag).await?
            && json::is_same_content(&stored, body)
        {
            self.current.places.fill(crate::snapshot::segment::NOT_IN_BODY);
            self.write(Some(&stored), parent, known).await?;
            return Ok(true);
        }
        self.write(Some(body), fingerprint, known).await?;
        Ok(true)
    }

    async fn apply_deletion(&mut self, tag: Tag, known: &Known) -> Result<bool> {
        if known.live().is_none() {
            return Ok(false);
        }
        self.write(None, Fingerprint::tombstone(tag), known).await?;
        Ok(true)
    }

    /// The record came and its stored entry holds on. What this run wrote for it was counted then.
    fn count_unchanged(&mut self, stored_bytes: usize, known: &Known) {
        if known.category == Category::Untouched {
            self.tally.move_key(Category::Untouched, Category::Unchanged);
            self.tally.read_bytes += stored_bytes as i64;
        }
    }

    async fn write(&mut self, body: Option<&[u8]>, fingerprint: Fingerprint, known: &Known) -> Result<()> {
        let live = known.live();
        let old_bytes = live.map_or(0, |(place, stored)| self.body_bytes_at(place, stored.tag));
        let new_bytes = body.map_or(0, |body| body.len() as i64);
        let parent = known.parent.as_ref().map(|parent| &parent.1);
        let category = Category::of(Some(&fingerprint), parent, true);
        let tally = &mut self.tally;
        tally.move_key(known.category, category);
        tally.read_bytes += new_bytes - if known.category.is_live() { old_bytes } else { 0 };
        tally.grown_bytes += new_bytes - old_bytes;
        if let Some(drift) = &mut tally.figures.drift {
            *drift += 1;
        }
        tally.has_rewrites |= known.own.is_some_and(|(place, _)| !matches!(place, Place::Building));
        let hashers = self.segments.ring.hashers();
        let term = |live: Option<Fingerprint>| match live {
            Some(fingerprint) => hashers.content_term(&fingerprint),
            None => ContentDigest::default(),
        };
        tally.content.subtract(term(live.map(|(_, fingerprint)| fingerprint)));
        tally.content.add(term(body.map(|_| fingerprint)));
        let current = &self.current;
        let before = known.before(&fingerprint);
        self.building.insert(NewRecord { key: &current.key, body, places: &current.places, fingerprint, before });
        if self.building.memory_bytes() >= self.settings.segment_bytes {
            self.flush().await?;
        }
        Ok(())
    }

    /// Sends the buffer off, if there is anything in it.
    pub(super) async fn flush(&mut self) -> Result<()> {
        if self.building.is_empty() {
            return Ok(());
        }
        while self.outbox.has_to_receive()
            && let Some(segment) = self.outbox.receive().await?
        {
            self.own_tables.push(segment)?;
        }
        self.outbox.send(&mut self.building).await
    }

    /// Waits until everything sent off is stored.
    pub(super) async fn settle(&mut self) -> Result<()> {
        while let Some(segment) = self.outbox.receive().await? {
            self.own_tables.push(segment)?;
        }
        Ok(())
    }

    /// Size of a stored body: exact in memory, the mean of its block elsewhere.
    fn body_bytes_at(&self, place: Place, tag: Tag) -> i64 {
        match place {
            Place::Building | Place::Sent => self.body_in_memory(tag).map_or(0, |body| body.len() as i64),
            Place::Own(entry) => self.own_tables.mean_body_bytes(entry) as i64,
            Place::Parent(entry) => self.parent_tables.mean_body_bytes(entry) as i64,
        }
    }

    fn body_in_memory(&self, tag: Tag) -> Option<&[u8]> {
        let key = &self.current.key;
        match self.building.find(key, tag) {
            Some(i) => self.building.body(i),
            None => self.outbox.find(key, tag).and_then(|(buffer, i)| buffer.body(i)),
        }
    }

    /// The stored body of the current key; `None` when the entry turns out to be another key's.
    async fn body_at(&mut self, place: Place, tag: Tag) -> Result<Option<bytes::Bytes>> {
        let (file, number) = match place {
            Place::Building | Place::Sent => return Ok(self.body_in_memory(tag).map(bytes::Bytes::copy_from_slice)),
            Place::Own(entry) => self.own_tables.place(entry, &self.segments).await?,
            Place::Parent(entry) => self.parent_tables.place(entry, &self.segments).await?,
        };
        let block = self.segments.block(&file, number).await?;
        Ok(block.find(&self.current.key).and_then(|entry| block.body_bytes(entry)))
    }
}
