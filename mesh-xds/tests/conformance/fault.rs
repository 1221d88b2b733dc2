//! The rules that can be broken, and how.

use std::collections::{BTreeMap, BTreeSet};

use mesh_xds::{ResourceName, TypeUrl, Version, protocol::Request};
use mesh_xds_api::envoy::{config::core::v3::Node, service::discovery::v3::Resource};

use super::faulty::Told;

/// A rule to be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Everything is as it was.
    Nothing,
    // Of servers.
    NoLegacyWildcard,
    LegacyWildcardForEver,
    EndpointsHaveLegacyWildcard,
    FirstNamesOnly,
    NamesOnlyGrow,
    SpontaneousDropped,
    StaleDropped,
    StaleAnswered,
    OlderVersionRefuses,
    RefusalsForgotten,
    RepeatsRefused,
    RepeatsAccepted,
    RefusedComesAlong,
    OneNonce,
    DoesNotWait,
    HeldForgotten,
    HeldTrusted,
    VersionOfTheStream,
    VersionIsOne,
    RemovalsLost,
    RemovalsRepeated,
    UnchangedIsNotSent,
    PartOfTheSet,
    AllOfTheSet,
    Twice,
    SlowClusters,
    UnsubscribesAllTypes,
    NoTypeIsIgnored,
    NonceOfAnyType,
    NodeEachTime,
    OldNonceDropped,
    ChangesLost,
    EmptyIsNotSent,
    // Of clients.
    NoNode,
    WrongNonce,
    NeverRefuses,
    RefusesWithTheNewVersion,
    AnswersEverySecond,
    AddsTheNonce,
    ForgetsVersions,
    ForgetsWildcard,
    UnsubscriptionsLost,
    NoVersion,
}

/// What goes on in both directions after a message.
#[derive(Default)]
pub(crate) struct Out {
    pub(crate) up: Vec<(Option<Node>, Request)>,
    pub(crate) down: Vec<Told>,
}

/// One stream, and the fault in it.
pub(crate) struct Link {
    fault: Fault,
    delta: bool,
    stream: u32,
    types: BTreeMap<TypeUrl, Kept>,
    sent: u32,
}

#[derive(Default)]
struct Kept {
    asked: bool,
    names: BTreeSet<ResourceName>,
    first_names: Vec<ResourceName>,
    /// SotW: the list last said.
    listed: Vec<ResourceName>,
    nonce: String,
    version: Option<Version>,
    last: Option<Told>,
    seen: BTreeMap<String, Resource>,
    removed: BTreeSet<String>,
    held: BTreeSet<String>,
    refused: Vec<Resource>,
    answers: u32,
}

impl Link {
    pub(crate) fn new(fault: Fault, delta: bool, stream: u32) -> Self {
        Self { fault, delta, stream, types: BTreeMap::new(), sent: 0 }
    }

    /// Whether responses of the type are late.
    pub(crate) fn is_slow(&self, type_url: &TypeUrl) -> bool {
        self.fault == Fault::SlowClusters && *type_url == TypeUrl::CLUSTER
    }

    pub(crate) fn request(&mut self, node: Option<Node>, mut request: Request) -> Out {
        let (delta, fault) = (self.delta, self.fault);
        let kept = self.types.entry(request.type_url.clone()).or_default();
        let first = !std::mem::replace(&mut kept.asked, true);
        kept.listed.clone_from(&request.names);
        let silent = request.names.is_empty() && request.unsubscribe.is_empty();
        let stale = request.nonce.as_ref().is_some_and(|n| n.as_str() != kept.nonce);
        let mut out = Out::default();
        let mut node = node;
        match fault {
            Fault::NoLegacyWildcard if first && silent => return out,
            Fault::LegacyWildcardForEver if silent && request.nonce.is_none() == delta => {
                request.names.push("*".into());
            }
            Fault::EndpointsHaveLegacyWildcard if first && silent => request.names.push("*".into()),
            Fault::FirstNamesOnly if first => kept.first_names.clone_from(&request.names),
            Fault::FirstNamesOnly if delta => request.names.clear(),
            Fault::FirstNamesOnly => request.names.clone_from(&kept.first_names),
            Fault::NamesOnlyGrow | Fault::UnsubscriptionsLost if delta => request.unsubscribe.clear(),
            Fault::NamesOnlyGrow | Fault::UnsubscriptionsLost => {
                kept.names.extend(request.names.iter().cloned());
                request.names = kept.names.iter().cloned().collect();
            }
            Fault::SpontaneousDropped if delta && !first && request.nonce.is_none() => return out,
            Fault::StaleDropped if !first && stale => return out,
            Fault::StaleAnswered if !first => request.nonce = Some(kept.nonce.as_str().into()),
            Fault::OlderVersionRefuses => {
                let older = !first && request.version != kept.version;
                match older {
                    true => request.names = kept.names.iter().cloned().collect(),
                    false => kept.names = request.names.iter().cloned().collect(),
                }
            }
            Fault::RefusalsForgotten | Fault::NeverRefuses => request.error = None,
            Fault::RepeatsRefused if request.error.is_some() && !stale => out.down.extend(kept.last.clone()),
            Fault::RepeatsAccepted if request.error.is_none() && !stale && request.nonce.is_some() => {
                kept.answers += 1;
                if kept.answers == 1 {
                    out.down.extend(kept.last.clone());
                }
            }
            Fault::RefusedComesAlong if request.error.is_some() => {
                kept.refused.extend(kept.last.iter().flat_map(|p| p.resources.clone()));
            }
            Fault::OneNonce if request.nonce.is_some() => request.nonce = Some(kept.nonce.as_str().into()),
            Fault::DoesNotWait if !first && request.nonce.is_some() => return out,
            Fault::HeldForgotten => {
                request.initial_versions.clear();
                request.version = request.version.filter(|_| !first);
            }
            Fault::HeldTrusted if first => {
                kept.held = std::mem::take(&mut request.initial_versions).into_keys().map(String::from).collect();
                if request.version.is_some() {
                    return out;
                }
            }
            Fault::UnsubscribesAllTypes if !request.unsubscribe.is_empty() || (!delta && !first && silent) => {
                for other in [TypeUrl::ENDPOINT, TypeUrl::ROUTE] {
                    let nonce = self.types.get(&other).map(|k| k.nonce.as_str().into()).filter(|_| !delta);
                    out.up.push((None, Request { type_url: other, nonce, ..request.clone() }));
                }
                return out;
            }
            Fault::NoTypeIsIgnored if request.type_url.as_str().is_empty() => return out,
            Fault::NonceOfAnyType if first && request.nonce.is_some() => {
                let other =
                    self.types.iter().find(|(_, k)| request.nonce.as_ref().is_some_and(|n| n.as_str() == k.nonce));
                if let Some((type_url, kept)) = other {
                    let names = kept.names.iter().cloned().collect();
                    out.up.push((None, Request { type_url: type_url.clone(), names, ..request.clone() }));
                }
            }
            Fault::NodeEachTime if node.is_none() => return out,
            Fault::OldNonceDropped if first && request.nonce.is_some() => return out,
            Fault::NoNode => node = None,
            Fault::WrongNonce if request.nonce.is_some() => request.nonce = Some("another".into()),
            Fault::RefusesWithTheNewVersion if request.error.is_some() => request.version = kept.version.clone(),
            Fault::AnswersEverySecond if request.nonce.is_some() => {
                kept.answers += 1;
                if kept.answers.is_multiple_of(2) {
                    return out;
                }
            }
            Fault::AddsTheNonce if !first && request.nonce.is_none() => {
                request.nonce = Some(kept.nonce.as_str().into())
            }
            Fault::NoVersion if !first => request.version = None,
            Fault::ForgetsVersions if first => {
                request.version = None;
                request.initial_versions.clear();
            }
            Fault::ForgetsWildcard if first && self.stream > 0 => request.names.retain(|n| *n != "*"),
            _ => {}
        }
        for push in &mut out.down {
            self.sent += 1;
            push.nonce = format!("made-up-{}", self.sent);
        }
        out.up.push((node, request));
        out
    }

    pub(crate) fn response(&mut self, told: Told) -> Out {
        let mut push = told;
        let type_url = push.type_url.clone();
        let whole = !self.delta && [TypeUrl::CLUSTER, TypeUrl::LISTENER].contains(&type_url);
        let kept = self.types.entry(type_url.clone()).or_default();
        kept.nonce.clone_from(&push.nonce);
        kept.version = Some(push.version.as_str().into());
        let mut out = Out::default();
        let new = |kept: &Kept, r: &Resource| kept.seen.get(&r.name).is_none_or(|s| s.resource != r.resource);
        match self.fault {
            Fault::OneNonce => push.nonce = "one".into(),
            Fault::DoesNotWait => out.up.push((None, answer(&type_url, kept, self.delta))),
            Fault::HeldTrusted => push.resources.retain(|r| !kept.held.contains(&r.name)),
            Fault::VersionOfTheStream => {
                let stream = self.stream;
                push.version = format!("{}-{stream}", push.version);
                push.resources.iter_mut().for_each(|r| r.version.push_str(&format!("-{stream}")));
            }
            Fault::VersionIsOne => {
                push.version = "1".into();
                push.resources.iter_mut().for_each(|r| r.version = "1".into());
            }
            Fault::RemovalsLost if whole => {
                kept.seen.extend(push.resources.iter().map(|r| (r.name.clone(), r.clone())));
                push.resources = kept.seen.values().cloned().collect();
            }
            Fault::RemovalsLost => push.removed.clear(),
            Fault::RemovalsRepeated => {
                kept.removed.extend(push.removed.iter().cloned());
                push.removed = kept.removed.iter().cloned().collect();
            }
            Fault::UnchangedIsNotSent => {
                push.resources.retain(|r| whole || new(kept, r));
                let told = push.removed.iter().all(|n| kept.removed.contains(n));
                kept.removed.extend(push.removed.iter().cloned());
                kept.seen.extend(push.resources.iter().map(|r| (r.name.clone(), r.clone())));
                if push.resources.is_empty() && told && !whole {
                    out.up.push((None, answer(&type_url, kept, self.delta)));
                    return out;
                }
            }
            Fault::PartOfTheSet => {
                push.resources.retain(|r| new(kept, r));
                kept.seen.extend(push.resources.iter().map(|r| (r.name.clone(), r.clone())));
            }
            Fault::AllOfTheSet => {
                kept.seen.extend(push.resources.iter().map(|r| (r.name.clone(), r.clone())));
                push.resources = kept.seen.values().cloned().collect();
            }
            Fault::RefusedComesAlong => {
                let told: BTreeSet<String> = push.resources.iter().map(|r| r.name.clone()).collect();
                push.resources.extend(kept.refused.drain(..).filter(|r| !told.contains(&r.name)));
            }
            Fault::ChangesLost if kept.last.is_some() => {
                out.up.push((None, answer(&type_url, kept, self.delta)));
                return out;
            }
            Fault::EmptyIsNotSent if push.resources.is_empty() && push.removed.is_empty() => return out,
            Fault::Twice => push.resources.extend(push.resources.clone()),
            _ => {}
        }
        kept.last = Some(push.clone());
        out.down.push(push);
        out
    }
}

/// An acceptance that the client did not give.
fn answer(type_url: &TypeUrl, kept: &Kept, delta: bool) -> Request {
    Request {
        type_url: type_url.clone(),
        names: if delta { Vec::new() } else { kept.listed.clone() },
        unsubscribe: Vec::new(),
        initial_versions: BTreeMap::new(),
        version: kept.version.clone().filter(|_| !delta),
        nonce: Some(kept.nonce.as_str().into()),
        error: None,
    }
}
