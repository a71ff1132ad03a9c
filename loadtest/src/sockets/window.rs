//! Counts lost, reordered and repeated datagrams of a flow from their sequence numbers, in a fixed
//! amount of memory.

/// Numbers behind the highest that are remembered, one bit each.
const SPAN: u64 = 1024;

/// What a sequence number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The highest so far.
    InOrder,
    /// Below the highest, and not seen yet: reordered, by RFC 4737, section 3.
    Late,
    /// Seen before.
    Repeated,
}

/// The numbers of a flow that have come.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// One above the highest.
    next: u64,
    /// Bit n % SPAN: whether n has come, for the last SPAN numbers below `next`.
    seen: [u64; (SPAN / 64) as usize],
}

impl Window {
    /// Notes a number. One too far behind to be remembered counts as late: it is far likelier
    /// than a copy that took so long.
    pub fn see(&mut self, number: u64) -> Arrival {
        if number >= self.next {
            if number - self.next >= SPAN {
                self.seen = Default::default();
            } else {
                for skipped in self.next..number {
                    *self.word(skipped) &= !bit(skipped);
                }
            }
            *self.word(number) |= bit(number);
            self.next = number.saturating_add(1);
            return Arrival::InOrder;
        }
        if self.next - number > SPAN {
            return Arrival::Late;
        }
        let word = self.word(number);
        if *word & bit(number) == 0 {
            *word |= bit(number);
            Arrival::Late
        } else {
            Arrival::Repeated
        }
    }

    fn word(&mut self, number: u64) -> &mut u64 {
        &mut self.seen[(number % SPAN / 64) as usize]
    }
}

fn bit(number: u64) -> u64 {
    1 << (number % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    use Arrival::{InOrder, Late, Repeated};

    fn arrivals(numbers: &[u64]) -> Vec<Arrival> {
        let mut window = Window::default();
        numbers.iter().map(|number| window.see(*number)).collect()
    }

    #[test]
    fn order_lateness_and_repetition_are_told_apart() {
        assert_eq!(
            arrivals(&[0, 1, 4, 2, 3, 2, 4, 5]),
            [InOrder, InOrder, InOrder, Late, Late, Repeated, Repeated, InOrder]
        );
    }

    #[test]
    fn a_slot_that_comes_round_again_remembers_nothing_of_its_last_use() {
        let mut window = Window::default();
        for number in 0..5000 {
            assert_eq!(window.see(number), InOrder);
        }
        assert_eq!(window.see(4000), Repeated);
        assert_eq!(window.see(5000 + 500), InOrder, "a gap within the span");
        assert_eq!(window.see(5100), Late);
        assert_eq!(window.see(5100), Repeated);
        assert_eq!(window.see(9000), InOrder, "a gap beyond it");
        assert_eq!(window.see(8999), Late);
        assert_eq!(window.see(7000), Late, "too old to be remembered");
    }

    #[test]
    fn the_highest_number_there_is_does_no_harm() {
        assert_eq!(arrivals(&[u64::MAX, u64::MAX - 1]), [InOrder, Late]);
    }
}
