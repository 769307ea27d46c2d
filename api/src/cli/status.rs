//! `listbackup status`: how fresh and how complete the backups of each source are.

use jiff::{SignedDuration, SpanRound, Timestamp, Unit};
use listbackup_engine::{
    Result,
    model::{Source, scope::AccountScope},
    run::{
        RunContext,
        freshness::{self, Completeness, Freshness, Gaps, Lack, State},
        watch,
    },
};
use serde_json::{Value, json};

use super::{
    data_dir::DataDir,
    destroyed,
    exit::{Done, Outcome},
    output,
};
use crate::lookup;

/// Arguments of `status`.
#[derive(clap::Args)]
#[command(after_help = "\
Example: listbackup status --data-dir ./data
A source is stale when one of its streams is older than it may be: by the source's own setting, else twice the longest time between
two due times of its schedule, at least an hour. Without either, nothing is expected of it. Works beside a running process.
Exit code 3 when a source is stale, so that a monitor can run it.")]
pub struct Args {
    /// Only this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    #[command(flatten)]
    data_dir: DataDir,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// A source and how it stands.
struct Standing {
    source: Source,
    freshness: Freshness,
    completeness: Completeness,
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let worker = args.data_dir.open_to_read()?;
    let ctx = &*worker.ctx;
    let now = ctx.ports.clock.now();
    let lookup::Living { sources, destroyed } = lookup::named_sources(ctx, args.source.as_deref()).await?;
    let mut gaps = Gaps::default();
    let mut standings = Vec::new();
    for (scope, source) in sources {
        standings.push(Standing::of(ctx, &scope, source, &mut gaps, now).await?);
    }
    standings.sort_by(|a, b| a.source.name.cmp(&b.source.name));
    let is_stale = standings.iter().any(|standing| standing.freshness.state == State::Stale);
    if args.json {
        let sources: Vec<Value> = standings.iter().map(Standing::document).collect();
        output::json(&json!({
            "stale": is_stale,
            "sources": sources,
            "destroyed_accounts": destroyed::documents(&destroyed),
        }));
    } else {
        destroyed::tell(&destroyed);
        print(&standings, now);
    }
    Ok(if is_stale { Done::Partly } else { Done::Whole })
}

impl Standing {
    async fn of(
        ctx: &RunContext,
        scope: &AccountScope,
        source: Source,
        gaps: &mut Gaps,
        now: Timestamp,
    ) -> Result<Self> {
        let jobs = watch::jobs_of(&ctx.store, scope, source.source_id).await?;
        let age = freshness::max_age(&source, &jobs, gaps, now);
        let (freshness, completeness) = (freshness::freshness(&source, age, now), freshness::completeness(&source));
        Ok(Self { source, freshness, completeness })
    }

    fn document(&self) -> Value {
        let Self { source, freshness, completeness } = self;
        let stale_streams: Vec<Value> = freshness
            .stale_streams
            .iter()
            .map(|(stream, good_at)| json!({ "stream": stream, "good_at": good_at }))
            .collect();
        json!({
            "source_id": source.source_id,
            "source": source.name,
            "state": source.state,
            "freshness": {
                "state": freshness.state,
                "good_at": freshness.good_at,
                "stale_at": freshness.stale_at,
                "max_age_seconds": freshness.max_age.map(|age| age.seconds),
                "max_age_from": freshness.max_age.map(|age| age.from),
                "stale_streams": stale_streams,
            },
            "completeness": {
                "percent": completeness.percent(),
                "good_streams": completeness.good_streams,
                "streams": completeness.streams,
                "good_items": completeness.good_items,
                "items": completeness.items,
                "reasons": completeness.reasons,
            },
        })
    }

    fn row(&self, now: Timestamp) -> Vec<String> {
        let Self { source, freshness, completeness } = self;
        let state = match freshness.state {
            State::Fresh => "fresh",
            State::Stale => "STALE",
            State::NotExpected => "not expected",
            State::Paused => "paused",
        };
        let age = freshness.good_at.map_or_else(|| "never".to_owned(), |good_at| told(now.duration_since(good_at)));
        let max_age =
            freshness.max_age.map(|age| SignedDuration::from_secs(age.seconds.try_into().unwrap_or(i64::MAX)));
        vec![
            source.name.clone(),
            state.to_owned(),
            age,
            max_age.map_or_else(|| "-".to_owned(), told),
            format!("{} of {}", completeness.good_streams, completeness.streams),
            format!("{}%", completeness.percent()),
        ]
    }

    /// What is not as it should be, a line each.
    fn lacks(&self) -> Vec<String> {
        let stale = self.freshness.stale_streams.iter().map(|(stream, good_at)| match good_at {
            Some(at) => format!("{stream}: no good snapshot since {at:.0}"),
            None => format!("{stream}: no good snapshot yet"),
        });
        let lacks = self.completeness.reasons.iter().map(|reason| {
            let stream = reason.stream.as_deref().map(|stream| format!("{stream}: ")).unwrap_or_default();
            let what = match reason.what {
                Lack::NeverBackedUp => "never backed up".to_owned(),
                Lack::StreamFailed => "the newest run could not read it".to_owned(),
                Lack::ItemsFailed => {
                    format!("the newest run could not read {}", output::counted(reason.count.unwrap_or(1), "part"))
                }
                Lack::Suspicious => "much of it was gone at once; look before you trust it".to_owned(),
            };
            format!("{stream}{what}")
        });
        stale.chain(lacks).collect()
    }
}

fn print(standings: &[Standing], now: Timestamp) {
    if standings.is_empty() {
        output::line("there is no source yet; `listbackup backup` makes one");
        return;
    }
    let rows: Vec<Vec<String>> = standings.iter().map(|standing| standing.row(now)).collect();
    output::table(&["source", "backups are", "age", "may be", "good streams", "complete"], &rows);
    for standing in standings {
        let lacks = standing.lacks();
        if !lacks.is_empty() {
            output::line("");
            output::line(&standing.source.name);
            lacks.iter().for_each(|lack| output::line(&format!("  {lack}")));
        }
    }
}

/// A time for people, in its two largest units: `3d 4h`.
fn told(time: SignedDuration) -> String {
    let time = if time.is_negative() { SignedDuration::ZERO } else { time };
    let (unit, small) = match time.as_secs() {
        0..60 => (Unit::Second, Unit::Second),
        60..3_600 => (Unit::Minute, Unit::Minute),
        3_600..86_400 => (Unit::Hour, Unit::Minute),
        _ => (Unit::Day, Unit::Hour),
    };
    let round = SpanRound::new().largest(unit).smallest(small).days_are_24_hours();
    let span = jiff::Span::try_from(time).and_then(|span| span.round(round));
    span.map_or_else(|_| format!("{}s", time.as_secs()), |span| format!("{span:#}"))
}
