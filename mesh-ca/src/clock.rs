//! Time as an argument: [`Clock`].

use std::{
    fmt,
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;

/// A reading of both clocks at one moment.
///
/// Certificates live by the wall clock, which can jump; waiting goes by the monotonic clock, which stands still while
/// some machines sleep. State machines here take both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The wall clock.
    pub wall: SystemTime,
    /// The monotonic clock.
    pub monotonic: Instant,
}

/// Where the time comes from.
///
/// Implementations must be cheap to read and never block. [`SystemClock`] is the real one; `ManualClock` (feature
/// `test-util`) is moved by hand.
#[async_trait]
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> Now;

    /// Waits until the monotonic clock has moved on by `duration`. Dropping the future ends the wait.
    async fn sleep(&self, duration: Duration);
}

/// The machine's clocks and tokio's timer.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Now {
        Now { wall: SystemTime::now(), monotonic: Instant::now() }
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[cfg(feature = "test-util")]
pub use manual::ManualClock;

#[cfg(feature = "test-util")]
mod manual {
    use std::time::{Duration, Instant, SystemTime};

    use async_trait::async_trait;
    use tokio::sync::watch;

    use super::{Clock, Now};

    /// A clock that stands still until moved. Clones share the time.
    #[derive(Debug, Clone)]
    pub struct ManualClock {
        now: watch::Sender<Now>,
    }

    impl ManualClock {
        /// Starts at the given wall time.
        pub fn new(wall: SystemTime) -> Self {
            Self { now: watch::Sender::new(Now { wall, monotonic: Instant::now() }) }
        }

        /// Starts at the real time of now.
        pub fn system() -> Self {
            Self::new(SystemTime::now())
        }

        /// Moves both clocks on and wakes whoever waited for that.
        pub fn advance(&self, by: Duration) {
            self.now.send_modify(|n| {
                n.wall += by;
                n.monotonic += by;
            });
        }

        /// Moves the wall clock alone: a step by an operator or NTP, or a sleep of the machine.
        pub fn set_wall(&self, wall: SystemTime) {
            self.now.send_modify(|n| n.wall = wall);
        }
    }

    #[async_trait]
    impl Clock for ManualClock {
        fn now(&self) -> Now {
            *self.now.borrow()
        }

        async fn sleep(&self, duration: Duration) {
            let mut moves = self.now.subscribe();
            let until = moves.borrow().monotonic + duration;
            // An error means that the sender is gone, which `self` rules out.
            let _ = moves.wait_for(|n| n.monotonic >= until).await;
        }
    }
}
