//! Letters by SES (API version 2).

use async_trait::async_trait;
use aws_sdk_sesv2::types::{Body, Content, Destination, EmailContent, Message};

use super::{AwsClients, AwsSettings, error::failed};
use crate::{
    error::{Error, ErrorKind, Result},
    ports::{Letter, Mail},
};

const SERVICE: &str = "SES";

/// Sends from one address, which SES has to have verified, by itself or by its domain.
pub struct SesMail {
    client: aws_sdk_sesv2::Client,
    from: Option<String>,
}

impl SesMail {
    /// From the address of the settings.
    pub fn new(clients: &AwsClients, settings: &AwsSettings) -> Self {
        Self { client: clients.ses.clone(), from: settings.mail_from().map(ToOwned::to_owned) }
    }
}

#[async_trait]
impl Mail for SesMail {
    /// # Errors
    /// `Invalid` without an address to send from, and for what SES does not take; `Retry` for what passes.
    async fn send(&self, letter: &Letter) -> Result<()> {
        let from = self.from.as_ref().ok_or_else(|| {
            let message = "no letter can be sent: no sender is set (LISTBACKUP_MAIL_FROM)";
            Error::new(ErrorKind::Invalid, message).with("subject", &letter.subject)
        })?;
        let message = Message::builder()
            .subject(text(&letter.subject)?)
            .body(Body::builder().text(text(&letter.text)?).html(text(&letter.html)?).build())
            .build();
        let request = self
            .client
            .send_email()
            .from_email_address(from)
            .destination(Destination::builder().to_addresses(&letter.to).build())
            .content(EmailContent::builder().simple(message).build());
        request.send().await.map(drop).map_err(|error| failed(SERVICE, error))
    }

    fn is_set_up(&self) -> bool {
        self.from.is_some()
    }
}

fn text(text: &str) -> Result<Content> {
    Content::builder()
        .data(text)
        .charset("UTF-8")
        .build()
        .map_err(|error| Error::new(ErrorKind::Bug, "a letter could not be written").caused_by(error))
}
