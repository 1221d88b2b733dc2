//! A shop as resources.

use std::{collections::BTreeSet, net::SocketAddr};

use mesh_xds::Resource;
use serde_json::{Value, json};

use super::{Cluster, Kind, Shop};
use crate::{
    lab::{FRONT, Lab, SECURE, runtime},
    xds::resources::{
        buffer_filter, certificate, cluster, endpoints, header_filter, listener, roots, routes, virtual_host,
    },
};

impl Shop {
    /// Everything, each referred to by something.
    #[must_use]
    pub fn resources(&self, lab: &Lab) -> Vec<Resource> {
        let mut all = Vec::new();
        for (name, of) in &self.clusters {
            all.push(cluster(self.cluster(lab, name, of)));
            if of.kind != Kind::Static {
                all.push(endpoints(name, &addresses(lab, of)));
            }
        }
        if self.clusters.values().any(|of| of.kind == Kind::Secure) {
            all.push(certificate(&self.client.0, &self.client.1));
            all.push(roots("roots", &lab.authority.pem()));
        }
        let filters = vec![lab.make.discovered_filter("f")];
        all.push(listener(lab.make.http_listener(FRONT, lab.make.rds(&self.routes), filters)));
        all.push(lab.secure_listener(SECURE, &self.server.0, &self.routes));
        if let Some(number) = self.extra {
            let mut extra = lab.make.http_listener(("extra", 4), lab.make.rds(&self.routes), vec![]);
            extra["stat_prefix"] = format!("extra-{number}").into();
            all.push(listener(extra));
        }
        all.push(certificate(&self.server.0, &self.server.1));
        all.push(routes(&self.routes, self.virtual_hosts()));
        all.push(match self.filter {
            odd if odd % 4 == 3 => buffer_filter("f"),
            number => header_filter("f", &number.to_string()),
        });
        all.push(runtime(self.runtime));
        all
    }

    /// Whom a request for `host` may reach.
    ///
    /// # Panics
    /// If there is no such host.
    #[must_use]
    pub fn reached(&self, lab: &Lab, host: &str) -> BTreeSet<String> {
        let clusters = self.hosts[host].keys().map(|name| &self.clusters[name]);
        clusters.flat_map(|of| addresses(lab, of)).map(|a| a.to_string()).collect()
    }

    fn virtual_hosts(&self) -> Vec<Value> {
        let one = |(domain, targets): (&String, &std::collections::BTreeMap<String, u32>)| {
            let targets: Vec<(&str, u32)> = targets.iter().map(|(c, w)| (c.as_str(), *w)).collect();
            virtual_host(domain, &targets)
        };
        self.hosts.iter().map(one).collect()
    }

    fn cluster(&self, lab: &Lab, name: &str, of: &Cluster) -> Value {
        let mut message = lab.make.eds_cluster(name);
        message["connect_timeout"] = format!("{}s", 5 + of.timeout).into();
        match of.kind {
            Kind::Plain => {}
            Kind::Secure => message["transport_socket"] = lab.make.upstream_tls(&self.client.0, "roots"),
            Kind::Static => {
                let lb_endpoints: Vec<Value> = addresses(lab, of)
                    .iter()
                    .map(|a| json!({ "endpoint": { "address": crate::envoy::socket_address(*a) } }))
                    .collect();
                message = json!({
                    "name": name,
                    "type": "STATIC",
                    "connect_timeout": message["connect_timeout"],
                    "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": lb_endpoints }] },
                });
            }
        }
        message
    }
}

fn addresses(lab: &Lab, of: &Cluster) -> Vec<SocketAddr> {
    let kind = if of.kind == Kind::Secure { &lab.secure } else { &lab.plain };
    of.upstreams.iter().map(|upstream| kind[*upstream].address).collect()
}
