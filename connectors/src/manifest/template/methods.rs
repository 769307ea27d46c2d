//! Methods of Python's texts, lists and dictionaries.

use minijinja::{Error, ErrorKind, State, Value, value::ValueKind};

use super::{
    bounds,
    operators::type_error,
    values::{is_list, text},
};

/// Calls `value.method(args)` for values that have no methods of their own.
pub(super) fn call(state: &mut State<'_, '_>, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    if let Some(result) = value.as_str().and_then(|own| text_method(own, method, args)) {
        return result;
    }
    if value.kind() == ValueKind::Map && method == "get" {
        return dictionary_get(value, args);
    }
    if value.kind() == ValueKind::Map && method == "copy" && args.is_empty() {
        return Ok(value.clone());
    }
    if value.kind() == ValueKind::Seq && method == "index" {
        return position(value, args);
    }
    if matches!(method, "append" | "extend" | "update" | "insert" | "pop" | "setdefault") && is_list(value) {
        return Err(super::operators::value_error(format!("`{method}()` would change a value; templates cannot")));
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args).map_err(|error| {
        match error.kind() {
            ErrorKind::UnknownMethod => {
                Error::new(ErrorKind::UnknownMethod, format!("{} has no method `{method}`", value.kind()))
            }
            _ => error,
        }
    })
}

fn dictionary_get(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [key, rest @ ..] = args else { return Err(type_error("get() needs a key")) };
    let found = value.as_object().and_then(|object| object.get_value(key));
    Ok(found.unwrap_or_else(|| rest.first().cloned().unwrap_or_else(|| Value::from(()))))
}

fn position(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [wanted] = args else { return Err(type_error("index() needs one value")) };
    let found = value.try_iter()?.position(|item| item == *wanted);
    found.map(Value::from).ok_or_else(|| super::operators::value_error("index(): the value is not in the list"))
}

/// Methods where the engine's own ones differ from Python or are missing; `None` leaves the call to those.
fn text_method(own: &str, method: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    let first = args.first().and_then(|value| value.as_str());
    let value = match (method, args.len()) {
        ("join", 1) => return Some(join(own, &args[0])),
        ("replace", 2 | 3) => return replace(own, args),
        ("format", _) => {
            let refused = bounds::allow_format(own, args).err()?;
            return Some(Err(refused));
        }
        ("split" | "rsplit", 1 | 2) if first == Some("") => {
            return Some(Err(super::operators::value_error("split(): the separator is empty")));
        }
        ("split", 0) => own.split_whitespace().map(Value::from).collect(),
        ("split", 1) if first.is_some_and(|separator| !separator.is_empty()) => {
            own.split(first?).map(Value::from).collect()
        }
        ("split", 2) => split_times(own, args)?,
        ("rsplit", 1) if first.is_some_and(|separator| !separator.is_empty()) => {
            own.split(first?).map(Value::from).collect()
        }
        ("rsplit", 2) => {
            let times = usize::try_from(args[1].as_i64()?).ok()?;
            let mut parts: Vec<Value> = own.rsplitn(times + 1, first?).map(Value::from).collect();
            parts.reverse();
            Value::from(parts)
        }
        ("ljust" | "rjust" | "center", 1 | 2) => padded(own, method, args)?,
        ("rpartition", 1) => {
            let separator = first?;
            let (before, found, after) =
                own.rsplit_once(separator).map_or(("", "", own), |(before, after)| (before, separator, after));
            Value::from(minijinja::value::Tuple::from([before, found, after].map(Value::from).to_vec()))
        }
        ("partition", 1) => {
            let separator = first?;
            let (before, found, after) =
                own.split_once(separator).map_or((own, "", ""), |(before, after)| (before, separator, after));
            Value::from(minijinja::value::Tuple::from([before, found, after].map(Value::from).to_vec()))
        }
        ("removeprefix", 1) => Value::from(own.strip_prefix(first?).unwrap_or(own)),
        ("removesuffix", 1) => Value::from(own.strip_suffix(first?).unwrap_or(own)),
        ("zfill", 1) => Value::from(zero_filled(own, args[0].as_usize()?.min(1000))),
        ("swapcase", 0) => Value::from(own.chars().map(swapped).collect::<String>()),
        ("casefold", 0) => Value::from(own.to_lowercase()),
        ("index", 1) => match own.find(first?) {
            Some(at) => Value::from(own[..at].chars().count()),
            None => return Some(Err(super::operators::value_error("index(): the text does not occur"))),
        },
        ("encode" | "decode", _) => Value::from(own),
        _ => return None,
    };
    Some(Ok(value))
}

fn join(separator: &str, items: &Value) -> Result<Value, Error> {
    let items = items.try_iter().map_err(|_| type_error("join() needs a list"))?;
    let texts = items.map(|item| {
        item.as_str().map(str::to_owned).ok_or_else(|| type_error(format!("join() needs texts, found {}", text(&item))))
    });
    bounds::joined(texts, separator).map(Value::from)
}

/// `None` for arguments that are of other kinds.
fn replace(own: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    let count = match args.get(2) {
        None => None,
        // Below zero means each.
        Some(count) => usize::try_from(count.as_i64()?).ok(),
    };
    Some(bounds::replaced(own, args[0].as_str()?, args[1].as_str()?, count).map(Value::from))
}

fn split_times(own: &str, args: &[Value]) -> Option<Value> {
    let times = usize::try_from(args[1].as_i64()?);
    let separator = args[0].as_str()?;
    Some(match times {
        Ok(times) => own.splitn(times + 1, separator).map(Value::from).collect(),
        Err(_) => own.split(separator).map(Value::from).collect(),
    })
}

/// The text in a field of a width; `center` leaves the greater part as Python does.
pub(super) fn padded(own: &str, method: &str, args: &[Value]) -> Option<Value> {
    let width = args[0].as_usize()?.min(1000);
    let fill = args.get(1).map_or(Some(" "), |fill| fill.as_str())?;
    let missing = width.saturating_sub(own.chars().count());
    let left = match method {
        "ljust" => 0,
        "rjust" => missing,
        _ => missing / 2 + (missing & width & 1),
    };
    Some(Value::from(format!("{}{own}{}", fill.repeat(left), fill.repeat(missing - left))))
}

fn zero_filled(own: &str, width: usize) -> String {
    let (sign, digits) = if own.starts_with(['+', '-']) { own.split_at(1) } else { ("", own) };
    let missing = width.saturating_sub(own.chars().count());
    format!("{sign}{}{digits}", "0".repeat(missing))
}

fn swapped(character: char) -> char {
    if character.is_uppercase() { character.to_ascii_lowercase() } else { character.to_ascii_uppercase() }
}
