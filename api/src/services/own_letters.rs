//! Letters to a person about their own sign-in.

use jiff::Timestamp;
use listbackup_engine::{
    model::{User, UserId},
    ports::Letter,
    store::key1,
};

use crate::state::AppState;

/// Tells a person what has happened. A letter that cannot be sent is told in the log, and the activity has the event all the same.
pub async fn tell(state: &AppState, user_id: UserId, write: impl FnOnce(&User, Timestamp) -> Letter) {
    let sent = async {
        let Some(user) = state.store.find::<User>(&state.system, key1(user_id)).await? else { return Ok(()) };
        state.ports.mail.send(&write(&user.row, state.now())).await
    };
    if let Err(error) = sent.await {
        tracing::error!(%error, user = %user_id, "a letter about a person's sign-in was not sent");
    }
}
