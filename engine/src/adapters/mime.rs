//! A letter in the form in which it goes through the world: RFC 5322, with text and page as alternatives.

use jiff::Timestamp;
use lettre::{
    Address, Message,
    message::{
        Body, Mailbox, MultiPart, SinglePart,
        header::{ContentTransferEncoding, ContentType},
    },
};

use crate::{
    connectors::error::Problem,
    error::{Error, ErrorKind, Result},
    ports::{Letter, Random},
};

/// Writes a letter. Lines of the text stay lines of their own, whatever its letters are.
///
/// # Errors
/// `Invalid` when the address is none, or it or the subject would break out of its header line.
pub(super) fn compose(letter: &Letter, from: &Mailbox, now: Timestamp, random: &dyn Random) -> Result<Message> {
    let to = letter.to.parse::<Address>().ok().filter(|_| is_one_line(&letter.to));
    let problem = |place: &str, message: &str| Problem { place: place.to_owned(), message: message.to_owned() };
    let problems: Vec<Problem> = [
        to.is_none().then(|| problem("/to", "must be an e-mail address")),
        (!is_one_line(&letter.subject)).then(|| problem("/subject", "must be one line of text")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let Some(to) = to.filter(|_| problems.is_empty()) else {
        return Err(Error::invalid("this letter cannot be sent", problems));
    };
    let mut id = [0; 16];
    random.fill(&mut id);
    let parts = MultiPart::alternative()
        .singlepart(part(ContentType::TEXT_PLAIN, &letter.text)?)
        .singlepart(part(ContentType::TEXT_HTML, &letter.html)?);
    Message::builder()
        .date(now.into())
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(&letter.subject)
        .message_id(Some(format!("<{:032x}@{}>", u128::from_le_bytes(id), from.email.domain())))
        .multipart(parts)
        .map_err(unwritable)
}

fn part(content_type: ContentType, text: &str) -> Result<SinglePart> {
    let body = Body::new_with_encoding(text.to_owned(), ContentTransferEncoding::QuotedPrintable);
    let body = body.map_err(|_| Error::new(ErrorKind::Bug, "a letter could not be written"))?;
    Ok(SinglePart::builder().header(content_type).body(body))
}

fn is_one_line(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

fn unwritable(error: lettre::error::Error) -> Error {
    Error::new(ErrorKind::Bug, "a letter could not be written").caused_by(error)
}
