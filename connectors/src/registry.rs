//! The integrations that ship with the product.

use std::{collections::BTreeMap, sync::Arc};

use crate::{connector::Integration, error::Result, manifest};

/// Our own manifests, by name.
const MANIFESTS: &[(&str, &str)] = &[
    ("sandbox", include_str!("../manifests/sandbox.yaml")),
    ("activecampaign", include_str!("../manifests/activecampaign.yaml")),
    ("gohighlevel", include_str!("../manifests/gohighlevel.yaml")),
    ("hubspot", include_str!("../manifests/hubspot.yaml")),
    ("keap", include_str!("../manifests/keap.yaml")),
    ("mailchimp", include_str!("../manifests/mailchimp.yaml")),
    ("shopify", include_str!("../manifests/shopify.yaml")),
    ("stripe", include_str!("../manifests/stripe.yaml")),
    ("zendesk", include_str!("../manifests/zendesk.yaml")),
];

/// Integrations by name.
pub struct Registry(BTreeMap<String, Arc<dyn Integration>>);

impl Registry {
    /// All of ours.
    ///
    /// # Errors
    /// `Invalid` when one of our own manifests cannot be read; tests keep that from happening.
    pub fn ours() -> Result<Self> {
        let mut all: Vec<Arc<dyn Integration>> = Vec::with_capacity(MANIFESTS.len());
        for (name, text) in MANIFESTS {
            all.push(Arc::new(
                manifest::parse(name, &format!("{name}.yaml"), text)
                    .map_err(|error| error.with("integration", *name))?,
            ));
        }
        Ok(Self::of(all))
    }

    /// Of these, by the names in their specs.
    pub fn of(integrations: Vec<Arc<dyn Integration>>) -> Self {
        Self(integrations.into_iter().map(|integration| (integration.spec().name.clone(), integration)).collect())
    }

    /// With one more.
    #[must_use]
    pub fn and(mut self, integration: Arc<dyn Integration>) -> Self {
        self.0.insert(integration.spec().name.clone(), integration);
        self
    }

    /// The integration of that name.
    pub fn get(&self, name: &str) -> Option<Arc<dyn Integration>> {
        self.0.get(name).cloned()
    }

    /// What can be connected, in name order.
    pub fn list(&self) -> Vec<Arc<dyn Integration>> {
        self.0.values().cloned().collect()
    }
}
