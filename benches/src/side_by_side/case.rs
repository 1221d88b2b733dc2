//! The cases, and the bootstrap both proxies get.

use std::{fmt, str::FromStr};

use serde_json::{Value, json};

const TYPE: &str = "type.googleapis.com/envoy.extensions.";

/// What is proxied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// HTTP/1.1 on both sides.
    H1,
    /// Cleartext HTTP/2 on both sides.
    H2,
    /// Bytes.
    Tcp,
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "h1" => Ok(Case::H1),
            "h2" => Ok(Case::H2),
            "tcp" => Ok(Case::Tcp),
            other => Err(format!("{other:?} is no case; there are h1, h2, tcp")),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Case::H1 => "h1",
            Case::H2 => "h2",
            Case::Tcp => "tcp",
        })
    }
}

impl Case {
    /// An Envoy bootstrap from `front` to `back`.
    pub(crate) fn bootstrap(self, front: u16, back: u16) -> Value {
        let filter = match self {
            Case::Tcp => json!({
                "name": "envoy.filters.network.tcp_proxy",
                "typed_config": {"@type": format!("{TYPE}filters.network.tcp_proxy.v3.TcpProxy"), "stat_prefix": "tcp", "cluster": "back"},
            }),
            Case::H1 | Case::H2 => self.connection_manager(),
        };
        let mut cluster = json!({
            "name": "back",
            "type": "STATIC",
            "connect_timeout": "5s",
            "load_assignment": {"cluster_name": "back", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(back)}}]}]},
        });
        if self == Case::H2 {
            cluster["typed_extension_protocol_options"] = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": format!("{TYPE}upstreams.http.v3.HttpProtocolOptions"),
                "explicit_http_config": {"http2_protocol_options": {}},
            }});
        }
        json!({"static_resources": {
            "listeners": [{"name": "front", "address": address(front), "filter_chains": [{"filters": [filter]}]}],
            "clusters": [cluster],
        }})
    }

    fn connection_manager(self) -> Value {
        json!({
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": format!("{TYPE}filters.network.http_connection_manager.v3.HttpConnectionManager"),
                "stat_prefix": "front",
                "codec_type": if self == Case::H2 { "HTTP2" } else { "HTTP1" },
                "route_config": {"name": "r", "virtual_hosts": [{
                    "name": "all", "domains": ["*"],
                    "routes": [{"match": {"prefix": "/other/"}, "route": {"cluster": "back"}}, {"match": {"prefix": "/"}, "route": {"cluster": "back"}}],
                }]},
                "http_filters": [{"name": "envoy.filters.http.router",
                                  "typed_config": {"@type": format!("{TYPE}filters.http.router.v3.Router")}}],
            },
        })
    }
}

fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}
