//! The traffic: requests for the front page at a steady rate, and what came back.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::http::HeaderMap;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::app::Caller;

/// Requests under way at most; beyond that a tick is skipped and counted.
const MOST_UNDER_WAY: usize = 512;

/// What the traffic has seen so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    pub(crate) ok: u64,
    /// Ticks without a request because too many were under way.
    pub(crate) skipped: u64,
    /// No answer at all, by reason.
    pub(crate) no_answer: BTreeMap<String, u64>,
    /// Front page's status.
    pub(crate) page: BTreeMap<u16, u64>,
    /// Status of each call the page reports: (service, status).
    pub(crate) calls: BTreeMap<(String, u16), u64>,
    /// Which version of reviews answered.
    pub(crate) reviews: BTreeMap<String, u64>,
}

/// Counters shared by the generator and those who look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic(Arc<Mutex<Seen>>);

impl Traffic {
    pub(crate) fn seen(&self) -> Seen {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        // A panic in one request leaves counters that are still counters.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Sends `rate` requests a second until `until` (for ever if `None`), then waits for the last answers.
    pub(crate) async fn run(&self, caller: Caller, rate: u32, until: Option<Instant>) {
        let room = Arc::new(Semaphore::new(MOST_UNDER_WAY));
        let mut tick = tokio::time::interval(Duration::from_secs(1) / rate);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while until.is_none_or(|end| Instant::now() < end) {
            tick.tick().await;
            let Ok(permit) = room.clone().try_acquire_owned() else {
                self.lock().skipped += 1;
                continue;
            };
            self.lock().sent += 1;
            let (traffic, caller) = (self.clone(), caller.clone());
            tokio::spawn(async move {
                let answer = caller.get("productpage", "/productpage", &HeaderMap::new()).await;
                traffic.lock().record(answer);
                drop(permit);
            });
        }
        // All permits back: every request has been recorded.
        drop(room.acquire_many(MOST_UNDER_WAY as u32).await);
    }
}

impl Seen {
    fn record(&mut self, answer: Result<(u16, Value), String>) {
        self.answered += 1;
        let (status, page) = match answer {
            Ok(answer) => answer,
            Err(reason) => {
                *self.no_answer.entry(reason).or_default() += 1;
                return;
            }
        };
        *self.page.entry(status).or_default() += 1;
        let mut ok = status == 200;
        for service in ["details", "reviews"] {
            ok &= self.record_call(service, &page[service]);
        }
        if let Some(version) = page["reviews"]["body"]["version"].as_str() {
            *self.reviews.entry(version.to_owned()).or_default() += 1;
        }
        let ratings = &page["reviews"]["body"]["ratings"];
        if ratings.is_object() {
            ok &= self.record_call("ratings", ratings);
        }
        self.ok += u64::from(ok);
    }

    fn record_call(&mut self, service: &str, outcome: &Value) -> bool {
        let Some(status) = outcome["status"].as_u64().and_then(|s| u16::try_from(s).ok()) else { return false };
        *self.calls.entry((service.to_owned(), status)).or_default() += 1;
        status == 200
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Seen;

    #[test]
    fn a_failed_inner_call_is_not_ok() {
        let mut seen = Seen::default();
        let page = |ratings: u16| {
            json!({
                "details": {"status": 200, "body": {}},
                "reviews": {"status": 200, "body": {"version": "v2", "ratings": {"status": ratings, "body": {}}}},
            })
        };
        seen.record(Ok((200, page(200))));
        seen.record(Ok((200, page(503))));
        seen.record(Err("connection refused".into()));
        assert_eq!((seen.answered, seen.ok), (3, 1));
        assert_eq!(seen.calls[&("ratings".to_owned(), 503)], 1);
        assert_eq!(seen.reviews["v2"], 2);
        assert_eq!(seen.no_answer.values().sum::<u64>(), 1);
    }
}
