//! Buffers that belong to a worker, not to a connection.

use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
};

/// Size of one buffer.
const SIZE: usize = 64 * 1024;

/// Buffers that a thread keeps for the next one who asks.
const KEPT: usize = 8;

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of 64 KiB, borrowed from the worker while there is something in it. Dropping it gives it back.
///
/// What passes through in one turn needs no memory of its connection: ten thousand idle connections hold none, and the
/// few buffers that are in use stay in the processor's cache.
#[derive(Debug)]
pub(crate) struct Scratch(Box<[u8]>);

impl Scratch {
    /// A buffer. Its content is whatever was in it before.
    pub(crate) fn take() -> Self {
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
        Self(spare.unwrap_or_else(|| vec![0; SIZE].into()))
    }
}

impl Deref for Scratch {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        // Without its thread's list, at the thread's end, it is simply freed.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < KEPT {
                spare.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT, SPARE, Scratch};

    #[test]
    fn buffers_come_back_and_few_are_kept() {
        let address = {
            let one = Scratch::take();
            one.as_ptr()
        };
        assert_eq!(Scratch::take().as_ptr(), address);
        drop((0..KEPT * 2).map(|_| Scratch::take()).collect::<Vec<_>>());
        assert_eq!(SPARE.with(|spare| spare.borrow().len()), KEPT);
    }
}
