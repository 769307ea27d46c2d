//! Letters by a mail server of one's own, over SMTP (RFC 5321). Encrypted always, by TLS from the start (`smtps`) or by STARTTLS (`smtp`),
//! except to a server on this machine. A letter has a connection of its own: they are rare, and a connection that was kept may be gone.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Tokio1Executor,
    message::Mailbox,
    transport::smtp::{
        self,
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::mime;
use crate::{
    connectors::Problem,
    error::{Error, ErrorKind, Result},
    ports::{Clock, Letter, Mail, Random},
};

/// How long connecting may take.
const CONNECT_TIME: Duration = Duration::from_secs(15);
/// How long all of it may take. Whoever asked for the letter waits so long.
const SEND_TIME: Duration = Duration::from_secs(45);
/// The port for letters with TLS from the start, and with STARTTLS.
const PORTS: (u16, u16) = (465, 587);
/// How much of what a server said goes into an error.
const SAID_CHARS: usize = 300;

/// A mail server, and whom letters come from.
#[derive(Clone)]
pub struct SmtpSettings {
    host: String,
    port: u16,
    encryption: Encryption,
    credentials: Option<(String, SecretString)>,
    from: Mailbox,
    roots: Vec<Certificate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encryption {
    FromTheStart,
    StartTls,
    None,
}

impl SmtpSettings {
    /// From an address, such as `smtps://name:password@mail.example.com` or `smtp://mail.example.com:587?tls=required`, and whom letters
    /// come from: `letters@example.com` or `Backups <letters@example.com>`.
    ///
    /// # Errors
    /// `Invalid` with every problem, at `/smtpUrl` and `/mailFrom`; never with a part of the address, which holds a password.
    pub fn new(url: &SecretString, from: Option<&str>) -> Result<Self> {
        let server = Server::parse(url.expose_secret());
        let mailbox = from.and_then(|from| from.parse::<Mailbox>().ok());
        let mut problems = Vec::new();
        let mut add = |place: &str, message: &str| {
            problems.push(Problem { place: place.to_owned(), message: message.to_owned() });
        };
        if server.is_none() {
            add(
                "/smtpUrl",
                "must be smtps://NAME:PASSWORD@HOST:PORT, or smtp:// for STARTTLS, which only a server on this machine goes without",
            );
        }
        if mailbox.is_none() {
            add("/mailFrom", "must be the address that letters come from");
        }
        let (Some(server), Some(from)) = (server, mailbox) else {
            return Err(Error::invalid("no letters can be sent so", problems));
        };
        let Server { host, port, encryption, credentials } = server;
        Ok(Self { host, port, encryption, credentials, from, roots: Vec::new() })
    }

    /// Also trusts servers whose certificate these authorities (PEM) vouch for.
    ///
    /// # Errors
    /// `Invalid` when that is no certificate.
    pub fn trusting(mut self, pem: &[u8]) -> Result<Self> {
        let root = Certificate::from_pem(pem)
            .map_err(|error| Error::new(ErrorKind::Invalid, "this is no certificate").caused_by(error))?;
        self.roots.push(root);
        Ok(self)
    }
}

impl fmt::Debug for SmtpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, encryption, from, .. } = self;
        f.debug_struct("SmtpSettings")
            .field("host", host)
            .field("port", port)
            .field("encryption", encryption)
            .field("from", &from.to_string())
            .finish_non_exhaustive()
    }
}

/// What an address says.
struct Server {
    host: String,
    port: u16,
    encryption: Encryption,
    credentials: Option<(String, SecretString)>,
}

impl Server {
    fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let host = url.host_str().filter(|host| !host.is_empty())?.trim_matches(['[', ']']).to_owned();
        let wants_tls = match url.query() {
            None => None,
            Some("tls=required") => Some(true),
            Some("tls=none") => Some(false),
            Some(_) => return None,
        };
        let encryption = match (url.scheme(), wants_tls, is_this_machine(&host)) {
            ("smtps", None | Some(true), _) => Encryption::FromTheStart,
            ("smtp", None | Some(false), true) => Encryption::None,
            ("smtp", None | Some(true), _) => Encryption::StartTls,
            _ => return None,
        };
        let is_bare = matches!(url.path(), "" | "/") && url.fragment().is_none();
        let port = url.port().unwrap_or(if encryption == Encryption::FromTheStart { PORTS.0 } else { PORTS.1 });
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(String::from);
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            ("", Some(_)) | (_, None) => return None,
            (name, Some(password)) => Some((decoded(name)?, SecretString::from(decoded(password)?))),
        };
        is_bare.then_some(Self { host, port, encryption, credentials })
    }
}

fn is_this_machine(host: &str) -> bool {
    match Host::parse(host) {
        Ok(Host::Domain(name)) => name == "localhost",
        Ok(Host::Ipv4(address)) => address.is_loopback(),
        _ => host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
    }
}

/// Sends by that server.
pub struct SmtpMail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl SmtpMail {
    /// Nothing is sent, and nobody is connected to, before the first letter.
    ///
    /// # Errors
    /// `Bug` when the TLS set-up of this machine cannot be used.
    pub fn new(settings: &SmtpSettings, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<Self> {
        let tls = match settings.encryption {
            Encryption::None => Tls::None,
            Encryption::StartTls => Tls::Required(tls(settings)?),
            Encryption::FromTheStart => Tls::Wrapper(tls(settings)?),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
            .port(settings.port)
            .tls(tls)
            .timeout(Some(CONNECT_TIME));
        if let Some((name, password)) = &settings.credentials {
            builder = builder.credentials(Credentials::new(name.clone(), password.expose_secret().to_owned()));
        }
        Ok(Self { transport: builder.build(), from: settings.from.clone(), clock, random })
    }
}

#[async_trait]
impl Mail for SmtpMail {
    /// # Errors
    /// `Invalid` for a letter or an address that the server does not take, `Denied` when it does not let us send, `Retry` for what passes.
    async fn send(&self, letter: &Letter) -> Result<()> {
        let message = mime::compose(letter, &self.from, self.clock.now(), &*self.random)?;
        match tokio::time::timeout(SEND_TIME, self.transport.send(message)).await {
            Ok(sent) => sent.map(drop).map_err(|error| failed(&error)),
            Err(_) => Err(Error::new(ErrorKind::Retry, "the mail server takes too long")),
        }
    }

    fn is_set_up(&self) -> bool {
        true
    }
}

fn tls(settings: &SmtpSettings) -> Result<TlsParameters> {
    let builder = TlsParameters::builder(settings.host.clone());
    let builder = settings.roots.iter().fold(builder, |builder, root| builder.add_root_certificate(root.clone()));
    builder.build().map_err(|error| Error::new(ErrorKind::Bug, "TLS cannot be used here").caused_by(error))
}

fn failed(error: &smtp::Error) -> Error {
    let status = error.status().map(u16::from);
    let (kind, message) = match status {
        Some(530 | 534 | 535 | 538) => {
            (ErrorKind::Denied, "the mail server does not take the name and the password of LISTBACKUP_SMTP_URL")
        }
        _ if error.is_permanent() => (ErrorKind::Invalid, "the mail server does not take this letter"),
        _ if error.is_client() || error.is_tls() => {
            (ErrorKind::Denied, "the mail server offers no encryption that can be trusted, or no way to sign in")
        }
        _ => (ErrorKind::Retry, "the mail server cannot be reached, or asks for patience"),
    };
    let said: String = error.to_string().chars().filter(|letter| !letter.is_control()).take(SAID_CHARS).collect();
    Error::new(kind, message).with("said", said)
}
