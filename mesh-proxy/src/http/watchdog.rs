//! The time limits of a stream, looked at only while it waits.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::{Sleep, sleep_until};

use super::upload::Upload;

/// Time limits of a stream. `None` = no limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    /// From the end of the request to the end of the response (`RouteAction.timeout`).
    pub(super) total: Option<Duration>,
    /// Since something last moved, either way.
    pub(super) idle: Option<Duration>,
    /// End of the stream's longest life.
    pub(super) life: Option<Instant>,
    /// End of this attempt.
    pub(super) attempt: Option<Instant>,
    /// The whole request must have arrived by then.
    pub(super) request: Option<Instant>,
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// `total`.
    Total,
    /// `idle`.
    Idle,
    /// `life`.
    Life,
    /// `attempt`.
    Attempt,
    /// `request`.
    Request,
}

impl Limits {
    /// The limit that is reached first, and when. `start`: of the stream; `active`: last movement of the response.
    pub(super) fn next(&self, start: Instant, active: Instant, upload: Option<&Upload>) -> Option<(Instant, Expired)> {
        let request_end = upload.map_or(Some(start), Upload::ended);
        let active = upload.map_or(active, |u| u.active().max(active));
        let total = self.total.zip(request_end).map(|(limit, end)| (end + limit, Expired::Total));
        let idle = self.idle.map(|limit| (active + limit, Expired::Idle));
        let request = self.request.filter(|_| request_end.is_none()).map(|at| (at, Expired::Request));
        let life = self.life.map(|at| (at, Expired::Life));
        let attempt = self.attempt.map(|at| (at, Expired::Attempt));
        [total, attempt, life, request, idle].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

/// Runs `future` until it is ready or a limit is reached. `start`: of the stream; `active`: last movement before now.
pub(super) async fn watch<F: Future + Unpin>(
    mut future: F,
    limits: &Limits,
    start: Instant,
    active: Instant,
    upload: Option<&Upload>,
) -> Result<F::Output, Expired> {
    let mut timer = pin!(None::<Sleep>);
    poll_fn(|cx| {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(cx) {
            return Poll::Ready(Ok(output));
        }
        if let Some(upload) = upload.filter(|u| u.ended().is_none()) {
            upload.wake_at_end(cx.waker());
        }
        loop {
            let Some((at, which)) = limits.next(start, active, upload) else { return Poll::Pending };
            if at <= Instant::now() {
                return Poll::Ready(Err(which));
            }
            if !elapsed(timer.as_mut(), at, cx) {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Whether `timer`, brought to fire no later than `at`, has fired. A timer that fires early is looked at again.
fn elapsed(mut timer: Pin<&mut Option<Sleep>>, at: Instant, cx: &mut Context<'_>) -> bool {
    let at = tokio::time::Instant::from_std(at);
    match timer.as_mut().as_pin_mut() {
        None => timer.set(Some(sleep_until(at))),
        Some(sleep) if sleep.deadline() > at || sleep.is_elapsed() => sleep.reset(at),
        Some(_) => {}
    }
    timer.as_pin_mut().is_some_and(|sleep| sleep.poll(cx).is_ready())
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        time::{Duration, Instant},
    };

    use super::{Expired, Limits, watch};

    #[tokio::test]
    async fn the_first_limit_wins() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let limits = Limits { total: Some(ms(20)), idle: Some(ms(10)), ..Limits::default() };
        assert_eq!(watch(pending::<()>(), &limits, now, now, None).await, Err(Expired::Idle));
        let limits = Limits { attempt: Some(now), ..Limits::default() };
        assert_eq!(watch(pending::<()>(), &limits, now, now, None).await, Err(Expired::Attempt));
        assert_eq!(watch(ready(7), &limits, now, now, None).await, Ok(7));
    }
}
