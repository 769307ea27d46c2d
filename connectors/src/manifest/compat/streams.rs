//! Suspicions about streams, cursors and `check`.

use super::{
    super::{
        load::{View, scalar_text},
        yaml::Data,
    },
    Severity, vocabulary,
    walk::Examination,
};

/// A stream or a cursor.
pub(super) fn examine(examination: &mut Examination<'_>, view: &View<'_>) {
    match view.kind() {
        "DeclarativeStream" => stream(examination, view),
        "DatetimeBasedCursor" | "IncrementingCountCursor" => {
            strict(examination, view);
            literal_zone(examination, view);
        }
        _ => {}
    }
}

/// A `Z` in a format is a letter: a time with an offset is written with its own hours, and read as UTC next time.
fn literal_zone(examination: &mut Examination<'_>, view: &View<'_>) {
    let Ok(Some(format)) = view.text("datetime_format") else { return };
    let others = view.texts("cursor_datetime_formats").ok().flatten().unwrap_or_default();
    let Some(other) = others.iter().find(|other| other.ends_with("%z")) else { return };
    if format.ends_with('Z') && !format.ends_with("%Z") {
        let message = format!(
            "`datetime_format` writes the letter Z, and `{other}` reads times of any offset: the state is then hours off, and \
             records are missed"
        );
        let hint = "end it in %z, if the product takes that; it is harmless where the product's offsets are all zero";
        examination.suspect(view, "datetime_format", message, hint);
    }
}

fn stream(examination: &mut Examination<'_>, view: &View<'_>) {
    if view.field("primary_key").is_none_or(|key| key.is_falsy()) {
        let message = "the stream has no primary key: a changed record is one removed and one added".to_owned();
        let hint = "name the field that identifies a record in `primary_key`; leave it out only where there is none";
        examination.suspect(view, "name", message, hint);
    }
    let Some(cursor) = view.child("incremental_sync") else { return };
    let kind = view.child("x-listbackup").and_then(|own| own.child("deletions")).and_then(|own| own.field("kind"));
    let is_marked = kind.and_then(|kind| kind.as_text().cloned()).is_some_and(|kind| &*kind == "marked");
    let field = cursor.field("cursor_field").and_then(|field| field.as_text().cloned()).unwrap_or_default();
    if is_marked && field.contains("creat") {
        let message = format!("the cursor `{field}` does not move when a record changes or is deleted");
        examination.suspect(&cursor, "cursor_field", message, "choose the field that moves with every change");
    }
}

/// Strict comparison leaves out what has the state's own time.
fn strict(examination: &mut Examination<'_>, view: &View<'_>) {
    let is_on = |name: &str| view.field(name).is_some_and(|node| !node.is_falsy());
    if is_on("is_compare_strictly") && !is_on("lookback_window") {
        let message =
            "strict comparison without look-back: a record that gets the time of the last state later is missed";
        let hint = "add a `lookback_window`; to read a record again costs nothing";
        examination.suspect(view, "is_compare_strictly", message.to_owned(), hint);
    }
}

/// `check` must name streams that exist, or it proves nothing.
pub(super) fn check(examination: &mut Examination<'_>) {
    let source = examination.source.clone();
    let Some(check) = source.child("check").filter(|check| check.kind() == "CheckStream") else { return };
    let has_others = ["dynamic_streams", "stream_groups"].iter().any(|name| source.field(name).is_some());
    let names: Vec<String> = source.children("streams").iter().flat_map(stream_names).collect();
    let named = check.field("stream_names").filter(|named| !named.is_falsy());
    let Some(named) = named else {
        if check.field("dynamic_streams_check_configs").is_none() {
            let message = "`check` names no stream: a wrong key passes it".to_owned();
            examination.suspect(&check, "stream_names", message, "name a stream that takes one cheap request");
        }
        return;
    };
    let Data::List(items) = &named.data else { return };
    for (index, item) in items.iter().enumerate() {
        let Some(name) = scalar_text(item).filter(|name| !has_others && !names.iter().any(|own| **own == **name))
        else {
            continue;
        };
        let meant = vocabulary::nearest(&name, names.iter().map(String::as_str));
        let hint = meant
            .map_or_else(|| format!("name one of: {}", names.join(", ")), |meant| format!("did you mean `{meant}`?"));
        let path = format!("{}[{index}]", check.path_of("stream_names"));
        let message = format!("`check` names the stream `{name}`, which does not exist: no connection passes it");
        examination.note(Severity::Unsupported, item, &path, message, &hint);
    }
}

/// The names of a stream, or of those that stand under a condition.
fn stream_names(view: &View<'_>) -> Vec<String> {
    if view.kind() == "ConditionalStreams" {
        return view.children("streams").iter().flat_map(stream_names).collect();
    }
    view.text("name").ok().flatten().into_iter().collect()
}
