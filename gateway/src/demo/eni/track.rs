//! What was asked one after the other, what was answered when and by whom, and how long nobody did.

use std::time::Duration;

use super::plan::Instance;

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The number of what was asked; the next has the next number.
    pub number: u32,
    /// When it came, since the load began.
    pub at: Duration,
    /// Whose it is.
    pub from: Instance,
}

/// All questions of a kind and their answers.
#[derive(Clone, Debug)]
pub(super) struct Track {
    asked: u32,
    /// By the time they came.
    answers: Vec<Answer>,
    /// When the asking ended, since the load began.
    until: Duration,
}

impl Track {
    /// From the number of questions, their answers, and when the asking ended.
    pub(super) fn new(asked: u32, mut answers: Vec<Answer>, until: Duration) -> Self {
        answers.sort_by_key(|answer| answer.at);
        Self { asked, answers, until }
    }

    /// How much was asked.
    pub(super) fn asked(&self) -> u32 {
        self.asked
    }

    /// How much was asked in a second.
    pub(super) fn rate(&self) -> f64 {
        f64::from(self.asked) / self.until.as_secs_f64()
    }

    /// How much was not answered.
    pub(super) fn unanswered(&self) -> u32 {
        self.asked.saturating_sub(self.answers.len() as u32)
    }

    /// The longest time without an answer that began no earlier than the last answer before
    /// `since`. Without any answer from then on it lasts until the end.
    pub(super) fn blackout(&self, since: Duration) -> Duration {
        let first = self.answers.partition_point(|answer| answer.at < since);
        let before = first.checked_sub(1).map_or(since, |last| self.answers[last].at);
        let times = self.answers[first..].iter().map(|answer| answer.at);
        let mut last = before;
        let mut longest = Duration::ZERO;
        for at in times.chain([self.until]) {
            longest = longest.max(at.saturating_sub(last));
            last = at;
        }
        longest
    }

    /// The number of the first question that an instance answered, in the order of asking.
    pub(super) fn first_of(&self, instance: Instance) -> Option<u32> {
        let answers = self.answers.iter().filter(|answer| answer.from == instance);
        answers.map(|answer| answer.number).min()
    }

    /// The number of the last question that an instance answered, in the order of asking.
    pub(super) fn last_of(&self, instance: Instance) -> Option<u32> {
        let answers = self.answers.iter().filter(|answer| answer.from == instance);
        answers.map(|answer| answer.number).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::eni::plan::{WEB1, WEB2};

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Answers by number, milliseconds and instance, of ten questions in 100 ms.
    fn track(answers: &[(u32, u64, Instance)]) -> Track {
        let answers = answers.iter().map(|&(number, at, from)| Answer { number, at: ms(at), from });
        Track::new(10, answers.collect(), ms(100))
    }

    #[test]
    fn the_blackout_is_the_longest_time_without_an_answer() {
        let moved =
            track(&[(0, 5, WEB1), (3, 32, WEB1), (7, 75, WEB2), (8, 84, WEB2), (9, 95, WEB2)]);
        assert_eq!(moved.blackout(ms(40)), ms(43));
        assert_eq!(moved.unanswered(), 5);
        assert_eq!((moved.last_of(WEB1), moved.first_of(WEB2)), (Some(3), Some(7)));
    }

    #[test]
    fn what_was_before_the_move_does_not_count() {
        let stalled = track(&[(0, 1, WEB1), (5, 50, WEB1), (6, 60, WEB2), (9, 92, WEB2)]);
        assert_eq!(stalled.blackout(ms(55)), ms(32));
        assert_eq!(stalled.blackout(ms(0)), ms(49));
    }

    #[test]
    fn answers_in_another_order_than_the_questions_are_no_blackout() {
        let overtaken =
            track(&[(0, 10, WEB1), (1, 90, WEB1), (2, 30, WEB2), (3, 50, WEB2), (4, 70, WEB2)]);
        assert_eq!(overtaken.blackout(ms(5)), ms(20));
    }

    #[test]
    fn without_an_answer_the_blackout_lasts_until_the_end() {
        assert_eq!(track(&[(0, 10, WEB1), (1, 20, WEB1)]).blackout(ms(25)), ms(80));
        assert_eq!(track(&[]).blackout(ms(25)), ms(75));
        assert_eq!(track(&[]).first_of(WEB1), None);
    }
}
