//! The taken ports of one destination, in whatever form is the smallest for their number.
//!
//! A gateway may see a million destinations with one flow each, and one with all ports taken. So
//! seven ports fit in the place of the pointer to more; some hundred are a sorted list; past that
//! they are a bitmap. The way back has lower thresholds, so that a port that comes and goes at
//! one of them does not convert the set each time.

use super::bitmap::Bitmap;

/// How many ports stand where the pointer to more would.
const FEW: usize = 7;
/// The list that shrinks to this becomes few.
const FEW_AGAIN: usize = 4;
/// The longest list: 1 KiB, an eighth of the bitmap.
const LIST: usize = 512;
/// The bitmap that shrinks to this becomes a list.
const LIST_AGAIN: usize = 256;

/// A set of ports.
pub enum Ports {
    /// The first `len` of `ports`, in ascending order.
    Few { len: u8, ports: [u16; FEW] },
    /// In ascending order.
    #[expect(clippy::box_collection, reason = "a bare `Vec` would double the size of every pool")]
    List(Box<Vec<u16>>),
    /// See [`Bitmap`].
    Map(Box<Bitmap>),
}

impl Default for Ports {
    fn default() -> Self {
        Self::Few { len: 0, ports: [0; FEW] }
    }
}

impl Ports {
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Few { len: 0, .. })
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        match self {
            Self::Few { len, .. } => u32::from(*len),
            Self::List(list) => list.len() as u32,
            Self::Map(map) => map.len(),
        }
    }

    /// Adds a port; false if it was in.
    pub fn insert(&mut self, port: u16) -> bool {
        let (used, full) = match self {
            Self::Few { len, ports } => {
                let count = usize::from(*len);
                let Err(place) = ports[..count].binary_search(&port) else { return false };
                if count < FEW {
                    ports.copy_within(place..count, place + 1);
                    ports[place] = port;
                    *len += 1;
                    return true;
                }
                (ports.to_vec(), count)
            }
            Self::List(list) => {
                let Err(place) = list.binary_search(&port) else { return false };
                if list.len() < LIST {
                    list.insert(place, port);
                    return true;
                }
                (std::mem::take(&mut **list), LIST)
            }
            Self::Map(map) => return map.insert(port),
        };
        *self = if full == FEW {
            Self::List(Box::new(used))
        } else {
            Self::Map(Box::new(Bitmap::new(&used)))
        };
        self.insert(port)
    }

    /// Takes a port out; false if it was not in.
    pub fn remove(&mut self, port: u16) -> bool {
        match self {
            Self::Few { len, ports } => {
                let count = usize::from(*len);
                let Ok(place) = ports[..count].binary_search(&port) else { return false };
                ports.copy_within(place + 1..count, place);
                *len -= 1;
            }
            Self::List(list) => {
                let Ok(place) = list.binary_search(&port) else { return false };
                list.remove(place);
                if list.len() <= FEW_AGAIN {
                    let mut ports = [0; FEW];
                    ports[..list.len()].copy_from_slice(list);
                    *self = Self::Few { len: list.len() as u8, ports };
                }
            }
            Self::Map(map) => {
                if !map.remove(port) {
                    return false;
                }
                if map.len() as usize <= LIST_AGAIN {
                    let list = map.iter().collect();
                    *self = Self::List(Box::new(list));
                }
            }
        }
        true
    }

    /// The lowest port from `from` to `last` that is not in.
    pub fn next_free(&self, from: u16, last: u16) -> Option<u16> {
        let port = match self {
            Self::Few { len, ports } => next_gap(&ports[..usize::from(*len)], from),
            Self::List(taken) => next_gap(taken, from),
            Self::Map(map) => map.next_absent(from),
        };
        port.filter(|port| *port <= last)
    }
}

/// The lowest port from `from` on that is not among the `taken`, which are in ascending order.
fn next_gap(taken: &[u16], from: u16) -> Option<u16> {
    let after = taken.partition_point(|port| *port < from);
    let run = (taken[after..].iter().zip(u32::from(from)..))
        .take_while(|(taken, port)| u32::from(**taken) == *port)
        .count();
    u16::try_from(usize::from(from) + run).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn form(ports: &Ports) -> &'static str {
        match ports {
            Ports::Few { .. } => "few",
            Ports::List(_) => "list",
            Ports::Map(_) => "map",
        }
    }

    #[test]
    fn a_set_takes_no_more_room_than_two_pointers() {
        assert_eq!(size_of::<Ports>(), 16);
        assert!(size_of::<Bitmap>() < 8192 + 256);
    }

    #[test]
    fn the_form_follows_the_number_of_ports() {
        let mut ports = Ports::default();
        let mut forms = Vec::new();
        let mut note = |ports: &Ports, len: usize| {
            if forms.last().is_none_or(|(last, _)| *last != form(ports)) {
                forms.push((form(ports), len));
            }
        };
        for len in 1..=600_usize {
            // Scattered: 251 is prime to 65,536.
            assert!(ports.insert((len * 251) as u16));
            note(&ports, len);
        }
        for len in (0..600_usize).rev() {
            assert!(ports.remove(((len + 1) * 251) as u16));
            note(&ports, len);
        }
        assert!(ports.is_empty());
        assert_eq!(forms, [("few", 1), ("list", 8), ("map", 513), ("list", 256), ("few", 4)],);
    }

    proptest! {
        /// Ports are dense, so that runs form, and reach to the last one.
        #[test]
        fn every_form_is_the_set_it_stands_for(
            steps in prop::collection::vec((any::<bool>(), 64_800_u16..), 0..2_000),
            probes in prop::collection::vec(64_700_u16.., 20),
        ) {
            let (mut ports, mut model) = (Ports::default(), BTreeSet::new());
            for (add, port) in steps {
                if add {
                    prop_assert_eq!(ports.insert(port), model.insert(port));
                } else {
                    prop_assert_eq!(ports.remove(port), model.remove(&port));
                }
                prop_assert_eq!(ports.is_empty(), model.is_empty());
                prop_assert_eq!(ports.len() as usize, model.len());
            }
            for from in probes {
                for last in [from, u16::MAX - 1, u16::MAX] {
                    let expected = (from..=last).find(|port| !model.contains(port));
                    prop_assert_eq!(ports.next_free(from, last), expected, "form {}", form(&ports));
                }
            }
        }
    }
}
