//! What a connector offers: its settings, its sign-in and its streams.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a person must know and fill in to connect an integration.
#[derive(Clone, Debug, Serialize)]
pub struct Spec {
    /// The name used in URLs and on the command line: lower case, digits and `-`.
    pub name: String,
    /// The name for people.
    pub title: String,
    /// One or two sentences for people.
    pub description: String,
    /// JSON schema (draft 7) of the settings. A secret field carries `"airbyte_secret": true`.
    pub settings_schema: Value,
    /// How a person signs in.
    pub sign_in: SignIn,
}

/// How an integration is signed in to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SignIn {
    /// No sign-in at all.
    None,
    /// Keys, passwords or tokens that the person enters as settings.
    Settings,
    /// OAuth 2: authorization code with PKCE S256.
    OAuth2(Box<OAuth2SignIn>),
}

/// What the authorization-code flow needs to know. URLs may hold templates over the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OAuth2SignIn {
    /// Where the person's browser is sent.
    pub authorize_url: String,
    /// Where codes and refresh tokens are exchanged.
    pub token_url: String,
    /// The least scopes that the streams need.
    pub scopes: Vec<String>,
    /// Settings field that holds the OAuth client's id, by path.
    pub client_id_path: Vec<String>,
    /// Settings field that holds the OAuth client's secret, by path.
    pub client_secret_path: Vec<String>,
    /// Settings field that receives the access token, by path.
    pub access_token_path: Vec<String>,
    /// Settings field that receives the refresh token, by path.
    pub refresh_token_path: Vec<String>,
    /// Settings field that receives the access token's expiry (RFC 3339), by path.
    pub expires_at_path: Vec<String>,
    /// Settings field, by path, and its value where the person chooses this way to sign in among others.
    pub chosen_by: Option<(Vec<String>, String)>,
}

impl OAuth2SignIn {
    /// True when settings choose OAuth. Many products take a key too; whoever names an OAuth client wants OAuth, unless
    /// another field says what they want.
    pub fn is_chosen(&self, settings: &Value) -> bool {
        let is_wanted = self.chosen_by.as_ref().is_none_or(|(path, value)| text_at(settings, path) == Some(value));
        is_wanted && text_at(settings, &self.client_id_path).is_some()
    }

    /// True when settings choose OAuth and hold nothing that a sign-in brings.
    pub fn is_awaited(&self, settings: &Value) -> bool {
        self.is_chosen(settings) && self.tokens_in(settings) == [None, None]
    }

    /// True when settings name no OAuth client, and do not say that they want another way to sign in.
    pub fn lacks_client(&self, settings: &Value) -> bool {
        let is_wanted = self.chosen_by.as_ref().is_none_or(|(path, value)| text_at(settings, path) == Some(value));
        is_wanted && self.client_id_in(settings).is_none()
    }

    /// The id of the OAuth client that settings name.
    pub fn client_id_in<'a>(&self, settings: &'a Value) -> Option<&'a str> {
        text_at(settings, &self.client_id_path)
    }

    /// The refresh token and the access token that settings hold.
    pub fn tokens_in<'a>(&self, settings: &'a Value) -> [Option<&'a str>; 2] {
        [&self.refresh_token_path, &self.access_token_path].map(|path| text_at(settings, path))
    }
}

/// The text at `path`; empty text counts as missing.
pub(crate) fn text_at<'a>(settings: &'a Value, path: &[String]) -> Option<&'a str> {
    path.iter().try_fold(settings, |value, name| value.get(name))?.as_str().filter(|text| !text.is_empty())
}

/// The streams of a connector.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Catalog {
    /// In the order in which the connector declares them.
    pub streams: Vec<StreamSpec>,
}

/// One stream of records.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct StreamSpec {
    /// The stream's name, unique in its connector.
    pub name: String,
    /// Paths of the fields that make the key; empty when the product has none (the record's digest is the key then).
    pub primary_key: Vec<Vec<String>>,
    /// Path of the field that moves forward when a record changes; empty for streams that are always read in full.
    pub cursor_field: Vec<String>,
    /// JSON schema of a record.
    pub json_schema: Value,
    /// Streams that must be read first.
    pub parents: Vec<String>,
    /// How a deletion in the product shows.
    pub deletions: Deletions,
    /// What can be written back; `None` for streams that can only be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<WriteSpec>,
}

/// What can be written back to a stream, for restoring its records.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct WriteSpec {
    /// Records can be made; the product chooses their keys.
    pub can_create: bool,
    /// Records can be changed.
    pub can_update: bool,
    /// Paths of fields that the product sets itself: never sent, and not compared.
    pub read_only: Vec<Vec<String>>,
    /// Fields that hold keys of other records.
    pub references: Vec<Reference>,
    /// Paths of fields by which a record is known apart from its key, such as an address; empty when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub natural_key: Vec<Vec<String>>,
}

/// A field that holds the key of a record, or a list of keys.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Reference {
    /// Path of the field.
    pub field: Vec<String>,
    /// The stream that the keys are of; it has one key field.
    pub stream: String,
}

impl StreamSpec {
    /// True when the stream can be read from a state.
    pub fn is_incremental(&self) -> bool {
        !self.cursor_field.is_empty()
    }
}

/// How a deletion in the product becomes visible to a reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Deletions {
    /// By absence: a record that a full read does not see is gone. An incremental read cannot tell.
    Absence,
    /// The product returns deleted records with a mark: this field is present and neither null nor false.
    Marked {
        /// Path of the marking field.
        field: Vec<String>,
    },
    /// Records are never deleted (ledgers, events).
    Never,
}
