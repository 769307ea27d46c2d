//! What shows when answers are spoilt on the way.

use std::{sync::Arc, time::Duration};

use super::{
    Trial,
    plain::{is_before, missing},
    reading::{Outcome, Reading},
};
use crate::{
    ErrorKind, SignIn, StreamSpec,
    http::injector::{Fault, HUGE_BYTES, Injector},
};

/// What a pause asks for.
const PAUSE_S: u64 = 1;
/// Clocks and wires may be this much off.
const SLACK: Duration = Duration::from_millis(50);
/// A spoilt reading may have this many pages more than twice those of the plain one.
const PAGES_SLACK: usize = 100;
/// No more than this may be taken of a body without end.
const HUGE_READ_MAX_BYTES: u64 = HUGE_BYTES / 4;

/// One spoilt reading beside the plain one.
struct Case<'c> {
    stream: &'c StreamSpec,
    fault: Fault,
    plain: &'c Reading,
    spoilt: Reading,
    watcher: Arc<Injector>,
    /// Versions of the stored tokens before and after.
    versions: (Option<u64>, Option<u64>),
}

impl Case<'_> {
    /// What was seen, for people.
    fn seen(&self, what: &str) -> String {
        format!("{}, {what}: {}", self.stream.name, self.spoilt.outcome.told())
    }

    fn missing(&self) -> usize {
        missing(&self.plain.counted(), &self.spoilt.counted())
    }

    /// It ended and says that it sent everything.
    fn claims_all(&self) -> bool {
        self.spoilt.end().is_some_and(|end| end.failed_items.is_empty())
    }

    /// It ended with everything that the plain reading has.
    fn has_all(&self) -> bool {
        self.claims_all() && self.missing() == 0
    }

    fn kind(&self) -> Option<ErrorKind> {
        self.spoilt.outcome.kind()
    }

    fn fails_as(&self, kinds: &[ErrorKind]) -> bool {
        self.kind().is_some_and(|kind| kinds.contains(&kind))
    }

    fn tells_unread(&self) -> bool {
        self.spoilt.end().is_some_and(|end| !end.failed_items.is_empty())
    }
}

impl Trial<'_> {
    /// Every fault at the place where the stream's records come from.
    pub(super) async fn spoil(&self, stream: &Arc<StreamSpec>, plain: &Reading, watcher: &Injector) {
        let Some(place) = place_of(plain, watcher) else { return };
        let status = |status, retry_after_s| Fault::Status { status, retry_after_s };
        let faults = [
            status(429, Some(PAUSE_S)),
            status(503, None),
            status(401, None),
            status(403, None),
            Fault::Cut,
            Fault::NotJson,
            Fault::NoBody,
            Fault::ErrorBody,
            Fault::SameForEver,
            Fault::EmptyForEver,
            Fault::Late,
            Fault::Repeated,
            Fault::Drift,
            Fault::Huge,
        ];
        for fault in faults {
            let watcher = self.watcher(Some((place.clone(), fault.clone())));
            let before = self.version().await;
            let pages_max = plain.pages * 2 + PAGES_SLACK;
            let spoilt = self.read_at_most(&watcher, stream, (None, None), pages_max).await;
            let versions = (before, self.version().await);
            // A spoilt answer may lead to requests that a recording does not hold: then nothing is seen.
            if watcher.struck() > 0 && watcher.unrecorded().is_none() {
                self.judge(&Case { stream, fault, plain, spoilt, watcher, versions });
            }
        }
    }

    async fn version(&self) -> Option<u64> {
        self.subject.credentials.load().await.ok().flatten().map(|tokens| tokens.version)
    }

    fn judge(&self, case: &Case<'_>) {
        match &case.fault {
            Fault::Status { status: 429, .. } => self.paused(case),
            Fault::Status { status: 401, .. } => self.refused(case),
            Fault::Status { status: 403, .. } => self.denied(case),
            Fault::Status { .. } => self.passing(case, "a 503"),
            Fault::Cut => self.unreadable(case, "half a body"),
            Fault::NotJson => self.unreadable(case, "a page for people"),
            Fault::NoBody => self.unreadable(case, "no body"),
            Fault::ErrorBody => self.unreadable(case, "an error with status 200"),
            Fault::SameForEver => self.looping(case, "the same page for ever"),
            Fault::EmptyForEver => self.looping(case, "empty pages with a next one"),
            Fault::Late => self.late(case, "a record after newer ones", 0),
            // A page with one record more moves an offset by one: what is then passed over was not the connector's choice.
            Fault::Repeated => self.late(case, "a record once more, after newer ones", 1),
            Fault::Drift => self.drifted(case),
            Fault::Huge => self.huge(case),
        }
        self.claims(case);
    }

    /// Lines 20 and 21: a read that ended without a word has sent everything.
    fn claims(&self, case: &Case<'_>) {
        // What the product itself sends less of, or sends in another form, nobody can miss.
        if matches!(case.fault, Fault::EmptyForEver | Fault::SameForEver | Fault::Drift | Fault::Repeated) {
            return;
        }
        let Some(end) = case.spoilt.end() else { return };
        let gone = case.missing();
        if end.is_full && gone > 0 {
            self.ledger.broken(20, &case.seen(&format!("is_full with {gone} records less after {:?}", case.fault)));
        }
        if gone > 0 {
            self.ledger.note(
                21,
                case.tells_unread(),
                &case.seen(&format!("{gone} records less after {:?}", case.fault)),
            );
        }
    }

    /// Line 25.
    fn paused(&self, case: &Case<'_>) {
        let waited = case.watcher.asked_again_after();
        let passes_on = case.fails_as(&[ErrorKind::RateLimited]);
        if let Some(waited) = waited {
            let is_kept = waited + SLACK >= Duration::from_secs(PAUSE_S);
            let seen = format!("{}: asked for {PAUSE_S} s, waited {:.1} s", case.stream.name, waited.as_secs_f64());
            self.ledger.note(25, is_kept, &seen);
        } else if passes_on {
            self.ledger.kept(25, &case.seen("the pause is passed on"));
        } else if !case.has_all() {
            self.ledger.broken(25, &case.seen("a pause was asked for"));
        }
        self.passing(case, "a 429");
    }

    /// Line 1, for faults that pass: overcome, or told as what passes.
    fn passing(&self, case: &Case<'_>, what: &str) {
        let is_kept = case.has_all()
            || case.tells_unread()
            || case.fails_as(&[ErrorKind::Retry, ErrorKind::RateLimited, ErrorKind::BadAnswer]);
        self.ledger.note(1, is_kept, &case.seen(what));
    }

    /// Lines 1 and 7, for a credential that is refused.
    fn refused(&self, case: &Case<'_>) {
        let is_kept = case.has_all() || case.tells_unread() || case.fails_as(&[ErrorKind::Reauthorise]);
        self.ledger.note(1, is_kept, &case.seen("a 401"));
        let is_oauth = matches!(self.subject.integration.spec().sign_in, SignIn::OAuth2(_));
        let is_renewed = case.watcher.guarded().len() > 1;
        if case.versions.0 != case.versions.1 {
            self.ledger.kept(7, &case.seen("a refused token was renewed, and the new one stored"));
        } else if is_oauth && is_renewed {
            self.ledger.broken(7, &case.seen("another token was used that was not stored"));
        }
    }

    fn denied(&self, case: &Case<'_>) {
        let kinds = [ErrorKind::Denied, ErrorKind::Reauthorise, ErrorKind::Retry, ErrorKind::RateLimited];
        let is_kept = case.has_all() || case.tells_unread() || case.fails_as(&kinds);
        self.ledger.note(1, is_kept, &case.seen("a 403"));
    }

    /// Line 14, and line 1 where it fails in a way that says the wrong thing.
    fn unreadable(&self, case: &Case<'_>, what: &str) {
        let is_error = matches!(case.spoilt.outcome, Outcome::Failed(_));
        let is_kept = case.has_all() || case.tells_unread() || is_error;
        self.ledger.note(14, is_kept, &case.seen(what));
        if is_error && case.fails_as(&[ErrorKind::Bug, ErrorKind::Cancelled, ErrorKind::Reauthorise]) {
            self.ledger.broken(1, &case.seen(what));
        }
    }

    /// Line 15: where another page was asked for, the read ends with an error.
    fn looping(&self, case: &Case<'_>, what: &str) {
        let is_endless = matches!(case.spoilt.outcome, Outcome::Endless(_));
        if is_endless || case.fails_as(&[ErrorKind::BadAnswer]) {
            self.ledger.note(15, !is_endless, &case.seen(what));
        }
    }

    /// Lines 18 and 19: a record that comes late, or twice, changes nothing.
    fn late(&self, case: &Case<'_>, what: &str, missing_max: usize) {
        self.ledger.note(18, case.claims_all() && case.missing() <= missing_max, &case.seen(what));
        let states =
            (case.spoilt.end().and_then(|end| end.state.as_ref()), case.plain.end().and_then(|end| end.state.as_ref()));
        if let (Some(spoilt), Some(plain)) = states
            && case.missing() == 0
        {
            self.ledger.note(19, !is_before(spoilt, plain), &case.seen(what));
        }
    }

    /// Lines 13 and 18: fields that no schema knows come along.
    fn drifted(&self, case: &Case<'_>) {
        let what = "a field that no schema knows";
        let is_whole = case.claims_all() && case.spoilt.records.len() == case.plain.records.len();
        self.ledger.note(18, is_whole, &case.seen(what));
        if is_whole {
            self.ledger.note(13, case.spoilt.has_drifted, &case.seen(what));
        }
    }

    /// Line 24: the cap holds, and is told.
    fn huge(&self, case: &Case<'_>) {
        let read = case.watcher.huge_bytes_read() / case.watcher.struck().max(1);
        let is_kept = matches!(case.spoilt.outcome, Outcome::Failed(_)) && read <= HUGE_READ_MAX_BYTES;
        let seen = format!("a body of 1 GiB, {} MiB of it taken", read >> 20);
        self.ledger.note(24, is_kept, &case.seen(&seen));
    }
}

/// Where a stream's records come from: the place whose answer holds one of them, else the last place that was asked.
fn place_of(plain: &Reading, watcher: &Injector) -> Option<String> {
    let seen = watcher.seen();
    let first = plain.samples.first().map(Vec::as_slice).unwrap_or_default();
    let holds = |body: &[u8]| !first.is_empty() && memchr::memmem::find(body, first).is_some();
    let with_record = seen.iter().find(|seen| seen.body.as_deref().is_some_and(holds));
    with_record.or(seen.last()).map(|seen| seen.place.clone())
}
