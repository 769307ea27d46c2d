//! Letters say the same as text and as a page, whoever wrote the names in them; and they arrive by a real mail server.

#[path = "mail/letters.rs"]
mod letters;
#[path = "support/servers/mod.rs"]
mod servers;
#[path = "mail/smtp.rs"]
mod smtp;
mod support;
