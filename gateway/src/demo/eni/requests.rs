//! HTTP requests, one after the other, each on a connection of its own. The next does not wait for
//! the last one's answer, so that one which gets none hides nothing.

use std::thread;
use std::time::Duration;

use halfspace_testbed::{Namespace, http};

use super::load::Watch;
use super::plan::{self, Instance};
use super::track::{Answer, Track};
use crate::demo::curl;

/// From one request to the next.
const INTERVAL: Duration = Duration::from_millis(10);

/// How long one waits for its connection and for its answer: less than the second after which a
/// lost SYN is sent again (RFC 6298, 2.1), so that this does not pass for an answer to a new one.
const PATIENCE: Duration = Duration::from_millis(500);

/// Asks until the watch ends.
pub(super) fn run(client: &Namespace, watch: &Watch) -> Track {
    thread::scope(|scope| {
        let mut running = Vec::new();
        let began = watch.elapsed();
        while !watch.is_over() {
            let number = running.len() as u32;
            running.push(scope.spawn(move || ask(client, watch, number)));
            let next = began + INTERVAL * (number + 1);
            thread::sleep(next.saturating_sub(watch.elapsed()));
        }
        let (asked, until) = (running.len() as u32, watch.elapsed());
        // One that panicked has said so, and got no answer.
        let answers = running.into_iter().filter_map(|request| request.join().ok().flatten());
        Track::new(asked, answers.collect(), until)
    })
}

fn ask(client: &Namespace, watch: &Watch, number: u32) -> Option<Answer> {
    let server = plan::at(plan::PUBLIC, plan::HTTP);
    let response = http::get_within(PATIENCE, client, server, "/").ok()?;
    let at = watch.elapsed();
    let answer = curl::Answer::parse(response.body.trim_end())?;
    let from = Instance::named(&answer.server)?;
    watch.requests.heard(from);
    Some(Answer { number, at, from })
}
