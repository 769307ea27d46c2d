//! How many letters of invitation go out. Whoever invites names the address, and so decides who gets letters of this server.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, ToSpan, tz::TimeZone};

use crate::{
    error::{Error, ErrorKind, Result},
    model::{Account, Invitation, account::InvitedOn},
    ports::{Condition, Write},
    store::{Versioned, put},
};

/// So often an invitation is sent again within an hour.
pub const AGAIN_MAX: usize = 5;
/// So many letters of invitation an account sends on a day, first ones and further ones.
pub const LETTERS_A_DAY: u32 = 500;
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// Notes in an invitation that it is sent again now.
///
/// # Errors
/// `RateLimited` when it was sent too often, with the time until it may be.
pub(super) fn note_again(invitation: &mut Invitation, now: Timestamp) -> Result<()> {
    let sent = &mut invitation.sent_again_at;
    sent.retain(|at| now.duration_since(*at) < HOUR);
    if sent.len() < AGAIN_MAX {
        sent.push(now);
        return Ok(());
    }
    let first = sent.iter().min().copied().unwrap_or(now);
    let message = format!("this invitation was sent again {AGAIN_MAX} times within an hour; wait, and try again");
    Err(Error::new(ErrorKind::RateLimited, message).after(wait(now.duration_until(first + HOUR))))
}

/// Counts one more letter of an account.
///
/// # Errors
/// `RateLimited` when it has sent too many today, with the time until the next day.
pub(super) fn one_more(account: Versioned<Account>, now: Timestamp) -> Result<Write> {
    let here = now.to_zoned(TimeZone::UTC);
    let day = here.date();
    let sent = account.row.invited.filter(|invited| invited.day == day).map_or(0, |invited| invited.letters);
    if sent < LETTERS_A_DAY {
        let invited = Some(InvitedOn { day, letters: sent + 1 });
        return put(&Account { invited, ..account.row }, Condition::Version(account.version));
    }
    let tomorrow = here.start_of_day().and_then(|begin| begin.checked_add(1.day()));
    let left = tomorrow.map_or(HOUR, |tomorrow| now.duration_until(tomorrow.timestamp()));
    let message = format!("the account has sent {LETTERS_A_DAY} letters of invitation today; go on tomorrow");
    Err(Error::new(ErrorKind::RateLimited, message).after(wait(left)))
}

fn wait(left: SignedDuration) -> Duration {
    Duration::try_from(left).unwrap_or_default()
}
