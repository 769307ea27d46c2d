//! Plans and payments, from the environment.

use listbackup_engine::billing::{
    Plans,
    stripe::{API_URL, StripeSettings},
};
use secrecy::SecretString;
use url::Url;

use super::{reader::Reader, table};

/// The plans of the file, or of the variable itself where it is JSON: a container may have no file of its own.
pub(super) fn plans(from: &mut Reader<'_>) -> Plans {
    let Some(given) = from.text(&table::PLANS) else { return Plans::default() };
    from.file(&table::PLANS, given, Plans::read).unwrap_or_default()
}

/// How Stripe is reached; `None` without a key.
pub(super) fn stripe(from: &mut Reader<'_>) -> Option<StripeSettings> {
    let is_key = |key: &String| ["sk_", "rk_"].iter().any(|start| key.starts_with(start)) && key.is_ascii();
    let key: Option<String> = from.parsed_if(&table::STRIPE_KEY, is_key);
    let webhook_secret: Option<String> =
        from.parsed_if(&table::STRIPE_WEBHOOK_SECRET, |secret: &String| secret.starts_with("whsec_"));
    let api_url = from.parsed_if(&table::STRIPE_API_URL, |url: &Url| matches!(url.scheme(), "http" | "https"));
    Some(StripeSettings {
        key: SecretString::from(key?),
        webhook_secret: webhook_secret.map(SecretString::from),
        api_url: api_url.or_else(|| API_URL.parse().ok())?,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Config;

    fn config(variables: &[(&str, &str)]) -> listbackup_engine::Result<Config> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::read(&variables.collect::<BTreeMap<_, _>>())
    }

    const PLANS: &str = r#"{"plans": [{"name": "free", "title": "Free", "default": true, "limits": {"sources": 3}}]}"#;

    #[test]
    fn plans_come_from_a_file_or_from_the_variable_itself() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plans.json");
        std::fs::write(&file, PLANS).unwrap();
        for given in [file.to_str().unwrap(), PLANS] {
            let config = config(&[("LISTBACKUP_PLANS", given)]).unwrap();
            assert_eq!(config.plans.free().limits.sources, Some(3));
            assert_eq!(config.worker().run.plans, config.plans);
        }
        assert!(!config(&[]).unwrap().plans.is_enforced());
    }

    #[test]
    fn all_that_is_wrong_with_plans_and_payments_is_told_at_once_and_no_secret_with_it() {
        let error = config(&[
            ("LISTBACKUP_PLANS", r#"{"plans": [{"name": "", "title": "", "default": true}]}"#),
            ("LISTBACKUP_STRIPE_KEY", "canary"),
            ("LISTBACKUP_STRIPE_WEBHOOK_SECRET", "canary"),
            ("LISTBACKUP_STRIPE_API_URL", "ftp://x"),
        ])
        .unwrap_err();
        let problems = error.problems();
        assert_eq!(problems.len(), 5, "{problems:?}");
        assert!(problems[0].message.contains("/plans/0/name") && problems[1].message.contains("/plans/0/title"));
        assert!(!format!("{error} {error:?} {problems:?}").contains("canary"));
        let missing = config(&[("LISTBACKUP_PLANS", "/nowhere/plans.json")]).unwrap_err();
        assert_eq!(missing.problems()[0].place, "LISTBACKUP_PLANS");
    }

    #[test]
    fn payments_need_a_key_and_nothing_else() {
        assert!(config(&[("LISTBACKUP_STRIPE_WEBHOOK_SECRET", "whsec_x")]).unwrap().stripe.is_none());
        let stripe = config(&[("LISTBACKUP_STRIPE_KEY", "sk_test_x")]).unwrap().stripe.unwrap();
        assert_eq!((stripe.api_url.as_str(), stripe.webhook_secret.is_none()), ("https://api.stripe.com/", true));
        assert!(!format!("{stripe:?}").contains("sk_test_x"));
    }
}
