//! How far a run is: bars on a terminal, a plain line now and then elsewhere.

use std::{collections::BTreeMap, fmt, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use listbackup_engine::model::{
    ActivityEvent, ActivityKind, RunId,
    run::{Progress, StreamState},
};
use tokio::{task::JoinHandle, time::Instant};

use super::output;

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// A display under way.
pub struct Shown {
    task: JoinHandle<()>,
    bars: MultiProgress,
}

impl Shown {
    /// Takes the bars away.
    pub fn finish(self) {
        self.task.abort();
        // A terminal that went away has nothing to clear.
        let _gone = self.bars.clear();
    }
}

/// Shows the progress events of a run.
pub fn follow(events: BoxStream<'static, ActivityEvent>, run_id: RunId) -> Shown {
    let bars = MultiProgress::new();
    let mut display: Box<dyn FnMut(&Progress) + Send> =
        if output::is_watched() { bars_display(bars.clone()) } else { lines_display() };
    let mut events = events.filter(move |event| {
        std::future::ready(event.kind == ActivityKind::RunProgress && event.run_id == Some(run_id))
    });
    let task = tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let progress = event.details.get("progress").cloned().and_then(|value| serde_json::from_value(value).ok());
            if let Some(progress) = progress {
                display(&progress);
            }
        }
    });
    Shown { task, bars }
}

fn bars_display(bars: MultiProgress) -> Box<dyn FnMut(&Progress) + Send> {
    let mut by_stream: BTreeMap<String, ProgressBar> = BTreeMap::new();
    Box::new(move |progress| {
        for (name, stream) in &progress.streams {
            if stream.state == StreamState::Waiting {
                continue;
            }
            let bar = by_stream.entry(name.clone()).or_insert_with(|| bars.add(bar(name, stream.expected)));
            bar.set_position(stream.records);
            if stream.state != StreamState::Reading {
                bar.finish();
            }
        }
    })
}

/// With a parent snapshot there is something to measure against, and so a remaining time.
fn bar(name: &str, expected: Option<u64>) -> ProgressBar {
    let known = "{msg:<24} {wide_bar} {human_pos:>12}/{human_len} {rate:>10} {eta:>5} left";
    let unknown = "{msg:<24} {spinner} {human_pos:>12} records {rate:>10} {elapsed:>5}";
    let (bar, template) = match expected {
        Some(records) => (ProgressBar::new(records), known),
        None => (ProgressBar::new_spinner(), unknown),
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_message(name.to_owned()).with_style(style.with_key("rate", rate))
}

/// Records a second; the library's own figure has all its decimals.
fn rate(state: &ProgressState, out: &mut dyn fmt::Write) {
    // The template engine has nowhere to report an error to.
    let _unwritten = write!(out, "{}/s", output::count(state.per_sec() as u64));
}

fn lines_display() -> Box<dyn FnMut(&Progress) + Send> {
    let began = Instant::now();
    let mut last = (began, 0);
    Box::new(move |progress| {
        let (at, before) = last;
        if at.elapsed() < LINE_EVERY {
            return;
        }
        let records: u64 = progress.streams.values().map(|stream| stream.records).sum();
        let done = progress.streams.values().filter(|stream| stream.state == StreamState::Done).count();
        let rate = records.saturating_sub(before) as f64 / at.elapsed().as_secs_f64();
        let expected: Option<u64> = progress.streams.values().map(|stream| stream.expected).sum();
        let left = expected.filter(|_| rate >= 1.0).map_or_else(String::new, |expected| {
            format!(", about {:.0} s left", expected.saturating_sub(records) as f64 / rate)
        });
        output::note(&format!(
            "{} records, {rate:.0}/s, {} read, {done} of {} streams done, {:.0} s{left}",
            output::count(records),
            output::bytes(progress.bytes_read),
            progress.streams.len(),
            began.elapsed().as_secs_f64(),
        ));
        last = (Instant::now(), records);
    })
}
