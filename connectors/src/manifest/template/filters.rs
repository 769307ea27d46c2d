//! Filters of the language, and those of the engine that differ from the reference's.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use minijinja::{
    Environment, Error, State, Value,
    value::{Rest, ValueKind, ValueOrKwargs},
};
use regex::Regex;
use sha2::Digest as _;

use super::{
    arguments::Arguments,
    bounds,
    expressions::{expression, is_compiled},
    lists,
    operators::{type_error, value_error},
    values::{text, write_repr},
};

/// Registers the filters.
pub(super) fn register(env: &mut Environment<'static>) {
    env.add_filter("string", string);
    lists::register(env);
    env.add_filter("hash", |given: Rest<ValueOrKwargs>| {
        hash(&Arguments::of(&given.into_values(), &["value", "hash_type", "salt"])?)
    });
    env.add_filter("hmac", |given: Rest<ValueOrKwargs>| {
        hmac_sha256(&Arguments::of(&given.into_values(), &["value", "key", "hash_type"])?)
    });
    env.add_filter("base64encode", base64_encode);
    env.add_filter("base64decode", base64_decode);
    // The reference encodes here, despite the name.
    env.add_filter("base64binascii_decode", base64_encode);
    env.add_filter("regex_search", |state: &State<'_, '_>, given: Rest<ValueOrKwargs>| {
        regex_search(state, &Arguments::of(&given.into_values(), &["value", "regex"])?)
    });
    env.add_filter("regex_replace", |state: &State<'_, '_>, given: Rest<ValueOrKwargs>| {
        regex_replace(state, &Arguments::of(&given.into_values(), &["value", "regex", "replacement"])?)
    });
    env.add_filter("urlencode", url_encode);
    env.add_filter("int", |given: Rest<ValueOrKwargs>| {
        int(&Arguments::of(&given.into_values(), &["value", "default", "base"])?)
    });
    env.add_filter("float", |given: Rest<ValueOrKwargs>| {
        float(&Arguments::of(&given.into_values(), &["value", "default"])?)
    });
    env.add_filter("tojson", to_json);
    for name in ["default", "d"] {
        env.add_filter(name, |given: Rest<ValueOrKwargs>| {
            default(&Arguments::of(&given.into_values(), &["value", "default_value", "boolean"])?)
        });
    }
    env.add_filter("lower", |value: Value| text(&value).to_lowercase());
    env.add_filter("upper", |value: Value| text(&value).to_uppercase());
    env.add_filter("trim", |value: Value, characters: Option<&str>| {
        let text = text(&value);
        match characters {
            Some(set) => text.trim_matches(|c| set.contains(c)).to_owned(),
            None => text.trim().to_owned(),
        }
    });
    env.add_filter("join", |given: Rest<ValueOrKwargs>| {
        join(&Arguments::of(&given.into_values(), &["value", "d", "attribute"])?)
    });
}

/// Text stays; anything else becomes JSON in triple quotes, which evaluates back to a text.
fn string(value: &Value) -> Result<String, Error> {
    match value.as_str() {
        Some(text) => Ok(text.to_owned()),
        None if value.is_undefined() || value.kind() == ValueKind::Plain => {
            Err(type_error(format!("`string` does not work on {}", value.kind())))
        }
        None => Ok(format!("\"\"\"{}\"\"\"", python_json(value))),
    }
}

fn base64_encode(value: &Value) -> Result<String, Error> {
    let text = value.as_str().ok_or_else(|| value_error("base64encode: only texts can be encoded"))?;
    Ok(STANDARD.encode(text))
}

/// `json.dumps`: non-ASCII characters escaped, `, ` and `: ` between.
fn python_json(value: &Value) -> String {
    let mut out = String::new();
    write_json(value, false, &mut out);
    out
}

fn write_json(value: &Value, is_sorted: bool, out: &mut String) {
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (index, item) in value.try_iter().into_iter().flatten().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write_json(&item, is_sorted, out);
            }
            out.push(']');
        }
        ValueKind::Map => {
            let mut keys: Vec<Value> = value.try_iter().into_iter().flatten().collect();
            if is_sorted {
                keys.sort();
            }
            out.push('{');
            for (index, key) in keys.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write_ascii(&text(key), out);
                out.push_str(": ");
                write_json(&value.get_item(key).unwrap_or_default(), is_sorted, out);
            }
            out.push('}');
        }
        ValueKind::Number => write_repr(value, out),
        _ => write_ascii(&text(value), out),
    }
}

/// A JSON text in ASCII.
fn write_ascii(text: &str, out: &mut String) {
    let mut plain = String::with_capacity(text.len() + 2);
    super::super::json::write_text(text, &mut plain);
    for character in plain.chars() {
        if character.is_ascii() {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
}

/// JSON that is safe inside HTML, with sorted keys.
fn to_json(value: &Value) -> Result<String, Error> {
    if value.is_undefined() {
        return Err(type_error("`tojson` on a missing value"));
    }
    let mut out = String::new();
    write_json(value, true, &mut out);
    Ok(out.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026").replace('\'', "\\u0027"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash(given: &Arguments) -> Result<String, Error> {
    let salt = given.optional(2).filter(|salt| salt.is_true()).map(text).unwrap_or_default();
    let input = text(given.value(0)?) + &salt;
    match given.optional_text(1)?.unwrap_or("md5") {
        "md5" => Ok(hex(&md5::Md5::digest(&input))),
        "sha1" => Ok(hex(&sha1::Sha1::digest(&input))),
        "sha224" => Ok(hex(&sha2::Sha224::digest(&input))),
        "sha256" => Ok(hex(&sha2::Sha256::digest(&input))),
        "sha384" => Ok(hex(&sha2::Sha384::digest(&input))),
        "sha512" => Ok(hex(&sha2::Sha512::digest(&input))),
        other => Err(value_error(format!("no hash function named `{other}`"))),
    }
}

fn hmac_sha256(given: &Arguments) -> Result<String, Error> {
    let (value, key) = (given.value(0)?, given.value(1)?);
    if given.optional_text(2)?.is_some_and(|kind| kind != "sha256") {
        return Err(value_error("hmac knows sha256 only"));
    }
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(text(key).as_bytes())
        .map_err(|_| value_error("hmac: the key does not fit"))?;
    mac.update(text(value).as_bytes());
    Ok(hex(&mac.finalize().into_bytes()))
}

fn base64_decode(value: &str) -> Result<String, Error> {
    let bytes = STANDARD.decode(value).map_err(|_| value_error("base64decode: not base64"))?;
    String::from_utf8(bytes).map_err(|_| value_error("base64decode: not text"))
}

/// What compiling an expression costs beside an instruction's one.
const COMPILING_STEPS: u64 = 20_000;

fn pattern(state: &State<'_, '_>, source: &str) -> Result<Regex, Error> {
    if !is_compiled(source) {
        state.consume_fuel(COMPILING_STEPS)?;
    }
    expression(source).map_err(value_error)
}

/// The first group of the first match, or nothing.
fn regex_search(state: &State<'_, '_>, given: &Arguments) -> Result<Value, Error> {
    let (value, source) = (given.text(0)?, given.text(1)?);
    let found = pattern(state, source)?;
    let captures = found.captures(value).filter(|captures| captures.len() > 1);
    // A group that takes no part in the match is none.
    Ok(captures
        .map_or_else(|| Value::from(""), |captures| captures.get(1).map_or(().into(), |group| group.as_str().into())))
}

/// Replaces every match; the replacement names groups as `\1`.
fn regex_replace(state: &State<'_, '_>, given: &Arguments) -> Result<String, Error> {
    let (value, expression, replacement) = (given.text(0)?, given.text(1)?, given.text(2)?);
    let (groups, wanted) = (pattern(state, r"\\(\d+)")?, pattern(state, expression)?);
    // What a group holds may come as often as the replacement names it.
    let names = groups.find_iter(replacement).count();
    let sizes =
        wanted.find_iter(value).map(|found| replacement.len().saturating_add(names.saturating_mul(found.len())));
    bounds::allow_text(sizes.fold(value.len(), usize::saturating_add))?;
    let replacement = replacement.replace('$', "$$");
    let replacement = groups.replace_all(&replacement, "$${$1}");
    Ok(wanted.replace_all(value, replacement.as_ref()).into_owned())
}

/// Percent-encodes all but letters, digits, `_.-~` and `safe`.
pub(super) fn percent_encode(text: &str, safe: &str, is_plus_for_space: bool) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) || safe.as_bytes().contains(&byte);
        if is_plain {
            out.push(char::from(byte));
        } else if byte == b' ' && is_plus_for_space {
            out.push('+');
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A text for a path; a mapping or pairs for a query.
fn url_encode(value: &Value) -> Result<String, Error> {
    let pair = |key: &Value, value: &Value| {
        format!("{}={}", percent_encode(&text(key), "", true), percent_encode(&text(value), "", true))
    };
    match value.kind() {
        ValueKind::Map => {
            let keys = value.try_iter()?;
            Ok(keys.map(|key| pair(&key, &value.get_item(&key).unwrap_or_default())).collect::<Vec<_>>().join("&"))
        }
        ValueKind::Seq => {
            let pairs = value.try_iter()?.map(|item| {
                let parts: Vec<Value> = match item.as_str() {
                    Some(text) => text.chars().map(Value::from).collect(),
                    None => item.try_iter().map_err(|_| type_error("`urlencode` needs pairs"))?.collect(),
                };
                match parts.as_slice() {
                    [key, value] => Ok(pair(key, value)),
                    _ => Err(value_error("`urlencode` needs pairs")),
                }
            });
            Ok(pairs.collect::<Result<Vec<_>, Error>>()?.join("&"))
        }
        _ => Ok(percent_encode(&text(value), "/", false)),
    }
}

/// A whole number, or the default (0) for what is none.
fn int(given: &Arguments) -> Result<Value, Error> {
    let value = given.value(0)?.clone();
    let fallback = given.optional(1).cloned().unwrap_or_else(|| Value::from(0));
    let base =
        given.optional(2).and_then(|base| u32::try_from(base.as_i64()?).ok()).filter(|base| (2..=36).contains(base));
    if value.is_undefined() {
        return Err(Error::new(minijinja::ErrorKind::UndefinedError, "`int` on a missing value"));
    }
    let Some(written) = value.as_str() else {
        return Ok(match value.kind() {
            ValueKind::Bool => Value::from(i64::from(value.is_true())),
            ValueKind::Number if value.is_integer() => value,
            ValueKind::Number => f64::try_from(value).map_or(fallback, |number| Value::from(number.trunc() as i64)),
            _ => fallback,
        });
    };
    let clean = written.trim().replace('_', "").to_lowercase();
    let (clean, base) = based(&clean, base.unwrap_or(10), given.optional(2).and_then(Value::as_i64) == Some(0));
    let parsed = i128::from_str_radix(clean, base).ok();
    let parsed =
        parsed.map(Value::from).or_else(|| clean.parse::<f64>().ok().map(|number| Value::from(number.trunc() as i64)));
    Ok(parsed.unwrap_or(fallback))
}

/// The digits without the mark of their base, and the base; base 0 is the one that the mark names.
fn based(text: &str, base: u32, is_by_mark: bool) -> (&str, u32) {
    for (mark, of) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = text.strip_prefix(mark).filter(|_| is_by_mark || base == of) {
            return (digits, of);
        }
    }
    (text, base)
}

fn float(given: &Arguments) -> Result<Value, Error> {
    let (value, default) = (given.value(0)?.clone(), given.optional(1).cloned());
    if value.is_undefined() {
        return Err(Error::new(minijinja::ErrorKind::UndefinedError, "`float` on a missing value"));
    }
    let number = match value.as_str() {
        Some(written) => written.trim().replace('_', "").parse().ok(),
        None if value.kind() == ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        None => f64::try_from(value).ok(),
    };
    Ok(number.map(Value::from).or(default).unwrap_or_else(|| Value::from(0.0)))
}

/// The value, or another one when it is missing (with `boolean`: when it counts as false).
fn default(given: &Arguments) -> Result<Value, Error> {
    let value = given.value(0)?;
    let is_boolean = given.optional(2).is_some_and(Value::is_true);
    let is_replaced = value.is_undefined() || is_boolean && !value.is_true();
    Ok(if is_replaced { given.optional(1).cloned().unwrap_or_else(|| Value::from("")) } else { value.clone() })
}

fn join(given: &Arguments) -> Result<String, Error> {
    let (value, separator, attribute) = (given.value(0)?, given.optional_text(1)?, given.optional_text(2)?);
    if value.is_undefined() {
        return Ok(String::new());
    }
    let items = value.try_iter().ok().filter(|_| !value.is_none());
    let items = items.ok_or_else(|| type_error(format!("`join` needs a list, not {}", value.kind())))?;
    let texts = items.map(|item| match attribute {
        Some(name) => item.get_attr(name).map(|found| text(&found)),
        None => Ok(text(&item)),
    });
    bounds::joined(texts, separator.unwrap_or(""))
}
