//! The switch that stops a run: the strongest reason stays, and nobody waits past it.

#[path = "../../engine/src/run/stop.rs"]
mod switch;

use loom::{model, thread};
use switch::{Stop, StopSwitch};

use crate::sync::block_on;

/// Each forbids more than those before it.
const RISING: [Stop; 5] = [Stop::HandOver, Stop::Draining, Stop::Exhausted, Stop::Cancelled, Stop::Fenced];

fn strength(reason: Option<Stop>) -> Option<usize> {
    reason.map(|reason| RISING.iter().position(|stop| *stop == reason).unwrap())
}

/// Threads that stop it, one for each reason.
fn stopping<const N: usize>(switch: &StopSwitch, reasons: [Stop; N]) -> [thread::JoinHandle<()>; N] {
    reasons.map(|reason| {
        let switch = switch.clone();
        thread::spawn(move || switch.stop(reason))
    })
}

#[test]
fn the_strongest_reason_to_stop_stays_and_none_gives_way_to_a_weaker_one_in_whatever_order_they_come() {
    for [one, other] in [[0, 1], [1, 4], [2, 3]].map(|pair| pair.map(|strength| RISING[strength])) {
        loom::model(move || {
            let switch = StopSwitch::new();
            let others = stopping(&switch, [other, one]);
            let (first, second) = (strength(switch.reason()), strength(switch.reason()));
            assert!(first <= second, "{first:?} gave way to {second:?}");
            others.into_iter().for_each(|other| other.join().unwrap());
            assert_eq!(switch.reason(), Some(other));
        });
    }
}

#[test]
fn everybody_who_waits_for_a_stop_is_woken_whoever_comes_first() {
    // All orders of three that wait and wake would take minutes.
    let mut model = model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let switch = StopSwitch::new();
        let waiters = [(); 2].map(|()| {
            let switch = switch.clone();
            thread::spawn(move || block_on(switch.stopped()))
        });
        switch.stop(Stop::Draining);
        waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join().unwrap(), Stop::Draining));
    });
}

#[test]
fn who_waits_is_told_a_reason_that_holds_or_is_outdone() {
    loom::model(|| {
        let switch = StopSwitch::new();
        let stoppers = stopping(&switch, [Stop::HandOver, Stop::Cancelled]);
        let told = block_on(switch.stopped());
        assert!(strength(Some(told)) <= strength(switch.reason()), "{told:?}");
        stoppers.into_iter().for_each(|stopper| stopper.join().unwrap());
        assert_eq!(block_on(switch.stopped()), Stop::Cancelled);
    });
}
