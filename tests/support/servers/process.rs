//! A server process that lives exactly as long as its guard.

use std::{
    ffi::{OsStr, OsString},
    io::{self, BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    thread,
};

/// Ends its process group when its standard input closes, which the end of the test process does too.
const GUARD: &str = r#""$@" 2>&1 & exec >/dev/null 2>&1; read -r line; kill -KILL 0"#;

/// A running server. Dropping it, or the death of the test process, ends it and all its children.
pub struct Server {
    guard: Child,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
}

impl Server {
    /// Starts a server that prints `127.0.0.1:PORT` once it takes connections.
    ///
    /// # Panics
    /// With all that it printed, when it ends before that.
    pub fn start<A: AsRef<OsStr>>(command: &[A], environment: &[(&str, OsString)]) -> Self {
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .args(command)
            .envs(environment.iter().cloned())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh can be started");
        let mut output = BufReader::new(guard.stdout.take().expect("stdout is piped"));
        let port = wait_for_port(&mut output);
        // What it prints later must not fill the pipe and stop it.
        thread::spawn(move || io::copy(&mut output, &mut io::sink()));
        Self { guard, port }
    }

    /// Its address, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // An error here means that it is gone already.
        let _ = self.guard.wait();
    }
}

fn wait_for_port(output: &mut impl BufRead) -> u16 {
    let mut printed = String::new();
    loop {
        let from = printed.len();
        let read = output.read_line(&mut printed).unwrap_or(0);
        assert!(read > 0, "the server ended before it listened; it printed:\n{printed}");
        if let Some(port) = port_in(&printed[from..]) {
            return port;
        }
    }
}

fn port_in(line: &str) -> Option<u16> {
    let digits = line.split("127.0.0.1:").nth(1)?;
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
