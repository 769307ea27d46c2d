//! Letters about an account and who works in it.

use jiff::Timestamp;
use url::Url;

use super::{draft::Draft, words};
use crate::ports::Letter;

/// An invitation into an account.
#[derive(Clone, Copy, Debug)]
pub struct InvitationFacts<'a> {
    /// Its name.
    pub account: &'a str,
    /// What accepts it.
    pub code: &'a str,
    /// How long it is good.
    pub expires_at: Timestamp,
    /// Where it is accepted, if there is a page for it.
    pub link: Option<&'a Url>,
}

/// How far the deletion of an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionStage {
    /// It will be carried out.
    Announced {
        /// When.
        due_at: Timestamp,
    },
    /// It will not.
    Recalled,
    /// It was.
    Done {
        /// When.
        at: Timestamp,
    },
}

/// The deletion of an account.
#[derive(Clone, Copy, Debug)]
pub struct AccountDeletion<'a> {
    /// Its name.
    pub account: &'a str,
    /// Who asked for it, or took it back.
    pub by: &'a str,
    /// How far it is.
    pub stage: DeletionStage,
    /// Where it is taken back, if there is a page for it.
    pub link: Option<&'a Url>,
}

/// To who is invited.
pub fn invitation(to: &str, facts: &InvitationFacts<'_>) -> Letter {
    let account = words::name(facts.account);
    Draft::new(to, "You are invited to an account of ListBackup")
        .say("Hello,")
        .say(format!(
            "you are invited to work in the account \"{account}\" of ListBackup. Register or sign in with this address, and \
             accept the invitation by its code:"
        ))
        .code(facts.code)
        .link("Accept the invitation", facts.link)
        .say(format!(
            "It can be used once, until {}. If you do not know who invited you, ignore this letter: without the code nothing \
             happens.",
            words::time(facts.expires_at)
        ))
        .write()
}

/// To the owners of an account that is to be deleted, is not any more, or was.
pub fn account_deletion(to: &str, facts: &AccountDeletion<'_>) -> Letter {
    let (account, by) = (words::name(facts.account), words::name(facts.by));
    match facts.stage {
        DeletionStage::Announced { due_at } => {
            Draft::new(to, &format!("The account {account} will be deleted on {}", words::day(due_at)))
                .say(format!(
                    "{by} asked to delete the account \"{account}\". Nothing is deleted before {}; until then the deletion can \
                     be taken back.",
                    words::time(due_at)
                ))
                .say("After that all of its backups are gone, and nobody can bring them back.")
                .link("Keep the account", facts.link)
                .write()
        }
        DeletionStage::Recalled => Draft::new(to, &format!("The account {account} stays"))
            .say(format!("{by} took the deletion of the account \"{account}\" back. Nothing was deleted."))
            .say("Its jobs are as they were; there is nothing to do.")
            .write(),
        DeletionStage::Done { at } => Draft::new(to, &format!("The account {account} was deleted"))
            .say(format!(
                "The account \"{account}\" was deleted on {}, as {by} had asked. Its backups are gone, and nobody can bring \
                 them back.",
                words::time(at)
            ))
            .write(),
    }
}
