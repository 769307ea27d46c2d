//! The released program over a large account: how soon it serves, how long reading and listing take at 500 requests a second, and what
//! of that a flood of sign-ins takes away. `benches/README.md` says how to run it and what came out.

#[path = "support/account.rs"]
mod account;
#[path = "support/load.rs"]
mod load;

use std::{
    io::{self, BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use account::Large;
use load::{Asked, Times};

const SOURCES: usize = 10_000;
const RUNS: usize = 100_000;
const EVENTS: usize = 1_000_000;
const REQUESTS_PER_SECOND: u32 = 500;
const LOAD_TIME: Duration = Duration::from_secs(30);
const MAX_START: Duration = Duration::from_secs(1);
const MAX_P99: Duration = Duration::from_millis(20);
/// Of those who read meanwhile: what leaves room for others.
const READERS_PER_SECOND: u32 = 200;
/// Each from another network and to another address, so that no limit of either takes the work away.
const SIGN_INS_PER_SECOND: u32 = 10_000 / 60;
/// Reading alone, and beside the sign-ins, in turn.
const ROUNDS: usize = 4;
const ROUND_TIME: Duration = Duration::from_secs(10);
/// How much slower others may be meanwhile.
const MAX_SLOWER: f64 = 1.2;

/// The program, ended with the bench.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::main]
async fn main() -> io::Result<ExitCode> {
    let directory = tempfile::tempdir()?;
    let data_dir = directory.path().join("data");
    let began = Instant::now();
    let large = Large::make(&data_dir, SOURCES, RUNS, EVENTS).await;
    println!("{SOURCES} sources, {RUNS} runs, {EVENTS} events: written in {:.0} s", began.elapsed().as_secs_f64());
    let (mut starts, mut last) = (Vec::new(), None);
    for _ in 0..5 {
        drop(last.take());
        let (program, url, took) = start(&data_dir).await?;
        starts.push(took);
        last = Some((program, url));
    }
    starts.sort_unstable();
    println!("start to the first answer: {:.0} ms, the middle of {}", starts[2].as_secs_f64() * 1e3, starts.len());
    let Some((_program, url)) = last else { return Ok(ExitCode::FAILURE) };
    let asked = large.paths();
    load::run(&url, &large.access_key, &asked, REQUESTS_PER_SECOND, Duration::from_secs(5)).await;
    let mut times = load::run(&url, &large.access_key, &asked, REQUESTS_PER_SECOND, LOAD_TIME).await;
    println!("\n| {REQUESTS_PER_SECOND} requests a second | p50, ms | p99, ms | longest, ms |\n|---|---|---|---|");
    let mut all = Times::default();
    for (path, of) in &mut times {
        all.add(of);
        print_row(path, of);
    }
    print_row("all", &mut all);
    let slower = beside_sign_ins(&url, &large.access_key, &asked).await;
    let bounds = [
        (starts[2] < MAX_START, "start under a second"),
        (all.at(99.0) < MAX_P99, "p99 of all under 20 ms"),
        (slower <= MAX_SLOWER, "others at most a fifth slower beside 10,000 sign-ins a minute"),
    ];
    println!();
    bounds.iter().for_each(|(is_met, what)| println!("{} {what}", if *is_met { "met:   " } else { "MISSED:" }));
    Ok(if bounds.iter().all(|(is_met, _)| *is_met) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How many times as long half of the answers take beside a flood of sign-ins.
async fn beside_sign_ins(url: &str, key: &str, asked: &[Asked]) -> f64 {
    let (mut alone, mut beside) = (Times::default(), Times::default());
    for _ in 0..ROUNDS {
        for times in load::run(url, key, asked, READERS_PER_SECOND, ROUND_TIME).await.values() {
            alone.add(times);
        }
        let flood = load::sign_ins(url, SIGN_INS_PER_SECOND, ROUND_TIME);
        let (times, answers) = tokio::join!(load::run(url, key, asked, READERS_PER_SECOND, ROUND_TIME), flood);
        times.values().for_each(|times| beside.add(times));
        println!("sign-ins were answered with {answers:?}");
    }
    println!("\n| {READERS_PER_SECOND} requests a second | p50, ms | p99, ms | longest, ms |\n|---|---|---|---|");
    print_row("alone", &mut alone);
    print_row("beside sign-ins", &mut beside);
    beside.at(50.0).as_secs_f64() / alone.at(50.0).as_secs_f64()
}

fn print_row(path: &str, times: &mut Times) {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!("| {path} | {:.1} | {:.1} | {:.1} |", ms(times.at(50.0)), ms(times.at(99.0)), ms(times.at(100.0)));
}

/// Starts the program, and waits until it answers that it is ready.
async fn start(data_dir: &Path) -> io::Result<(Program, String, Duration)> {
    let target = std::env::current_exe()?.ancestors().nth(3).map(Path::to_owned).unwrap_or_default();
    let began = Instant::now();
    let mut command = Command::new(target.join("release/listbackup"));
    command.arg("up").arg("--data-dir").arg(data_dir).args(["--listen", "127.0.0.1:0"]);
    // Whoever signs in says from which network.
    command.args(["--trust-proxy", "127.0.0.1"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
    let program = Program(child);
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let url =
        lines.find_map(|line| Some(format!("http://{}", line.split("http://").nth(1)?.split_whitespace().next()?)));
    let url = url.ok_or_else(|| {
        io::Error::other("the program tells no address; build it: cargo build --release --package listbackup")
    })?;
    let ready = reqwest::get(format!("{url}/system/ready")).await.map_err(io::Error::other)?;
    if !ready.status().is_success() {
        return Err(io::Error::other("the program is not ready"));
    }
    Ok((program, url, began.elapsed()))
}
