//! One stream to the server under test.

use std::{collections::BTreeMap, time::Duration};

use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use http::uri::PathAndQuery;
use mesh_xds_api::envoy::{
    config::core::v3::Node,
    service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse},
};
use prost::Message;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Status,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::{Connect, Target};
use crate::{
    Resource, TypeUrl,
    protocol::Variant,
    testing::conformance::{
        case::{Finding, Outcome, broken, not_applicable},
        wire::{Ask, Item, Told, is_whole, short},
    },
};

/// The largest response that is read.
const MAX_MESSAGE: usize = 64 << 20;

/// Which service a stream is of.
#[derive(Debug, Clone, Copy)]
pub(in crate::testing::conformance) enum Service {
    Aggregated,
    Clusters,
    Endpoints,
    Listeners,
    Routes,
}

/// One stream. Remembers, per type, what a client must: the last nonce and version, and in SotW the list.
pub(in crate::testing::conformance) struct Stream {
    variant: Variant,
    requests: mpsc::Sender<Ask>,
    responses: BoxStream<'static, Result<Told, Status>>,
    node: Option<Node>,
    types: BTreeMap<TypeUrl, Kept>,
    /// Every response, in the order they came.
    log: Vec<Told>,
    patience: Duration,
    quiet: Duration,
}

#[derive(Default)]
struct Kept {
    names: Vec<String>,
    nonce: String,
    /// SotW: the version last accepted.
    version: String,
    /// Accepted while another type was waited for.
    inbox: Vec<Told>,
}

impl Stream {
    pub(super) async fn open(target: &Target, variant: Variant, service: Service) -> Outcome<Self> {
        let channel = timeout(target.patience, connect(&target.connect)).await;
        let channel = match channel {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return broken("a connection", error),
            Err(_) => return broken("a connection", format!("none within {:?}", target.patience)),
        };
        let (requests, receiver) = mpsc::channel(64);
        let outgoing = ReceiverStream::new(receiver);
        let client = Grpc::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let path = method(service, variant);
        let responses = match variant {
            Variant::Sotw => {
                let call = call::<DiscoveryRequest, DiscoveryResponse>(client, path, outgoing.map(Ask::into));
                flatten(call).map_ok(Told::from).boxed()
            }
            Variant::Delta => {
                let call = call::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>(client, path, outgoing.map(Ask::into));
                flatten(call).map_ok(Told::from).boxed()
            }
        };
        Ok(Self {
            variant,
            requests,
            responses,
            node: Some(target.node.clone()),
            types: BTreeMap::new(),
            log: Vec::new(),
            patience: target.patience,
            quiet: target.quiet,
        })
    }

    /// Sends a request as it is, with the node if it is the first.
    pub(super) async fn send(&mut self, mut ask: Ask) {
        ask.node = self.node.take();
        if self.variant == Variant::Sotw {
            self.types.entry(ask.type_url.clone()).or_default().names.clone_from(&ask.subscribe);
        }
        // If the stream has ended, reading it will say why.
        let _ = self.requests.send(ask).await;
    }

    /// Subscribes to names: besides those subscribed already.
    pub(super) async fn subscribe(&mut self, type_url: &TypeUrl, names: &[&str]) {
        let ask = self.change(type_url, names, &[]);
        self.send(ask).await;
    }

    /// Drops names.
    pub(super) async fn unsubscribe(&mut self, type_url: &TypeUrl, names: &[&str]) {
        let ask = self.change(type_url, &[], names);
        self.send(ask).await;
    }

    /// A request that is no answer.
    fn change(&self, type_url: &TypeUrl, add: &[&str], drop: &[&str]) -> Ask {
        if self.variant == Variant::Delta {
            return Ask::new(type_url).subscribe(add).unsubscribe(drop);
        }
        let mut ask = self.again(type_url);
        ask.subscribe.retain(|n| !drop.contains(&n.as_str()) && !add.contains(&n.as_str()));
        ask.subscribe.extend(add.iter().map(|n| (*n).to_owned()));
        ask
    }

    /// SotW: the list again, under the last nonce. Delta: nothing new.
    pub(super) fn again(&self, type_url: &TypeUrl) -> Ask {
        let ask = Ask::new(type_url);
        match self.types.get(type_url).filter(|_| self.variant == Variant::Sotw) {
            None => ask,
            Some(kept) => {
                let names: Vec<&str> = kept.names.iter().map(String::as_str).collect();
                ask.subscribe(&names).nonce(&kept.nonce).version(&kept.version)
            }
        }
    }

    /// Accepts a response.
    pub(super) async fn ack(&mut self, told: &Told) {
        let kept = self.types.entry(told.type_url.clone()).or_default();
        kept.version.clone_from(&told.version);
        let ask = self.answer(told);
        self.send(ask).await;
    }

    /// Refuses a response.
    pub(super) async fn nack(&mut self, told: &Told) {
        let ask = self.answer(told).refuse("refused by the conformance kit");
        self.send(ask).await;
    }

    /// What answers `told`: without an error, an acceptance.
    pub(super) fn answer(&self, told: &Told) -> Ask {
        self.again(&told.type_url).nonce(&told.nonce)
    }

    /// The next response, unanswered, of whatever type, by `end`: a server that talks for ever is not listened to for
    /// ever.
    async fn next_by(&mut self, end: Instant, expected: &str) -> Outcome<Told> {
        if end <= Instant::now() {
            return broken(expected, format!("no more of it within {:?}", self.patience));
        }
        match timeout_at(end, self.responses.next()).await {
            Err(_) => broken(expected, format!("nothing within {:?}", self.patience)),
            Ok(None) => broken(expected, "the end of the stream"),
            Ok(Some(Err(status))) if status.code() == Code::Unimplemented => no_service(),
            Ok(Some(Err(status))) => broken(expected, ending(&status)),
            Ok(Some(Ok(told))) => Ok(self.note(told)),
        }
    }

    fn note(&mut self, told: Told) -> Told {
        self.types.entry(told.type_url.clone()).or_default().nonce.clone_from(&told.nonce);
        self.log.push(told.clone());
        told
    }

    /// The next response of `type_url`, unanswered. Those of other types are accepted, and kept for [`Stream::hear`].
    pub(super) async fn next_of(&mut self, type_url: &TypeUrl, expected: &str) -> Outcome<Told> {
        self.next_of_by(type_url, Instant::now() + self.patience, expected).await
    }

    async fn next_of_by(&mut self, type_url: &TypeUrl, end: Instant, expected: &str) -> Outcome<Told> {
        loop {
            let told = self.next_by(end, expected).await?;
            if told.type_url == *type_url {
                return Ok(told);
            }
            self.keep(told).await;
        }
    }

    async fn keep(&mut self, told: Told) {
        self.ack(&told).await;
        self.types.entry(told.type_url.clone()).or_default().inbox.push(told);
    }

    /// Forgets what was accepted of a type while another was waited for.
    pub(super) fn forget(&mut self, type_url: &TypeUrl) {
        self.types.entry(type_url.clone()).or_default().inbox.clear();
    }

    /// Every response so far, in the order they came.
    pub(super) fn log(&self) -> &[Told] {
        &self.log
    }

    /// Reads and accepts until `present` were told, with their content, and `absent` as not there. Gives the responses
    /// of the type. Where a SotW response is the whole set, `present` is all of one; where it is not, `absent` cannot be
    /// told.
    pub(super) async fn hear(
        &mut self,
        type_url: &TypeUrl,
        present: &[&Resource],
        absent: &[&str],
    ) -> Outcome<Vec<Told>> {
        let sotw = self.variant == Variant::Sotw;
        let absent = if sotw { &[] } else { absent };
        let mut heard = Heard { told: BTreeMap::new(), log: Vec::new(), whole: sotw && is_whole(type_url) };
        self.types.entry(type_url.clone()).or_default().inbox.drain(..).for_each(|told| heard.take(told));
        let wanted = wanted(type_url, present, absent, heard.whole);
        let end = Instant::now() + self.patience;
        while !heard.holds(present, absent) {
            let told = match self.next_of_by(type_url, end, &wanted).await {
                Err(Finding::Broken { expected, saw }) if !heard.log.is_empty() => {
                    return broken(expected, format!("{}, then {saw}", in_short(&heard.log)));
                }
                other => other?,
            };
            self.ack(&told).await;
            heard.take(told);
        }
        Ok(heard.log)
    }

    /// As [`Stream::hear`] after a change: of `all` where the whole set is told, else of what `changed` and was `removed`.
    pub(super) async fn hear_change(
        &mut self,
        type_url: &TypeUrl,
        changed: &[&Resource],
        removed: &[&str],
        all: &[&Resource],
    ) -> Outcome<Vec<Told>> {
        match self.variant == Variant::Sotw && is_whole(type_url) {
            true => self.hear(type_url, all, &[]).await,
            false => self.hear(type_url, changed, removed).await,
        }
    }

    /// Waits for silence: nothing comes.
    pub(super) async fn quiet(&mut self, expected: &str) -> Outcome {
        self.quiet_but(|_| true, expected).await
    }

    /// Waits for silence about a type.
    pub(super) async fn quiet_of(&mut self, type_url: &TypeUrl, expected: &str) -> Outcome {
        self.quiet_but(|told| told.type_url == *type_url, expected).await
    }

    /// Waits for silence about one name of a type.
    pub(super) async fn no_news_of(&mut self, type_url: &TypeUrl, name: &str, expected: &str) -> Outcome {
        let speaks = |told: &Told| told.item(name).is_some() || told.removed.iter().any(|n| n == name);
        self.quiet_but(|told| told.type_url == *type_url && speaks(told), expected).await
    }

    /// Waits for silence of what `disturbs`. Other responses are accepted.
    async fn quiet_but(&mut self, disturbs: impl Fn(&Told) -> bool, expected: &str) -> Outcome {
        let end = Instant::now() + self.quiet;
        while Instant::now() < end {
            let told = match timeout_at(end, self.responses.next()).await {
                Err(_) => return Ok(()),
                Ok(None) => return broken(expected, "the end of the stream"),
                Ok(Some(Err(status))) if status.code() == Code::Unimplemented => return no_service(),
                Ok(Some(Err(status))) => return broken(expected, ending(&status)),
                Ok(Some(Ok(told))) => self.note(told),
            };
            if disturbs(&told) {
                return broken(expected, told.to_string());
            }
            self.keep(told).await;
        }
        Ok(())
    }

    /// The status the stream ends with. Responses before it are passed over.
    pub(super) async fn end(&mut self, expected: &str) -> Outcome<Code> {
        let end = Instant::now() + self.patience;
        loop {
            match timeout_at(end, self.responses.next()).await {
                Err(_) => return broken(expected, "a stream that goes on"),
                Ok(None) => return Ok(Code::Ok),
                Ok(Some(Err(status))) if status.code() == Code::Unimplemented => return no_service(),
                Ok(Some(Err(status))) => return Ok(status.code()),
                Ok(Some(Ok(_))) if end <= Instant::now() => return broken(expected, "a stream that goes on"),
                Ok(Some(Ok(_))) => {}
            }
        }
    }
}

/// What was told of one type.
struct Heard {
    told: BTreeMap<String, Option<Item>>,
    log: Vec<Told>,
    whole: bool,
}

impl Heard {
    fn take(&mut self, told: Told) {
        if self.whole {
            self.told.clear();
        }
        self.told.extend(told.removed.iter().map(|name| (name.clone(), None)));
        self.told.extend(told.items.iter().map(|item| (item.name.clone(), Some(item.clone()))));
        self.log.push(told);
    }

    fn holds(&self, present: &[&Resource], absent: &[&str]) -> bool {
        let is_told = |r: &&Resource| matches!(self.told.get(r.name().as_str()), Some(Some(item)) if item.is(r));
        // SotW cannot say that something is not there, except by a whole set without it.
        let is_absent = |n: &&str| self.told.get(*n).is_some_and(Option::is_none);
        match self.whole {
            true => !self.log.is_empty() && self.told.len() == present.len() && present.iter().all(is_told),
            false => present.iter().all(is_told) && absent.iter().all(is_absent),
        }
    }
}

fn wanted(type_url: &TypeUrl, present: &[&Resource], absent: &[&str], whole: bool) -> String {
    let mut text = format!("{}{}", short(type_url), if whole { " of exactly" } else { "" });
    present.iter().for_each(|r| text.push_str(&format!(" +{}", r.name())));
    if !whole {
        absent.iter().for_each(|n| text.push_str(&format!(" -{n}")));
    }
    text
}

/// The first responses of many.
fn in_short(log: &[Told]) -> String {
    const FEW: usize = 8;
    let first: Vec<String> = log.iter().take(FEW).map(Told::to_string).collect();
    let more = log.len().saturating_sub(FEW);
    if more == 0 { first.join(", ") } else { format!("{} and {more} more", first.join(", ")) }
}

fn no_service<T>() -> Outcome<T> {
    not_applicable("the server does not have this service")
}

fn ending(status: &Status) -> String {
    format!("the end of the stream: {:?} {}", status.code(), status.message())
}

async fn connect(connect: &Connect) -> Result<Channel, String> {
    let endpoint = match connect {
        Connect::Address(address) => Endpoint::from_shared(format!("http://{address}")).map_err(|e| e.to_string())?,
        Connect::Endpoint(endpoint) => (**endpoint).clone(),
    };
    endpoint.connect().await.map_err(|e| format!("{e}: {:?}", std::error::Error::source(&e).map(ToString::to_string)))
}

async fn call<Q, R>(
    mut client: Grpc<Channel>,
    path: &'static str,
    outgoing: impl futures::Stream<Item = Q> + Send + 'static,
) -> Result<tonic::Response<tonic::Streaming<R>>, Status>
where
    Q: Message + 'static,
    R: Message + Default + 'static,
{
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = ProstCodec::<Q, R>::default();
    client.streaming(tonic::Request::new(outgoing), PathAndQuery::from_static(path), codec).await
}

/// The call and its stream as one: a server may not answer the call before it has read a request.
fn flatten<T: Send + 'static>(
    call: impl Future<Output = Result<tonic::Response<tonic::Streaming<T>>, Status>> + Send + 'static,
) -> impl futures::Stream<Item = Result<T, Status>> + Send + 'static {
    stream::once(call).map_ok(tonic::Response::into_inner).try_flatten()
}

fn method(service: Service, variant: Variant) -> &'static str {
    match (service, variant) {
        (Service::Aggregated, Variant::Sotw) => {
            "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
        }
        (Service::Aggregated, Variant::Delta) => {
            "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
        }
        (Service::Clusters, Variant::Sotw) => "/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters",
        (Service::Clusters, Variant::Delta) => "/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters",
        (Service::Endpoints, Variant::Sotw) => "/envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints",
        (Service::Endpoints, Variant::Delta) => "/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints",
        (Service::Listeners, Variant::Sotw) => "/envoy.service.listener.v3.ListenerDiscoveryService/StreamListeners",
        (Service::Listeners, Variant::Delta) => "/envoy.service.listener.v3.ListenerDiscoveryService/DeltaListeners",
        (Service::Routes, Variant::Sotw) => "/envoy.service.route.v3.RouteDiscoveryService/StreamRoutes",
        (Service::Routes, Variant::Delta) => "/envoy.service.route.v3.RouteDiscoveryService/DeltaRoutes",
    }
}
