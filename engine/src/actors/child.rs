//! The tie between an actor and the one above it, in both directions: a child ends when its parent lets go of it, and a parent
//! hears of its child's end. Both hold when a handler panics, for both happen when a value is dropped: actix catches the panic
//! and drops the actor, which nobody else would notice.

use actix::{Actor, Addr, Context, Handler, Message, Recipient};

/// End: nobody needs you any more.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct End;

/// Ends an actor when it is dropped.
pub(super) struct Tie(Recipient<End>);

impl Tie {
    /// Ties an actor to the owner of this.
    pub(super) fn to<A: Actor<Context = Context<A>> + Handler<End>>(child: Addr<A>) -> Self {
        Self(child.recipient())
    }
}

impl Drop for Tie {
    fn drop(&mut self) {
        self.0.do_send(End);
    }
}

/// A child of the actor that holds this.
pub(super) struct Child<A: Actor<Context = Context<A>> + Handler<End>> {
    address: Addr<A>,
    _tie: Tie,
}

impl<A: Actor<Context = Context<A>> + Handler<End>> Child<A> {
    /// Starts an actor below its owner.
    pub(super) fn start(actor: A) -> Self {
        let address = actor.start();
        Self { _tie: Tie::to(address.clone()), address }
    }

    /// Tells the child something, without waiting.
    pub(super) fn tell<M>(&self, message: M)
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.address.do_send(message);
    }
}

/// The last word of an actor to its parent, said when the actor is gone: what it had to say, or else that it broke off.
pub(super) struct LastWord<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    to: Recipient<M>,
    word: Option<M>,
}

impl<M> LastWord<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    /// Says that the actor broke off, unless it has another word by then.
    pub(super) fn broke_off(to: Recipient<M>, word: M) -> Self {
        Self { to, word: Some(word) }
    }

    /// What is said instead.
    pub(super) fn will_be(&mut self, word: M) {
        self.word = Some(word);
    }
}

impl<M> Drop for LastWord<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn drop(&mut self) {
        if let Some(word) = self.word.take() {
            // A parent that is gone needs no word.
            self.to.do_send(word);
        }
    }
}
