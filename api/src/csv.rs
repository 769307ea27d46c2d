//! Answers as CSV where the caller asks for it, by `Accept: text/csv`.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{ACCEPT, VARY},
};
use serde::Serialize;
use serde_json::Value;

use crate::problem::Problem;

/// Answers with rows of plain members: as JSON inside of `whole`, or as CSV with a column a member. Members of an object inside of a row are
/// columns of their own, `runs.failed`; a list is its members with a space between them.
///
/// # Errors
/// As serialising does: never for what the API shows.
pub fn answer<T: Serialize, R: Serialize>(
    request: &HttpRequest,
    whole: &T,
    rows: &[R],
) -> Result<HttpResponse, Problem> {
    let mut answer = HttpResponse::Ok();
    answer.insert_header((VARY, "accept"));
    if !is_wanted(request) {
        return Ok(answer.json(whole));
    }
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let row = serde_json::to_value(row).map_err(actix_web::error::ErrorInternalServerError);
        let mut cells = Vec::new();
        flatten("", &row.unwrap_or_default(), &mut cells);
        if number == 0 {
            line(&mut text, cells.iter().map(|(name, _)| name.as_str()));
        }
        line(&mut text, cells.iter().map(|(_, cell)| cell.as_str()));
    }
    Ok(answer.content_type("text/csv; charset=utf-8").body(text))
}

/// True where the caller asks for CSV.
pub fn is_wanted(request: &HttpRequest) -> bool {
    let accepted = request.headers().get_all(ACCEPT).filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| {
        let essence = kind.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("text/csv")
    })
}

fn flatten(name: &str, value: &Value, cells: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                let name = if name.is_empty() { member.clone() } else { format!("{name}.{member}") };
                flatten(&name, value, cells);
            }
        }
        other => cells.push((name.to_owned(), cell(other))),
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(members) => members.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// One line of cells, its end included.
pub fn row(cells: &[String]) -> String {
    let mut text = String::new();
    line(&mut text, cells.iter().map(String::as_str));
    text
}

fn line<'a>(text: &mut String, cells: impl Iterator<Item = &'a str>) {
    let quoted = cells.map(|cell| match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    });
    text.push_str(&quoted.collect::<Vec<_>>().join(","));
    text.push_str("\r\n");
}
