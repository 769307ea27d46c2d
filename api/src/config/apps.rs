//! OAuth apps for all accounts, from the environment.

use listbackup_engine::run::oauth_apps::PlatformApps;

use super::{reader::Reader, table};

/// The apps of the file, or of the variable itself where it is JSON.
pub(super) fn oauth_apps(from: &mut Reader<'_>) -> PlatformApps {
    let Some(given) = from.text(&table::OAUTH_APPS) else { return PlatformApps::default() };
    from.file(&table::OAUTH_APPS, given, PlatformApps::read).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Config;

    fn config(apps: &str) -> listbackup_engine::Result<Config> {
        Config::read(&BTreeMap::from([("LISTBACKUP_OAUTH_APPS".to_owned(), apps.to_owned())]))
    }

    const APPS: &str =
        r#"{"hubspot": {"client_id": "id", "client_secret": "canary-canary", "hosts": ["api.hubapi.com"]}}"#;

    #[test]
    fn oauth_apps_come_from_a_file_or_from_the_variable_itself_and_workers_have_them_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("apps.json");
        std::fs::write(&file, APPS).unwrap();
        for given in [file.to_str().unwrap(), APPS] {
            let config = config(given).unwrap();
            assert_eq!(config.worker().run.oauth_apps.of("hubspot").unwrap().client_id, "id");
            assert!(!format!("{config:?}").contains("canary"));
        }
    }

    #[test]
    fn all_that_is_wrong_with_oauth_apps_is_told_at_once_and_no_secret_with_it() {
        let error =
            config(r#"{"hubspot": {"client_id": "", "client_secret": "canary", "hosts": ["https://x"]}}"#).unwrap_err();
        assert_eq!(error.problems().len(), 3, "{:?}", error.problems());
        assert!(error.problems().iter().all(|problem| problem.place == "LISTBACKUP_OAUTH_APPS"));
        assert!(!format!("{error} {error:?}").contains("canary"));
        assert_eq!(config("/nowhere/apps.json").unwrap_err().problems().len(), 1);
    }
}
