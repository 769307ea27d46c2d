//! `JwtAuthenticator`: requests carry a token that we sign ourselves.

use std::time::Duration;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};

use super::{
    super::{
        load::{Take, View},
        session::Session,
        template::{Only, Python, Template},
    },
    auth::authorize,
    body::Inputs,
    options::{Fields, Injections, RequestOption},
};
use crate::{Error, ErrorKind, Result, clock};

/// How long a token lasts when the manifest does not say.
const DURATION_S: u64 = 1200;

/// The component as the manifest writes it.
#[derive(Debug)]
pub(crate) struct Jwt {
    algorithm: Algorithm,
    name: String,
    secret: Template,
    encodes_secret: Option<Template>,
    lasts: Duration,
    prefix: Option<Template>,
    /// Claims and header members that have names of their own.
    headers: Vec<(&'static str, Template)>,
    claims: Vec<(&'static str, Template)>,
    other_headers: Inputs,
    other_claims: Inputs,
    option: Option<RequestOption>,
}

impl Jwt {
    /// Reads the component.
    pub(crate) fn load(view: &View<'_>) -> Take<Self> {
        view.refuse(&["passphrase"])?;
        let name = view.required_text("algorithm")?;
        let algorithm = match name.as_str() {
            "ES512" | "ES256K" => return Err(view.problem(format!("the algorithm `{name}` is not supported"))),
            other => other.parse().map_err(|_| view.problem(format!("`algorithm` cannot be `{other}`")))?,
        };
        let named = |child: &str, names: &[&'static str]| -> Take<Vec<(&'static str, Template)>> {
            let Some(child) = view.child(child) else { return Ok(Vec::new()) };
            let mut found = Vec::new();
            for name in names {
                if let Some(template) = child.template(name)?.filter(|template| !template.source().is_empty()) {
                    found.push((*name, template));
                }
            }
            Ok(found)
        };
        let seconds = view.int("token_duration")?.and_then(|seconds| u64::try_from(seconds).ok());
        Ok(Self {
            algorithm,
            name,
            secret: view.required_template("secret_key")?,
            encodes_secret: view.template("base64_encode_secret_key")?,
            lasts: Duration::from_secs(seconds.unwrap_or(DURATION_S)),
            prefix: view.template("header_prefix")?.filter(|template| !template.source().is_empty()),
            headers: named("jwt_headers", &["kid", "typ", "cty"])?,
            claims: named("jwt_payload", &["iss", "sub", "aud"])?,
            other_headers: Inputs::load(view, "additional_jwt_headers")?,
            other_claims: Inputs::load(view, "additional_jwt_payload")?,
            option: view.child("request_option").map(|option| RequestOption::load(&option)).transpose()?,
        })
    }

    /// Signs a request.
    ///
    /// # Errors
    /// `Invalid` when the secret is no key for the algorithm; as for templates.
    pub(crate) fn sign(&self, session: &Session, injections: &mut Injections) -> Result<()> {
        let mut token = self.token(session)?;
        if let Some(prefix) = &self.prefix {
            token = format!("{} {token}", prefix.text(&session.engine, session.scope())?);
        }
        match &self.option {
            Some(option) => option.inject(&session.engine, session.scope(), Python::Text(token), injections),
            None => {
                authorize(injections, token);
                Ok(())
            }
        }
    }

    /// A token signed now, in which the same settings give the same claims beside the times.
    ///
    /// # Errors
    /// As for [`Jwt::sign`].
    pub(super) fn token(&self, session: &Session) -> Result<String> {
        let now = clock::now().as_second();
        let mut headers = self.parts(session, &self.other_headers, &self.headers, &["kid", "alg", "typ", "cty"])?;
        if !headers.0.iter().any(|(name, _)| name == "typ") {
            headers.set(&["typ".to_owned()], Python::Text("JWT".into()));
        }
        headers.set(&["alg".to_owned()], Python::Text(self.name.clone()));
        let reserved = ["iss", "sub", "aud", "iat", "exp", "nbf"];
        let mut claims = self.parts(session, &self.other_claims, &self.claims, &reserved)?;
        let until = now.saturating_add_unsigned(self.lasts.as_secs());
        for (name, second) in [("iat", now), ("exp", until), ("nbf", now)] {
            claims.set(&[name.to_owned()], Python::Int(second.into()));
        }
        let encoded = |fields: Fields| URL_SAFE_NO_PAD.encode(fields.into_python().to_json());
        let message = format!("{}.{}", encoded(headers), encoded(claims));
        let signature = crypto::sign(message.as_bytes(), &self.key(session)?, self.algorithm);
        let signature = signature.map_err(|_| self.wrong_key())?;
        Ok(format!("{message}.{signature}"))
    }

    /// The members that the manifest adds, and those with names of their own.
    fn parts(
        &self,
        session: &Session,
        others: &Inputs,
        own: &[(&'static str, Template)],
        reserved: &[&str],
    ) -> Result<Fields> {
        let mut fields = others.evaluate(&session.engine, session.scope(), Only::Any)?;
        if let Some((name, _)) = fields.0.iter().find(|(name, _)| reserved.contains(&name.as_str())) {
            let message = format!("`{name}` of a JwtAuthenticator has a field of its own and cannot be added");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        for (name, template) in own {
            fields.set(&[(*name).to_owned()], template.value(&session.engine, session.scope())?);
        }
        Ok(fields)
    }

    fn key(&self, session: &Session) -> Result<EncodingKey> {
        let mut secret = self.secret.text(&session.engine, session.scope())?;
        let encodes = self.encodes_secret.as_ref();
        if encodes.map_or(Ok(false), |encodes| encodes.is_met(&session.engine, session.scope()))? {
            secret = STANDARD.encode(secret);
        }
        match self.name.get(..2) {
            Some("HS") => Ok(EncodingKey::from_secret(secret.as_bytes())),
            Some("ES") => EncodingKey::from_ec_pem(secret.as_bytes()).map_err(|_| self.wrong_key()),
            Some("Ed") => EncodingKey::from_ed_pem(secret.as_bytes()).map_err(|_| self.wrong_key()),
            _ => EncodingKey::from_rsa_pem(secret.as_bytes()).map_err(|_| self.wrong_key()),
        }
    }

    /// Never holds the key.
    fn wrong_key(&self) -> Error {
        let message = format!("the secret key in the settings cannot sign with {}: enter it again, whole", self.name);
        Error::new(ErrorKind::Invalid, message)
    }
}
