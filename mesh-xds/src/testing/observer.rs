//! An observer that remembers.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::{
    NodeId,
    server::{Observer, StreamEvent, StreamInfo},
};

/// Remembers every event. Clones share the memory.
#[derive(Debug, Clone, Default)]
pub struct RecordingObserver {
    events: Arc<Mutex<Vec<(NodeId, StreamEvent)>>>,
}

impl RecordingObserver {
    /// What was observed so far, oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<(NodeId, StreamEvent)> {
        self.events.lock().clone()
    }
}

impl Observer for RecordingObserver {
    fn observe(&self, stream: &StreamInfo, event: &StreamEvent) {
        self.events.lock().push((stream.node.id().clone(), event.clone()));
    }
}
