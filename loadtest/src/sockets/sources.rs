//! The client addresses that the server says it saw: what a gateway's translation came to.

use std::net::IpAddr;

use ipnet::IpNet;

/// Most distinct addresses that are remembered.
const MOST: usize = 64;

/// Addresses seen, at most 64 of them, and those expected.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    expected: Vec<IpNet>,
    seen: Vec<IpAddr>,
    last: Option<IpAddr>,
}

impl Sources {
    /// Expects addresses of these networks; of none, any.
    pub fn expecting(expected: &[IpNet]) -> Self {
        Self { expected: expected.to_vec(), ..Self::default() }
    }

    /// Notes an address; whether it was expected.
    pub fn see(&mut self, address: IpAddr) -> bool {
        // The same as before, most often, and only expected ones become that.
        if self.last == Some(address) {
            return true;
        }
        if self.seen.len() < MOST && !self.seen.contains(&address) {
            self.seen.push(address);
        }
        let expected =
            self.expected.is_empty() || self.expected.iter().any(|net| net.contains(&address));
        if expected {
            self.last = Some(address);
        }
        expected
    }

    /// Notes all that another saw.
    pub fn merge(&mut self, other: &Self) {
        for address in &other.seen {
            self.see(*address);
        }
    }

    /// The addresses seen, in order.
    pub fn seen(&self) -> Vec<IpAddr> {
        let mut seen = self.seen.clone();
        seen.sort_unstable();
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_outside_the_expected_networks_is_told_each_time() {
        let mut sources = Sources::expecting(&["198.51.100.0/30".parse().unwrap()]);
        let [good, bad] = ["198.51.100.2", "198.51.100.4"].map(|a| a.parse().unwrap());
        let verdicts = [good, good, bad, bad, good].map(|address| sources.see(address));
        assert_eq!(verdicts, [true, true, false, false, true]);
        assert_eq!(sources.seen(), [good, bad]);
    }

    #[test]
    fn without_an_expectation_any_address_will_do_and_memory_stays_bounded() {
        let mut sources = Sources::default();
        for number in 0..1000u32 {
            assert!(sources.see(IpAddr::V4(number.into())));
        }
        assert_eq!(sources.seen().len(), MOST);
    }
}
