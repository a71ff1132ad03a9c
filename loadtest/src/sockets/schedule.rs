//! When operations are due at a set rate, whatever the server does.
//!
//! The schedule is open: an operation that is late does not move those after it, and its latency
//! counts from when it was due. A client that waits for one answer before it asks the next would
//! leave out just the operations that a stall hurts (coordinated omission).

use crate::output::Rate;

/// The share of one thread in a schedule, on a clock of nanoseconds from its start.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Nanoseconds between two operations of this thread.
    period: f64,
    /// When its first is due.
    first: f64,
    taken: u64,
}

impl Schedule {
    /// The operations that thread `thread` of `threads` takes: each in turn.
    pub fn new(rate: Rate, thread: u32, threads: u32) -> Self {
        let between = 1e9 / rate.get();
        let period = between * f64::from(threads);
        Self { period, first: between * f64::from(thread), taken: 0 }
    }

    /// Nanoseconds between two operations of this thread.
    pub fn period(&self) -> f64 {
        self.period
    }

    /// When the next operation is due.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a run ends long before 2^53 operations, and casts to integers saturate"
    )]
    pub fn next(&self) -> u64 {
        // A product, not a sum: no rounding error adds up.
        (self.first + self.period * self.taken as f64) as u64
    }

    /// Takes the next operation if it is due, and says when it was.
    pub fn take(&mut self, now: u64) -> Option<u64> {
        let due = self.next();
        (due <= now).then(|| {
            self.taken += 1;
            due
        })
    }

    /// How many operations were due before `end` and were not taken.
    pub fn left_over(&self, end: u64) -> u64 {
        let next = self.next();
        if next >= end {
            return 0;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a count of operations of one run; the cast saturates"
        )]
        let more = (((end - next) as f64 / self.period).ceil()) as u64;
        more.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(value: f64) -> Rate {
        Rate::per_second(value).unwrap()
    }

    #[test]
    fn operations_come_at_the_rate_and_not_before() {
        let mut schedule = Schedule::new(rate(1000.0), 0, 1);
        assert_eq!(schedule.take(0), Some(0));
        assert_eq!(schedule.take(999_999), None);
        assert_eq!(schedule.take(1_000_000), Some(1_000_000));
        assert_eq!(schedule.next(), 2_000_000);
    }

    #[test]
    fn a_stall_moves_no_intended_time_so_its_victims_are_counted() {
        let mut schedule = Schedule::new(rate(1000.0), 0, 1);
        assert_eq!(schedule.take(0), Some(0));
        // The server stalls for 100 ms: the operations of that time are due at their old times,
        // all at once, and wait for as long as the stall still lasted when they were due.
        let stalled = 100_000_000;
        let waits: Vec<_> = std::iter::from_fn(|| schedule.take(stalled))
            .map(|intended| stalled - intended)
            .collect();
        assert_eq!(waits.len(), 100);
        assert_eq!(waits[0], 99_000_000);
        assert_eq!(waits[99], 0);
    }

    #[test]
    fn threads_take_turns_and_leave_nothing_out() {
        let mut due: Vec<_> = (0..3)
            .flat_map(|thread| {
                let mut schedule = Schedule::new(rate(3000.0), thread, 3);
                std::iter::from_fn(move || schedule.take(999_999_999)).collect::<Vec<_>>()
            })
            .collect();
        due.sort_unstable();
        assert_eq!(due.len(), 3000);
        for (index, due) in due.into_iter().enumerate() {
            let expected = index as u64 * 1_000_000_000 / 3000;
            assert!(due.abs_diff(expected) <= 1, "operation {index} at {due}");
        }
    }

    #[test]
    fn what_was_due_and_not_taken_is_told() {
        let mut schedule = Schedule::new(rate(1000.0), 0, 1);
        assert_eq!(schedule.left_over(1_000_000_000), 1000);
        for _ in 0..400 {
            schedule.take(1_000_000_000);
        }
        assert_eq!(schedule.left_over(1_000_000_000), 600);
        assert_eq!(schedule.left_over(400_000_000), 0, "the 401st is due just then");
        assert_eq!(schedule.left_over(400_000_001), 1);
    }

    #[test]
    fn a_billion_operations_later_the_schedule_has_not_drifted() {
        let mut schedule = Schedule::new(rate(700_000.0), 0, 1);
        schedule.taken = 700_000_000;
        assert_eq!(schedule.next(), 1_000_000_000_000);
    }
}
