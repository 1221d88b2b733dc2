//! Resources that others need: endpoints, routes, secrets.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Instant, SystemTime},
};

use mesh_xds_api::{TypeUrl, any::Any};

use super::{Now, Raw, Want};
use crate::{
    admin::{ResourceDump, ResourceError, ResourceVersion, TypeDump},
    config::Dependency,
    model::{Assignment, ConfigSource, Secret, SecretRef},
    route::Routes,
    tls::SecretStore,
};

/// A resource that is needed, translated.
#[derive(Clone, Debug)]
pub(super) enum Arrived {
    Assignment(Arc<Assignment>),
    Routes(Arc<Routes>),
    Secret(SecretRef, Arc<Secret>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    type_url: TypeUrl,
    name: String,
    source: ConfigSource,
}

#[derive(Debug)]
struct Need {
    /// Resources that need it; one that is replaced counts twice for a moment.
    users: usize,
    /// When it was first asked for; `None` before the driver was told to.
    asked: Option<Instant>,
    /// It arrived, or is known not to exist.
    answered: bool,
    value: Option<Arrived>,
    version: String,
    raw: Option<Any>,
    updated: SystemTime,
    failure: Option<ResourceError>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Needs {
    all: HashMap<Key, Need>,
    /// Some may have begun or ceased to be needed.
    changed: Vec<Key>,
}

fn key(type_url: &TypeUrl, name: &str, source: &ConfigSource) -> Key {
    Key { type_url: type_url.clone(), name: name.to_owned(), source: source.clone() }
}

fn key_of(dependency: &Dependency) -> Key {
    key(&dependency.type_url, &dependency.name, &dependency.source)
}

impl Needs {
    /// A resource with these dependencies is held.
    pub(super) fn hold(&mut self, dependencies: &[Dependency], now: Now) {
        for dependency in dependencies {
            let key = key_of(dependency);
            let need = self.all.entry(key.clone()).or_insert_with(|| Need {
                users: 0,
                asked: None,
                answered: false,
                value: None,
                version: String::new(),
                raw: None,
                updated: now.wall,
                failure: None,
            });
            need.users += 1;
            self.changed.push(key);
        }
    }

    /// A resource with these dependencies is let go.
    pub(super) fn release(&mut self, dependencies: &[Dependency]) {
        for dependency in dependencies {
            let key = key_of(dependency);
            if let Some(need) = self.all.get_mut(&key) {
                need.users = need.users.saturating_sub(1);
                self.changed.push(key);
            }
        }
    }

    /// Asks for what is newly needed, forgets what no longer is.
    pub(super) fn sweep(&mut self, wants: &mut Vec<Want>, secrets: &SecretStore, now: Instant) {
        for key in std::mem::take(&mut self.changed) {
            let Some(need) = self.all.get_mut(&key) else { continue };
            if need.users == 0 {
                self.all.remove(&key);
                if key.type_url == TypeUrl::SECRET {
                    secrets.remove(&SecretRef { name: key.name.clone(), source: key.source.clone() });
                }
                wants.push(Want::Forget(key.type_url, key.source, key.name));
            } else if need.asked.is_none() {
                need.asked = Some(now);
                wants.push(Want::Name(key.type_url, key.source, key.name));
            }
        }
    }

    pub(super) fn is_wanted(&self, type_url: &TypeUrl, name: &str, source: &ConfigSource) -> bool {
        self.all.contains_key(&key(type_url, name, source))
    }

    pub(super) fn arrived(&mut self, type_url: &TypeUrl, source: &ConfigSource, raw: Raw, value: Arrived, now: Now) {
        let Some(need) = self.all.get_mut(&key(type_url, &raw.name, source)) else { return };
        need.raw = Some(match &value {
            Arrived::Secret(_, secret) => super::shown::secret(secret),
            _ => raw.any,
        });
        need.answered = true;
        need.value = Some(value);
        need.version = raw.version;
        need.updated = now.wall;
        need.failure = None;
    }

    pub(super) fn refused(&mut self, type_url: &TypeUrl, name: &str, source: &ConfigSource, failure: ResourceError) {
        if let Some(need) = self.all.get_mut(&key(type_url, name, source)) {
            need.failure = Some(failure);
        }
    }

    /// Endpoints and routes that do not exist are no longer waited for. A secret is: nothing works without.
    pub(super) fn does_not_exist(&mut self, type_url: &TypeUrl, name: &str, source: &ConfigSource) {
        if *type_url == TypeUrl::SECRET {
            return;
        }
        if let Some(need) = self.all.get_mut(&key(type_url, name, source)) {
            need.answered = true;
        }
    }

    /// The last endpoints told under a name.
    pub(super) fn assignment(&self, name: &str, source: &ConfigSource) -> Option<Arc<Assignment>> {
        match &self.all.get(&key(&TypeUrl::ENDPOINT, name, source))?.value {
            Some(Arrived::Assignment(assignment)) => Some(assignment.clone()),
            _ => None,
        }
    }

    /// Whether what these dependencies name is there, or no longer waited for.
    pub(super) fn are_met(&self, dependencies: &[Dependency], now: Instant) -> bool {
        dependencies.iter().all(|dependency| match self.all.get(&key_of(dependency)) {
            Some(need) => need.answered || deadline(need, dependency).is_some_and(|deadline| now >= deadline),
            None => false,
        })
    }

    /// When waiting for these dependencies ends.
    pub(super) fn deadlines<'a>(&'a self, dependencies: &'a [Dependency]) -> impl Iterator<Item = Instant> + 'a {
        dependencies.iter().filter_map(|dependency| {
            let need = self.all.get(&key_of(dependency)).filter(|need| !need.answered)?;
            deadline(need, dependency)
        })
    }

    /// Route tables that arrived. Where two sources told one name, either is taken.
    pub(super) fn routes(&self) -> HashMap<Arc<str>, Arc<Routes>> {
        let routes = self.all.iter().filter_map(|(key, need)| match &need.value {
            Some(Arrived::Routes(routes)) => Some((Arc::from(key.name.as_str()), routes.clone())),
            _ => None,
        });
        routes.collect()
    }

    /// Those of one type, by name.
    pub(super) fn dump(&self, type_url: &TypeUrl) -> TypeDump {
        let of_type = self.all.iter().filter(|(key, _)| key.type_url == *type_url);
        let version = |need: &Need| ResourceVersion {
            version: need.version.clone(),
            config: need.raw.clone().unwrap_or_default(),
            updated: need.updated,
        };
        let mut resources: Vec<ResourceDump> = of_type
            .map(|(key, need)| ResourceDump {
                name: key.name.clone(),
                is_static: false,
                active: need.raw.is_some().then(|| version(need)),
                warming: None,
                error: need.failure.clone(),
            })
            .collect();
        resources.sort_by(|a, b| a.name.cmp(&b.name));
        TypeDump { version: String::new(), resources }
    }
}

fn deadline(need: &Need, dependency: &Dependency) -> Option<Instant> {
    need.asked?.checked_add(dependency.initial_fetch_timeout?)
}
