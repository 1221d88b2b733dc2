//! Finding the route of a request, as Envoy does: a virtual host by authority, then the first of its routes that matches.
//!
//! [`Routes`] is a route table compiled for searching: immutable, shared by all workers. Finding allocates nothing unless
//! the authority has upper case letters and is longer than 256 bytes.

mod hosts;
mod index;
mod matching;

use std::{borrow::Cow, sync::Arc};

use ::http::{HeaderMap, StatusCode};
use hosts::Hosts;
use index::PathIndex;
pub(crate) use matching::is_grpc;
use matching::without_parameters;

use crate::{
    filter::TlsInfo,
    model::{Action, HeaderView, Redirect, Route, RouteTable, VirtualHost},
};

/// A route table compiled for searching.
#[derive(Debug)]
pub struct Routes {
    table: Arc<RouteTable>,
    hosts: Hosts,
    /// Of each virtual host.
    paths: Vec<Option<PathIndex>>,
    to_https: Arc<Route>,
}

/// What a route is chosen by.
#[derive(Clone, Copy, Debug)]
pub struct RouteInput<'a> {
    /// `:authority` or `Host`, with its port if it has one.
    pub authority: &'a str,
    /// Path and query; empty for a plain `CONNECT`.
    pub path: &'a str,
    /// Method.
    pub method: &'a str,
    /// Headers.
    pub headers: &'a HeaderMap,
    /// `:scheme`: `http` or `https`.
    pub scheme: &'a str,
    /// The client's own connection is TLS (`x-forwarded-proto`): virtual hosts that require it let the request pass.
    pub secure: bool,
    /// One random number for this request. The weighted cluster should be picked with the same one, as Envoy does.
    pub random: u64,
    /// TLS facts of the downstream connection.
    pub tls: Option<&'a TlsInfo>,
    /// The client is internal (`x-envoy-internal`): virtual hosts that redirect external clients to HTTPS let it pass.
    pub internal: bool,
}

impl<'a> RouteInput<'a> {
    pub(crate) fn view(&self) -> HeaderView<'a> {
        HeaderView {
            method: self.method,
            path: self.path,
            authority: self.authority,
            scheme: self.scheme,
            headers: self.headers,
        }
    }
}

/// The chosen virtual host and route.
#[derive(Clone, Debug)]
pub struct RouteFound {
    /// Virtual host.
    pub virtual_host: Arc<VirtualHost>,
    /// Route. A redirect to HTTPS if the virtual host requires TLS and the request came without.
    pub route: Arc<Route>,
}

impl Routes {
    /// Makes the search tables. The table was validated: no domain occurs twice.
    #[must_use]
    pub fn compile(table: Arc<RouteTable>) -> Self {
        let hosts = Hosts::new(&table);
        let paths = |host: &Arc<VirtualHost>| PathIndex::new(host.routes.iter().map(|route| &**route));
        let paths = table.virtual_hosts.iter().map(paths).collect();
        Self { table, hosts, paths, to_https: Arc::new(https_redirect()) }
    }

    /// The table this was made of.
    #[must_use]
    pub fn table(&self) -> &Arc<RouteTable> {
        &self.table
    }

    /// The virtual host for an authority (`:authority` or `Host`, port included).
    #[must_use]
    pub fn virtual_host(&self, authority: &str) -> Option<&Arc<VirtualHost>> {
        self.hosts.find(authority).and_then(|at| self.table.virtual_hosts.get(at))
    }

    /// What virtual hosts are searched by; `None`: by nothing, so there is none.
    fn searched_name<'r>(&self, request: &RouteInput<'r>) -> Option<&'r str> {
        match &self.table.vhost_header {
            None => Some(request.authority),
            Some(name) => request.headers.get(name)?.to_str().ok(),
        }
    }

    /// The route of a request; `None` if no virtual host or no route of it matches.
    #[must_use]
    pub fn find(&self, request: &RouteInput<'_>) -> Option<RouteFound> {
        let at = self.hosts.find(self.searched_name(request)?)?;
        let virtual_host = self.table.virtual_hosts.get(at)?;
        let must_redirect = match virtual_host.require_tls {
            Some(true) => true,
            Some(false) => !request.internal,
            None => false,
        };
        let route = if must_redirect && !request.secure {
            &self.to_https
        } else {
            let path = matching::without_query(request.path);
            let path = if self.table.ignore_path_parameters { without_parameters(path) } else { Cow::Borrowed(path) };
            let path = &*path;
            let matches = |route: &Arc<Route>| matching::matches(&route.matches, request, path);
            match self.paths.get(at)? {
                Some(index) => {
                    let found = index.find(path, |position| virtual_host.routes.get(position).is_some_and(matches));
                    virtual_host.routes.get(found?)?
                }
                None => virtual_host.routes.iter().find(|route| matches(route))?,
            }
        };
        Some(RouteFound { virtual_host: virtual_host.clone(), route: route.clone() })
    }
}

/// Envoy's redirect for `require_tls`: 301 to the same place by HTTPS, the authority as it came.
fn https_redirect() -> Route {
    let redirect = Redirect {
        scheme: Some("https".into()),
        status: Some(StatusCode::MOVED_PERMANENTLY),
        keep_authority: true,
        ..Redirect::default()
    };
    Route { action: Action::Redirect(Box::new(redirect)), ..Route::default() }
}

#[cfg(test)]
mod tests;
