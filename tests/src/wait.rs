//! Waiting for what must come true.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Calls `check` until it gives something, for at most `limit`.
///
/// # Panics
/// When the time is over; the message says what was waited for.
pub fn until<T>(what: &str, limit: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(20));
    }
}
