//! `listbackup connector new`: a manifest to start from.

use std::{fs::OpenOptions, io::Write as _, path::Path};

use listbackup_engine::{Error, ErrorKind, Result};

use crate::cli::{
    exit::{Done, Outcome},
    output,
};

/// Reads the contacts of the sandbox as it is.
const START: &str = include_str!("start.yaml");

/// Writes `NAME.yaml` into the present folder.
pub fn run(name: &str) -> Outcome {
    let file = format!("{}.yaml", checked(name)?);
    write(Path::new(&file))?;
    output::line(&format!("{file} is written; it reads the sandbox. Try it:"));
    output::line("  listbackup sandbox    (in another terminal)");
    output::line(&format!("  listbackup connector compat {file}"));
    output::line(&format!("  listbackup connector read --manifest {file} --set api_key=sandbox-key --limit 3"));
    Ok(Done::Whole)
}

/// A name as in URLs and on the command line.
fn checked(name: &str) -> Result<&str> {
    let is_good = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if !name.is_empty() && name.chars().all(is_good) && !name.starts_with('-') {
        return Ok(name);
    }
    let message = "a connector's name is made of lower case letters, digits and `-`, such as my-shop";
    Err(Error::new(ErrorKind::Invalid, message).with("name", name))
}

fn write(path: &Path) -> Result<()> {
    let told = |error: std::io::Error| {
        let message = match error.kind() {
            std::io::ErrorKind::AlreadyExists => "the file is there already: choose another name".to_owned(),
            _ => format!("the file cannot be written: {error}"),
        };
        Error::new(ErrorKind::Invalid, message).with("file", path.display())
    };
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(told)?;
    file.write_all(START.as_bytes()).map_err(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.yaml");
        std::fs::write(&path, "mine").unwrap();
        assert!(write(&path).unwrap_err().to_string().contains("there already"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        for name in ["../x", "a/b", "", "Shop", "-x", "a.b"] {
            assert!(checked(name).is_err(), "{name}");
        }
        assert_eq!(checked("my-shop-2").unwrap(), "my-shop-2");
    }

    #[test]
    fn the_start_is_told_nothing_about() {
        let report = listbackup_engine::connectors::manifest::compat::compat("start.yaml", START);
        assert!(report.runs && report.findings.is_empty(), "{report:#?}");
    }
}
