//! Runs the HTTP filters of a chain over a stream.

use std::sync::Arc;

use http::response;
use smallvec::SmallVec;

use super::stream::Stream;
use crate::{
    filter::{Flow, HttpFilter, HttpStream, LocalReply, Outcome},
    model::{FilterConfigs, FilterDisabled, HttpFilterEntry},
};

/// Per-route filter configurations of a stream, most specific first.
pub(super) type RouteConfigs = SmallVec<[FilterConfigs; 4]>;

/// What the filters made of a request.
pub(super) enum Ran {
    /// All went on.
    Through,
    /// One answered.
    Replied(Box<LocalReply>),
}

/// Which phase a filter is called in.
enum Phase<'a> {
    Request,
    Response(&'a mut response::Parts),
}

/// Calls `on_request` in order. `reroute` is called when a filter cleared the route, and gives the new configurations.
pub(super) async fn on_request(
    stream: &mut Stream,
    configs: &mut RouteConfigs,
    mut reroute: impl FnMut(&mut Stream) -> RouteConfigs,
) -> Ran {
    let chain = stream.chain.clone();
    stream.states.resize_with(chain.model.filters.len(), || None);
    for (index, entry) in chain.model.filters.iter().enumerate() {
        stream.reached = index + 1;
        if !is_enabled(entry, configs) {
            continue;
        }
        let (mut flow, mut cleared) = call(stream, index, entry, configs, Phase::Request);
        loop {
            match flow {
                Flow::Continue => break,
                Flow::Respond(reply) => return Ran::Replied(reply),
                Flow::Wait(wait) => match wait.await {
                    Outcome::Continue => break,
                    Outcome::Respond(reply) => return Ran::Replied(reply),
                    Outcome::Apply(apply) => {
                        let (next, again) = with_stream(stream, index, entry, configs, Phase::Request, apply);
                        flow = next;
                        cleared |= again;
                    }
                },
            }
        }
        if cleared {
            *configs = reroute(stream);
        }
    }
    Ran::Through
}

/// Calls `on_response` in reverse order for the filters that saw the request.
pub(super) async fn on_response(stream: &mut Stream, response: &mut response::Parts, configs: &RouteConfigs) -> Ran {
    let chain = stream.chain.clone();
    for index in (0..stream.reached).rev() {
        let entry = &chain.model.filters[index];
        if !is_enabled(entry, configs) {
            continue;
        }
        let (mut flow, _) = call(stream, index, entry, configs, Phase::Response(response));
        loop {
            match flow {
                Flow::Continue => break,
                Flow::Respond(reply) => return Ran::Replied(reply),
                Flow::Wait(wait) => match wait.await {
                    Outcome::Continue => break,
                    Outcome::Respond(reply) => return Ran::Replied(reply),
                    Outcome::Apply(apply) => {
                        flow = with_stream(stream, index, entry, configs, Phase::Response(response), apply).0;
                    }
                },
            }
        }
    }
    Ran::Through
}

/// The most specific level that says something of a filter says whether it runs. One that is off by default runs where it
/// is configured.
fn is_enabled(entry: &HttpFilterEntry, configs: &RouteConfigs) -> bool {
    match configs.iter().find_map(|configs| configs.get(&entry.name)) {
        Some(config) => !config.is::<FilterDisabled>(),
        None => !entry.disabled,
    }
}

fn call(
    stream: &mut Stream,
    index: usize,
    entry: &HttpFilterEntry,
    configs: &RouteConfigs,
    phase: Phase<'_>,
) -> (Flow, bool) {
    let filter: &Arc<dyn HttpFilter> = &entry.filter;
    let request = matches!(phase, Phase::Request);
    with_stream(stream, index, entry, configs, phase, |s| {
        if request { filter.on_request(s) } else { filter.on_response(s) }
    })
}

fn with_stream(
    stream: &mut Stream,
    index: usize,
    entry: &HttpFilterEntry,
    configs: &RouteConfigs,
    phase: Phase<'_>,
    f: impl FnOnce(&mut HttpStream<'_>) -> Flow,
) -> (Flow, bool) {
    let mut view = HttpStream {
        end_of_stream: stream.upload.is_none(),
        request: &mut stream.request,
        response: match phase {
            Phase::Request => None,
            Phase::Response(response) => Some(response),
        },
        info: &mut stream.info,
        state: &mut stream.states[index],
        name: &entry.name,
        route_configs: configs,
        route_cleared: false,
    };
    let flow = f(&mut view);
    (flow, view.route_cleared)
}
