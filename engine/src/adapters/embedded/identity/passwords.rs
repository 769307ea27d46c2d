//! Passwords: argon2id, off the async threads, a few at a time and below everything else: whoever tries many of them takes the time that
//! nobody else wants. Where many are tried, each is followed by a rest as long as itself: a core that is busy also with what nobody
//! waits for slows its neighbours, which share its caches and its memory.

use std::{sync::Arc, thread, time::Duration};

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version, password_hash};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use crate::{
    error::{Error, ErrorKind, Result},
    ports::Random,
};

/// OWASP's second recommendation for argon2id (Password Storage Cheat Sheet): 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;
/// As `nice(2)` counts: a fiftieth of the time of a thread that wants the same core.
#[cfg(target_os = "linux")]
const LOWEST_PRIORITY: i32 = 19;
/// Hashes computed at once, at most, and on half of the cores; each takes 19 MiB and a core for some 20 ms.
const AT_ONCE_MAX: usize = 4;
/// Those that wait, or are under way; some seconds at the longest.
const WAITING_MAX: usize = 64;
/// When to come back where more would have to wait.
const PAUSE: Duration = Duration::from_secs(5);
/// Compared with when there is nothing to compare with, so that an unknown address costs the same. No password has it.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes passwords.
pub(super) struct Passwords {
    random: Arc<dyn Random>,
    waiting: Semaphore,
    working: Arc<Semaphore>,
}

impl Passwords {
    pub(super) fn new(random: Arc<dyn Random>) -> Self {
        let half = thread::available_parallelism().map_or(1, |cores| cores.get() / 2);
        let working = Arc::new(Semaphore::new(half.clamp(1, AT_ONCE_MAX)));
        Self { random, waiting: Semaphore::new(WAITING_MAX), working }
    }

    /// The hash of a password, in PHC form with its salt and parameters.
    pub(super) async fn hash(&self, password: &SecretString) -> Result<String> {
        let mut salt = [0; SALT_BYTES];
        self.random.fill(&mut salt);
        let password = password.clone();
        self.work(move || {
            let hash: password_hash::phc::PasswordHash =
                argon2()?.hash_password_with_salt(password.expose_secret().as_bytes(), &salt).map_err(unusable)?;
            Ok(hash.to_string())
        })
        .await
    }

    /// True when `hash` is of `password`; false, after the same work, when there is no hash.
    pub(super) async fn verify(&self, password: &SecretString, hash: Option<&str>) -> Result<bool> {
        let (password, hash) = (password.clone(), hash.unwrap_or(NOBODY).to_owned());
        self.work(move || match argon2()?.verify_password(password.expose_secret().as_bytes(), hash.as_str()) {
            Ok(()) => Ok(true),
            Err(password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(unusable(error)),
        })
        .await
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let stopped = || Error::new(ErrorKind::Retry, "the check of the password was interrupted");
        let crowded = |_| {
            Error::new(ErrorKind::RateLimited, "too many people sign in at the moment; wait and try again").after(PAUSE)
        };
        let _place = self.waiting.try_acquire().map_err(crowded)?;
        let turn = self.working.clone().acquire_owned().await.map_err(|_| stopped())?;
        let began = Instant::now();
        let done = tokio::task::spawn_blocking(move || below_all_else(work)).await;
        if self.waiting.available_permits() < WAITING_MAX / 2 {
            let rest = began.elapsed();
            tokio::spawn(async move {
                sleep(rest).await;
                drop(turn);
            });
        }
        done.ok().flatten().unwrap_or_else(|| Err(stopped()))
    }
}

/// Works on a thread of its own, since a thread that has given up its priority cannot get it back. `None` when there is no such thread.
fn below_all_else<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let beside = thread::Builder::new().name("password".to_owned()).spawn(move || {
        // Elsewhere this would be the priority of the whole process.
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::process::nice(LOWEST_PRIORITY) {
            tracing::warn!(%error, "passwords are checked at the priority of everything else");
        }
        work()
    });
    beside.ok()?.join().ok()
}

fn argon2() -> Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .map_err(|error| Error::new(ErrorKind::Bug, "the password hash's parameters are wrong").caused_by(error))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn unusable(error: password_hash::Error) -> Error {
    Error::new(ErrorKind::Bug, "a password could not be hashed").caused_by(error)
}
