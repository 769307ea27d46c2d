//! Another master key for a data directory: everything opens with it, nothing with the old one, and wherever the change is cut off
//! nothing is lost.

#[path = "support/program.rs"]
mod program;
#[path = "support/running.rs"]
mod running;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use listbackup::worker::{Worker, WorkerSettings};
use listbackup_engine::{
    Error,
    adapters::embedded::{NewMasterKey, OpenMode},
    run::rewrap,
};
use program::{Program, binary, run};
use reqwest::Method;
use running::{Running, sandbox};
use serde_json::{Value, json};
use tokio::process::Command;

fn command(program: &Program, key: &Path) -> Command {
    let mut command = Command::new(binary());
    command.args(["keys", "rewrap", "--json", "--new-key-file"]).arg(key);
    command.arg("--data-dir").arg(program.data_dir()).kill_on_drop(true);
    command
}

async fn rewrap(program: &Program, key: &Path) -> Value {
    serde_json::from_slice(&run(&mut command(program, key)).await).expect("one document")
}

async fn code(command: &mut Command) -> (i32, String) {
    let output = command.output().await.expect("it runs");
    (output.status.code().expect("a code"), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn beside(program: &Program, name: &str) -> PathBuf {
    program.data_dir().with_file_name(name)
}

/// Sealed texts of the database: a credential, the secrets of a webhook and an OAuth app, and a key that signs access tokens, at least.
fn sealed(data_dir: &Path) -> Vec<String> {
    let database = rusqlite::Connection::open(data_dir.join("listbackup.db")).expect("a database");
    let select = "SELECT sealed FROM secrets UNION SELECT json_extract(body, '$.sealed') FROM rows_api_keys \
                  WHERE json_extract(body, '$.sealed') IS NOT NULL \
                  UNION SELECT json_extract(body, '$.sealed') FROM rows_webhooks \
                  WHERE json_extract(body, '$.sealed') IS NOT NULL \
                  UNION SELECT json_extract(body, '$.sealed') FROM rows_integrations \
                  WHERE json_extract(body, '$.sealed') IS NOT NULL";
    let mut select = database.prepare(select).expect("a statement");
    let found = select.query_map([], |row| row.get(0)).expect("rows").collect::<Result<Vec<String>, _>>();
    found.expect("texts")
}

/// True when the database, its free pages or its log hold this text.
fn holds(data_dir: &Path, text: &str) -> bool {
    let files = ["listbackup.db", "listbackup.db-wal"].map(|name| fs::read(data_dir.join(name)).unwrap_or_default());
    files.iter().any(|file| file.windows(text.len()).any(|window| window == text.as_bytes()))
}

/// A directory with a credential, a webhook, a signing key and a snapshot of the sandbox. Its source, its keys to check tokens.
async fn used(program: &Program, product: &str) -> (String, Value) {
    let up = Running::up(program);
    let source = up.api().connect_sandbox(product).await;
    let run = up.api().sync(&source).await;
    assert_eq!(up.api().ended(&run).await["status"], "succeeded");
    let jwks = up.api().call(Method::GET, "/.well-known/jwks.json", None).await;
    assert_eq!(jwks["keys"].as_array().map(Vec::len), Some(1));
    let webhook = json!({ "url": "https://93.184.216.34/", "kinds": ["member.*"] });
    up.api().call(Method::POST, "/webhooks", Some(&webhook)).await;
    let app = json!({ "client_id": "id", "client_secret": "long enough", "hosts": ["a.example"] });
    up.api().call(Method::PUT, "/integrations/hubspot/oauth/app", Some(&app)).await;
    up.kill();
    (source, jwks)
}

/// Everything that hangs on the master key works.
async fn assert_works(program: &Program, source: &str, jwks: &Value) {
    let up = Running::up(program);
    assert_eq!(up.api().call(Method::GET, "/.well-known/jwks.json", None).await, *jwks);
    let run = up.api().sync(source).await;
    assert_eq!(up.api().ended(&run).await["status"], "succeeded", "the credential opens");
    up.kill();
    assert_eq!(program.json("verify", &["--data"]).await["clean"], true);
    let snapshots = program.json("snapshots", &[]).await;
    let newest = snapshots[snapshots.as_array().expect("a list").len() - 1]["snapshot_id"].as_str().expect("an id");
    assert!(!program.export(newest, "contacts", "id").await.is_empty(), "records are read");
}

#[tokio::test]
async fn a_new_master_key_opens_everything_and_the_old_one_nothing() {
    let (program, product) = (Program::new(), sandbox(500, 0));
    let data_dir = program.data_dir();
    let (source, jwks) = used(&program, &product.url()).await;
    let (master, new) = (data_dir.join("master.key"), beside(&program, "new.key"));
    let (old, before) = (fs::read(&master).expect("a key"), sealed(&data_dir));
    assert_eq!(before.len(), 4);

    let up = Running::up(&program);
    let (refused, said) = code(&mut command(&program, &new)).await;
    assert_eq!(refused, 4, "{said}");
    assert!(!new.exists(), "a refused command makes no key");
    up.kill();

    let done = rewrap(&program, &new).await;
    assert_eq!((&done["is_made"], &done["is_changed"]), (&true.into(), &true.into()), "{done}");
    for told in ["wrapped", "removed"] {
        let of = |what: &str| done[told][what].as_u64();
        assert_eq!((of("data_keys"), of("credentials"), of("secrets")), (Some(1), Some(3), Some(1)), "{done}");
    }
    assert_eq!(fs::metadata(&new).expect("a key").permissions().mode() & 0o777, 0o600);
    let key = fs::read(&new).expect("a key");
    assert_eq!(fs::read(&master).expect("a key"), key);
    assert_ne!(key, old);
    for text in before {
        // The head has the wrapped key; the sealed rest is the same as before.
        assert!(!holds(&data_dir, &text[..80]), "a secret can still be opened with the old key");
    }
    assert_works(&program, &source, &jwks).await;

    fs::write(&master, &old).expect("put back");
    let (refused, said) = code(&mut program.command("snapshots")).await;
    assert_eq!(refused, 5, "{said}");
    assert!(said.contains("wrapped with another master key"), "{said}");
    fs::write(&master, &key).expect("put back");
    // The same again changes nothing.
    let again = rewrap(&program, &new).await;
    assert_eq!((&again["is_made"], &again["is_changed"]), (&false.into(), &false.into()), "{again}");
    assert_eq!(again["removed"]["data_keys"], 0);
    let log = Running::up(&program).api().call(Method::GET, "/activity?limit=200", None).await;
    let told = log["items"].as_array().expect("a list").iter().filter(|event| event["kind"] == "account.key_rewrapped");
    assert_eq!(told.count(), 1, "{log}");
}

/// The steps of the command, up to one of them.
async fn rewrap_up_to(data_dir: &Path, key: &Path, steps: usize) -> Result<(), Error> {
    let open = || Worker::open(data_dir, OpenMode::Write, WorkerSettings::of_a_person());
    let worker = open()?;
    let new = NewMasterKey::at(key)?;
    let accounts = worker.stores.accounts_with_keys().await?;
    let scopes: Vec<_> = accounts.into_iter().map(|account_id| worker.ctx.system.account(account_id)).collect();
    let keys = new.keys();
    for scope in scopes.iter().take(steps) {
        worker.ctx.snapshots.wrap_keys_anew(scope, &*keys).await?;
    }
    for scope in scopes.iter().take(steps.saturating_sub(1)) {
        rewrap::wrap_anew(&worker.ctx, scope, &*keys).await?;
    }
    if steps >= 3 {
        worker.stores.wrap_secrets_anew(&*keys).await?;
    }
    if steps >= 4 {
        worker.stores.take_master_key(&new)?;
        let ctx = Arc::downgrade(&worker.ctx);
        drop(worker);
        assert!(ctx.upgrade().is_none(), "the directory is let go of");
        let worker = open()?;
        for scope in scopes.iter().take(steps - 4) {
            rewrap::finish(&worker.ctx, scope, "cli").await?;
        }
        if steps >= 6 {
            worker.stores.remove_other_forms_of_secrets().await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_after_any_step_the_directory_works_and_the_command_finishes_it() {
    for steps in 0..=6 {
        let (program, product) = (Program::new(), sandbox(100, 0));
        let (source, jwks) = used(&program, &product.url()).await;
        let (master, new) = (program.data_dir().join("master.key"), beside(&program, "new.key"));
        let old = fs::read(&master).expect("a key");
        rewrap_up_to(&program.data_dir(), &new, steps).await.expect("the steps");
        assert_eq!(fs::read(&master).expect("a key") == old, steps < 4);
        assert_works(&program, &source, &jwks).await;
        // Before the key is changed also with another one than the cut-off attempt had.
        let wanted = if steps == 2 { beside(&program, "third.key") } else { new };
        let done = rewrap(&program, &wanted).await;
        assert_eq!(done["is_changed"], steps < 4, "{done}");
        assert_works(&program, &source, &jwks).await;
        fs::write(&master, &old).expect("the old one");
        let (refused, said) = code(&mut program.command("snapshots")).await;
        assert_eq!(refused, 5, "after {steps} steps: {said}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_master_key_or_open_to_others_changes_nothing() {
    let (program, product) = (Program::new(), sandbox(100, 0));
    let (source, jwks) = used(&program, &product.url()).await;
    let (master, new) = (program.data_dir().join("master.key"), beside(&program, "new.key"));
    let old = fs::read(&master).expect("a key");
    fs::write(&new, [7; 31]).expect("a file");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).expect("its mode");
    assert_eq!(code(&mut command(&program, &new)).await.0, 5);
    fs::write(&new, [7; 32]).expect("a file");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).expect("its mode");
    let (refused, said) = code(&mut command(&program, &new)).await;
    assert_eq!(refused, 2, "{said}");
    assert!(said.contains("chmod 600"), "{said}");
    assert_eq!(fs::read(&master).expect("a key"), old);
    assert_works(&program, &source, &jwks).await;
}
