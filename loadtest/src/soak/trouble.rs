//! What is done to the gateway while it works, and when: who asks why something failed is told.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long after its end a trouble may still be felt: packets that were lost are sent again after
/// one second, two seconds and so on.
const AFTERMATH: Duration = Duration::from_secs(4);

/// Whom it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Flows through the load balancer: its targets change.
    Balancer,
    /// Everything: the daemon is killed.
    All,
}

/// One trouble, from its beginning to its end, if it has ended.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    scope: Scope,
    began: Instant,
    ended: Option<Instant>,
}

/// All troubles so far.
#[derive(Debug, Default)]
pub struct Troubles(Mutex<Vec<Trouble>>);

impl Troubles {
    /// Notes that one begins, and ends with the work.
    pub fn during<T>(&self, scope: Scope, work: impl FnOnce() -> T) -> T {
        let number = {
            let mut all = self.lock();
            all.push(Trouble { scope, began: Instant::now(), ended: None });
            all.len() - 1
        };
        let done = work();
        self.lock()[number].ended = Some(Instant::now());
        done
    }

    /// Whether something of that scope that took from then to then may have failed for it.
    pub fn excuse(&self, scope: Scope, from: Instant, to: Instant) -> bool {
        self.lock().iter().any(|trouble| {
            let concerns = trouble.scope == Scope::All || trouble.scope == scope;
            let before_its_end = trouble.ended.is_none_or(|ended| from <= ended + AFTERMATH);
            concerns && before_its_end && to >= trouble.began
        })
    }

    /// How many there were of a scope.
    pub fn count(&self, scope: Scope) -> usize {
        self.lock().iter().filter(|trouble| trouble.scope == scope).count()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Trouble>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    #[test]
    fn only_what_overlaps_a_trouble_of_its_scope_is_excused() {
        let troubles = Troubles::default();
        let before = Instant::now();
        assert!(!troubles.excuse(Scope::All, before, before + MOMENT));
        std::thread::sleep(2 * MOMENT);
        troubles.during(Scope::Balancer, || {
            let now = Instant::now();
            assert!(troubles.excuse(Scope::Balancer, before, now));
            assert!(!troubles.excuse(Scope::All, before, now));
        });
        let after = Instant::now();
        assert!(troubles.excuse(Scope::Balancer, after, after));
        assert!(!troubles.excuse(Scope::Balancer, before, before + MOMENT));
        let later = after + 2 * AFTERMATH;
        assert!(!troubles.excuse(Scope::Balancer, later, later));
        assert_eq!((troubles.count(Scope::Balancer), troubles.count(Scope::All)), (1, 0));

        troubles.during(Scope::All, || ());
        let now = Instant::now();
        assert!(
            troubles.excuse(Scope::Balancer, now, now) && troubles.excuse(Scope::All, now, now)
        );
    }
}
