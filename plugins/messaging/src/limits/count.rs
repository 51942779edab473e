//! Limits on how many there are of something.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// Counts by key, up to a maximum for each. Keys whose count is 0 are forgotten.
pub(crate) struct Count<K> {
    max: usize,
    by_key: Mutex<HashMap<K, usize>>,
}

/// Counts until it is dropped.
pub(crate) struct Counted<K: Eq + Hash> {
    key: K,
    count: Arc<Count<K>>,
}

impl<K: Eq + Hash + Clone> Count<K> {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, by_key: Mutex::default() })
    }

    /// Counts one more of `key`, unless the maximum is reached.
    pub(crate) fn add(self: &Arc<Self>, key: K) -> Option<Counted<K>> {
        let mut by_key = self.by_key.lock();
        let count = by_key.entry(key.clone()).or_insert(0);
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Counted { key, count: self.clone() })
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        self.by_key.lock().len()
    }
}

impl<K: Eq + Hash> Drop for Counted<K> {
    fn drop(&mut self) {
        let mut by_key = self.count.by_key.lock();
        if let Some(count) = by_key.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                by_key.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_key_has_at_most_the_maximum_and_nothing_is_left_of_what_is_gone(
            max in 1_usize..5,
            steps in prop::collection::vec((0_u8..4, any::<bool>()), 0..200),
        ) {
            let count = Count::new(max);
            let mut held: HashMap<u8, Vec<Counted<u8>>> = HashMap::new();
            for (key, comes) in steps {
                let of_key = held.entry(key).or_default();
                match comes.then(|| count.add(key)) {
                    Some(Some(counted)) => of_key.push(counted),
                    Some(None) => prop_assert_eq!(of_key.len(), max),
                    None => drop(of_key.pop()),
                }
                prop_assert!(of_key.len() <= max);
            }
            prop_assert_eq!(count.keys(), held.values().filter(|of_key| !of_key.is_empty()).count());
            drop(held);
            prop_assert_eq!(count.keys(), 0);
        }
    }
}
