//! Clients that generators make of the served document, compiled strictly. Each makes a real backup of the sandbox.

use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

use crate::{
    program::run,
    running::truth,
    served::{Served, here},
    servers,
};

/// What openapi-python-client cannot make a class of, and leaves out with the functions that answer it: variants with a tag beside the
/// fields of another schema.
const NOT_IN_PYTHON: [&str; 1] = ["/components/schemas/FoundView"];

#[tokio::test]
async fn a_typescript_client_of_the_document_backs_up() {
    let (packages, generator, compiler) = match node_tools() {
        Ok(tools) => tools,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let served = Served::start().await;
    let document = served.write_document().await;
    let at = served.directory();
    std::os::unix::fs::symlink(packages, at.join("node_modules")).expect("a link to the packages");
    std::fs::write(at.join("package.json"), r#"{"type":"module"}"#).expect("a package");
    std::fs::copy(here("client.ts"), at.join("client.ts")).expect("the program");
    run(Command::new(generator).current_dir(at).arg(document).args(["-o", "api.d.ts"])).await;
    let options = ["--strict", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler"];
    run(Command::new(compiler).current_dir(at).args(options).args(["--types", "node", "client.ts"])).await;
    let mut client = Command::new("node");
    assert_backed_up(&served, client.current_dir(at).arg("client.js")).await;
}

#[tokio::test]
async fn a_python_client_of_the_document_backs_up() {
    let (python, generator, checker) = match python_tools() {
        Ok(tools) => tools,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let served = Served::start().await;
    let document = served.write_document().await;
    let at = served.directory();
    std::fs::copy(here("client.py"), at.join("client.py")).expect("the program");
    let mut generate = Command::new(&generator);
    // Formats what it writes with the `ruff` beside it.
    generate.env("PATH", path_with(generator.parent().expect("a folder of tools")));
    generate.current_dir(at).arg("generate").arg("--path").arg(document);
    let generate = generate.args(["--output-path", "listbackup_client", "--meta", "none"]);
    let output = generate.output().await.expect("the generator can be started");
    let told = [&output.stderr[..], &output.stdout].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{told}");
    assert_eq!(left_out(&told), NOT_IN_PYTHON, "{told}");
    run(Command::new(&python).current_dir(at).args(["-m", "compileall", "-q", "listbackup_client"])).await;
    run(Command::new(checker).current_dir(at).arg("--config-file").arg(here("mypy.ini")).arg("client.py")).await;
    let mut client = Command::new(&python);
    assert_backed_up(&served, client.current_dir(at).arg("client.py")).await;
}

/// Runs a client's program: it reads as many records from its snapshot as the product has.
async fn assert_backed_up(served: &Served, client: &mut Command) {
    let sandbox = served.sandbox().await;
    let printed = run(client.arg(served.url()).arg(served.mails()).arg(&sandbox)).await;
    let read: Value = serde_json::from_slice(&printed).expect("one JSON document");
    assert_eq!(read["records"], truth(&sandbox, "companies").await.len(), "{read}");
}

type Tools = (std::path::PathBuf, std::path::PathBuf, std::path::PathBuf);

fn node_tools() -> Result<Tools, String> {
    Ok((servers::node_packages()?, servers::node_tool("openapi-typescript")?, servers::node_tool("tsc")?))
}

fn python_tools() -> Result<Tools, String> {
    Ok((servers::tool("python")?, servers::tool("openapi-python-client")?, servers::tool("mypy")?))
}

fn path_with(first: &Path) -> std::ffi::OsString {
    let others = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths([first.to_owned()].into_iter().chain(std::env::split_paths(&others))).expect("a search path")
}

/// The schemas and operations that the generator warned of.
fn left_out(told: &str) -> Vec<&str> {
    let schemas = told.lines().filter_map(|line| line.strip_prefix("Unable to parse schema "));
    let operations = told.lines().filter_map(|line| line.strip_prefix("WARNING parsing "));
    schemas.chain(operations).map(|name| name.trim_end_matches(':')).collect()
}
