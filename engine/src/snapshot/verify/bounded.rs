//! Verifying a snapshot in parts, each within limits, so that all of it is covered in the end.
//!
//! The units are small: a segment by itself, and where the segments of a stream overlap, a stretch of their merge, since only
//! that says which records live. So such a stream is read twice, which a verification in one go does not need.

use super::{
    Chain, Damage, Place, Segments, Used, VerifyLevel, VerifyPosition, VerifyReport,
    position::{Sum, VerifyLimits},
    report::Coverage,
};
use crate::{
    error::{ErrorKind, Result},
    snapshot::{
        attachments::{OlderPack, OlderPacks, OlderStates, SeenContents},
        chunks::{PackId, PackRef},
        digest::ContentDigest,
        key::RecordKey,
        manifest::StreamState,
        merge::{Merge, Merged, Reading},
        reader::{KeyRange, SnapshotReader},
        segment::SegmentRef,
    },
};

impl SnapshotReader {
    /// Verifies all data of this snapshot and of those before it as far as the limits let it, from the start or from where an
    /// earlier call stopped. The structure is looked at each time, as a whole.
    ///
    /// # Errors
    /// `Invalid` for the position of another snapshot; those of the ports. Damage is no error: it is in the report.
    pub async fn verify_within(
        &self,
        limits: &VerifyLimits<'_>,
        from: Option<&VerifyPosition>,
    ) -> Result<VerifyReport> {
        let mut report = VerifyReport::default();
        let Chain { segments, digest, older } = self.verify_structure(&mut report).await?;
        if let Some(digest) = digest {
            let start = match from {
                Some(position) => position.place_in(&self.manifest, &digest)?,
                None => Place::first(&self.manifest),
            };
            report.was_damaged_before = from.is_some_and(|position| position.was_damaged);
            let mut walk = Walk {
                reader: self,
                segments: &segments,
                limits,
                report,
                has_read: false,
                seen: SeenContents::default(),
                older: &older,
                older_packs: None,
            };
            let end = walk.run(start).await?;
            report = walk.report;
            report.covered = self.coverage(&segments, end.as_ref());
            let was_damaged = !report.is_sound();
            report.next = end.map(|place| VerifyPosition { manifest_digest: digest, place, was_damaged });
        }
        name_snapshots(&mut report, &segments);
        Ok(report)
    }

    /// What is covered when a verification has come to a place; everything at the end.
    pub(super) fn coverage(&self, segments: &Segments, place: Option<&Place>) -> Coverage {
        let mut covered = Coverage {
            segments_total: segments.len() as u64,
            bytes_total: segments.values().map(|used| used.reference.size_bytes).sum(),
            streams_total: self.manifest.streams.len() as u64,
            ..Coverage::default()
        };
        let mut take = |reference: &SegmentRef| {
            covered.segments += 1;
            covered.bytes += reference.size_bytes;
        };
        for (name, state) in &self.manifest.streams {
            let (done, is_counted) = match place {
                None | Some(Place::Older { .. } | Place::Attachments { .. } | Place::OlderPacks { .. }) => {
                    (state.segments.len(), true)
                }
                Some(Place::Segments { stream, .. } | Place::Merge { stream, .. }) if name < stream => {
                    (state.segments.len(), true)
                }
                Some(Place::Merge { stream, .. }) if name == stream => (state.segments.len(), false),
                Some(Place::Segments { stream, done, .. }) if name == stream => (*done, false),
                Some(_) => (0, false),
            };
            state.segments[..done].iter().for_each(&mut take);
            covered.streams += u64::from(is_counted);
        }
        let is_covered = |used: &&Used| match place {
            None | Some(Place::Attachments { .. } | Place::OlderPacks { .. }) => true,
            Some(Place::Older { after }) => after.is_some_and(|after| used.reference.id <= after),
            Some(_) => false,
        };
        self.older(segments).filter(is_covered).for_each(|used| {
            covered.segments += 1;
            covered.bytes += used.reference.size_bytes;
        });
        covered
    }

    /// The segments that only older snapshots use, by id.
    pub(super) fn older<'a>(&self, segments: &'a Segments) -> impl Iterator<Item = &'a Used> + use<'a> {
        let own = self.manifest.snapshot_id;
        segments.values().filter(move |used| !used.snapshots.contains(&own))
    }
}

/// Says of each damaged segment which snapshots use it.
pub(super) fn name_snapshots(report: &mut VerifyReport, segments: &Segments) {
    for damage in &mut report.damages {
        if let Some(used) = segments.get(&damage.path) {
            damage.snapshots.clone_from(&used.snapshots);
        }
    }
}

fn next_of(packs: &OlderPacks, after: Option<PackId>) -> Option<(PackRef, &OlderPack)> {
    packs.iter().map(|(pack, used)| (*pack, used)).find(|(pack, _)| after.is_none_or(|after| pack.id() > after))
}

struct Walk<'a> {
    reader: &'a SnapshotReader,
    segments: &'a Segments,
    limits: &'a VerifyLimits<'a>,
    report: VerifyReport,
    has_read: bool,
    seen: SeenContents,
    older: &'a OlderStates,
    /// Once they were needed.
    older_packs: Option<OlderPacks>,
}

impl<'a> Walk<'a> {
    /// Goes on until everything is covered (`None`) or a limit is met.
    async fn run(&mut self, start: Place) -> Result<Option<Place>> {
        let mut place = Some(start);
        while let Some(at) = place {
            if self.has_read && self.limits.are_passed(self.report.bytes_read + self.next_bytes(&at)) {
                return Ok(Some(at));
            }
            place = match at {
                Place::Segments { stream, done, sum } => Some(self.stream_segment(stream, done, sum).await?),
                Place::Merge { stream, after, sum } => Some(self.merge(stream, after, sum).await?),
                Place::Older { .. } => match self.next_older(&at) {
                    Some(used) => {
                        self.segment(&used.stream, &used.reference, |_| {}).await?;
                        Some(Place::Older { after: Some(used.reference.id) })
                    }
                    None => self.attachments_after(""),
                },
                Place::Attachments { stream, after } => self.attachment(stream, after).await?,
                Place::OlderPacks { after } => self.older_pack(after).await?,
            };
        }
        Ok(None)
    }

    /// About how much the next unit reads; 0 when nothing is left to read there.
    fn next_bytes(&self, place: &Place) -> u64 {
        match place {
            Place::Segments { stream, done, .. } => {
                let state = self.reader.manifest.streams.get(stream);
                state.and_then(|state| state.segments.get(*done)).map_or(0, |reference| reference.size_bytes)
            }
            Place::Merge { .. } | Place::Attachments { .. } => 1,
            Place::OlderPacks { after } => self.next_pack(*after).map_or(1, |(_, used)| used.needed_bytes),
            Place::Older { .. } => self.next_older(place).map_or(0, |used| used.reference.size_bytes),
        }
    }

    /// Before the first attachment of the streams after one; before the packs of older snapshots when there are no more.
    fn attachments_after(&self, stream: &str) -> Option<Place> {
        match self.reader.attachment_streams().find(|name| *name > stream) {
            Some(next) => Some(Place::Attachments { stream: next.to_owned(), after: None }),
            None => (!self.older.is_empty()).then_some(Place::OlderPacks { after: None }),
        }
    }

    /// Reads and checks the next pack of older snapshots.
    async fn older_pack(&mut self, after: Option<PackId>) -> Result<Option<Place>> {
        let reader = self.reader;
        let packs = match self.older_packs.take() {
            Some(packs) => packs,
            None => reader.older_packs(self.older).await?,
        };
        let packs = self.older_packs.insert(packs);
        let Some((pack, used)) = next_of(packs, after) else { return Ok(None) };
        self.has_read = true;
        reader.verify_older_pack((pack, used), VerifyLevel::Data, &mut self.seen, &mut self.report).await?;
        Ok(Some(Place::OlderPacks { after: Some(pack.id()) }))
    }

    fn next_pack(&self, after: Option<PackId>) -> Option<(PackRef, &OlderPack)> {
        next_of(self.older_packs.as_ref()?, after)
    }

    /// Reads and checks the content of the next attachment of a stream.
    async fn attachment(&mut self, stream: String, after: Option<RecordKey>) -> Result<Option<Place>> {
        self.has_read = true;
        let next = self.reader.verify_attachment(&stream, after, &mut self.seen, &mut self.report).await?;
        Ok(match next {
            Some(key) => Some(Place::Attachments { stream, after: Some(key) }),
            None => self.attachments_after(&stream),
        })
    }

    fn next_older(&self, place: &Place) -> Option<&'a Used> {
        let Place::Older { after } = place else { return None };
        self.reader.older(self.segments).find(|used| after.is_none_or(|after| used.reference.id > after))
    }

    /// The next segment of a stream, or what follows its last one.
    async fn stream_segment(&mut self, stream: String, done: usize, mut sum: Sum) -> Result<Place> {
        let manifest = &self.reader.manifest;
        let Some(state) = manifest.streams.get(&stream) else { return Ok(Place::after_stream(manifest, &stream)) };
        let is_disjoint = are_disjoint(&state.segments);
        let Some(reference) = state.segments.get(done) else {
            if !sum.is_damaged && !is_disjoint {
                return Ok(Place::Merge { stream, after: None, sum: Sum::default() });
            }
            self.judge(&stream, state, &sum);
            return Ok(Place::after_stream(manifest, &stream));
        };
        let reader = self.reader;
        let mut counted = Sum::default();
        let is_sound = self
            .segment(&stream, reference, |merged| {
                if is_disjoint {
                    counted.add(reader, merged);
                }
            })
            .await?;
        sum.is_damaged |= !is_sound;
        sum.records += counted.records;
        sum.digest.add(counted.digest);
        Ok(Place::Segments { stream, done: done + 1, sum })
    }

    /// Reads and checks a segment by itself. True when it is sound.
    async fn segment(
        &mut self,
        stream: &str,
        reference: &SegmentRef,
        mut each: impl FnMut(&Merged) + Send,
    ) -> Result<bool> {
        self.has_read = true;
        let mut merge = self.reader.checked(stream, std::slice::from_ref(reference));
        while let Some(merged) = merge.next().await? {
            self.report.records += u64::from(merged.body().is_some());
            each(&merged);
        }
        let Some(checker) = merge.into_checker() else { return Ok(true) };
        let is_sound = checker.damages.is_empty();
        self.report.take(*checker);
        Ok(is_sound)
    }

    /// Counts the live records of a stream from a key on, up to a limit or to its end.
    async fn merge(&mut self, stream: String, after: Option<RecordKey>, mut sum: Sum) -> Result<Place> {
        self.has_read = true;
        let manifest = &self.reader.manifest;
        let Some(state) = manifest.streams.get(&stream) else { return Ok(Place::after_stream(manifest, &stream)) };
        let range = KeyRange::after(after);
        let mut merge = Merge::new(self.reader.segments.clone(), &stream, &state.segments, &range, Reading::Once);
        let (before, mut seen) = (self.report.bytes_read, 0);
        loop {
            let merged = match merge.next().await {
                Ok(merged) => merged,
                // It was sound when it was read by itself.
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    let mut damage = self.reader.manifest_damage(manifest.snapshot_id, error.to_string());
                    damage.stream = Some(stream.clone());
                    self.report.note(damage);
                    break;
                }
                Err(error) => return Err(error),
            };
            self.report.bytes_read = before + merge.bytes_read();
            let Some(merged) = merged else {
                self.judge(&stream, state, &sum);
                break;
            };
            sum.add(self.reader, &merged);
            // The first record brings a block of every segment; the next block is read when one of them is through.
            if seen == 0 {
                seen = merge.bytes_read();
            } else if merge.bytes_read() > seen {
                seen = merge.bytes_read();
                if self.limits.are_passed(self.report.bytes_read) {
                    return Ok(Place::Merge { stream, after: Some(RecordKey::trusted(merged.key())), sum });
                }
            }
        }
        Ok(Place::after_stream(manifest, &stream))
    }

    fn judge(&mut self, stream: &str, state: &StreamState, sum: &Sum) {
        if !sum.is_damaged
            && let Some(damage) = self.reader.content_damage(stream, state, sum.records, sum.digest)
        {
            self.report.note(damage);
        }
    }
}

impl Sum {
    fn add(&mut self, reader: &SnapshotReader, merged: &Merged) {
        if let Some(body) = merged.body() {
            let hashers = reader.segments.ring.hashers();
            self.records += 1;
            self.digest.add(hashers.content_term(&hashers.fingerprint(merged.key(), body)));
        }
    }
}

impl SnapshotReader {
    /// What is wrong when a stream holds these records, and its manifest says others.
    pub(super) fn content_damage(
        &self,
        stream: &str,
        state: &StreamState,
        records: u64,
        digest: ContentDigest,
    ) -> Option<Damage> {
        if (records, digest) == (state.records, state.content_digest) {
            return None;
        }
        let what = format!(
            "the stream holds {records} records with digest {digest}, its manifest says {} with {}",
            state.records, state.content_digest
        );
        let mut damage = self.manifest_damage(self.manifest.snapshot_id, what);
        damage.stream = Some(stream.to_owned());
        Some(damage)
    }
}

/// True when no key can be in two of the segments.
fn are_disjoint(segments: &[SegmentRef]) -> bool {
    let mut by_key: Vec<&SegmentRef> = segments.iter().collect();
    by_key.sort_by(|a, b| a.first_key.cmp(&b.first_key));
    by_key.windows(2).all(|pair| pair[0].last_key < pair[1].first_key)
}
