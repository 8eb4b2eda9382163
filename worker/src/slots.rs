//! How many attempts run at once and who waits: a count and a queue, first come, first served.

use std::collections::VecDeque;

use crate::attempts::Key;

#[derive(Debug)]
pub(crate) struct Slots {
    /// How many may run.
    width: usize,
    /// How many may run or wait.
    room: usize,
    running: usize,
    queue: VecDeque<Key>,
}

impl Slots {
    pub(crate) fn new(slots: u32, queue: u32) -> Self {
        Slots {
            width: slots as usize,
            room: slots as usize + queue as usize,
            running: 0,
            queue: VecDeque::new(),
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.busy() >= self.room
    }

    pub(crate) fn busy(&self) -> usize {
        self.running + self.queue.len()
    }

    pub(crate) fn running(&self) -> usize {
        self.running
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn push(&mut self, key: Key) {
        self.queue.push_back(key);
    }

    /// The next one that may start now; it occupies its slot until `free`.
    pub(crate) fn next(&mut self) -> Option<Key> {
        if self.running >= self.width {
            return None;
        }
        let key = self.queue.pop_front()?;
        self.running += 1;
        Some(key)
    }

    pub(crate) fn free(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    pub(crate) fn forget(&mut self, key: Key) {
        self.queue.retain(|queued| *queued != key);
    }

    pub(crate) fn drain(&mut self) -> Vec<Key> {
        self.queue.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_slots_run_and_no_more_than_the_queue_wait() {
        let mut slots = Slots::new(1, 1);
        slots.push(Key(1, 1, 1));
        assert!(!slots.is_full());
        slots.push(Key(1, 2, 1));
        assert!(slots.is_full());
        assert_eq!(slots.next(), Some(Key(1, 1, 1)));
        assert_eq!(slots.next(), None);
        slots.free();
        assert_eq!(slots.next(), Some(Key(1, 2, 1)));
        assert_eq!((slots.running(), slots.queued()), (1, 0));
    }
}
