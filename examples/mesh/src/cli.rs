//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A service mesh: control plane, data plane, and the tools around them.
#[derive(Debug, Parser)]
#[command(name = "mesh", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Least level logged: trace, debug, info, warning, error, off - or a `tracing` filter [default: info, or $MESH_LOG].
    #[arg(long, short = 'l', global = true)]
    pub(crate) log_level: Option<String>,
    /// Form of log lines.
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole mesh on this machine, with sample services and traffic.
    Demo(DemoArgs),
    /// Serve configuration (xDS) and certificates to sidecars.
    ControlPlane(ControlPlaneArgs),
    /// Serve a folder of xDS resources.
    Xds(XdsArgs),
    /// Agent and proxy for one workload.
    Sidecar(SidecarArgs),
    /// Only the data plane, from an Envoy v3 bootstrap.
    Proxy(ProxyArgs),
    /// Print what a node would be sent.
    Translate(TranslateArgs),
    /// Findings over a set of objects.
    Analyze(AnalyzeArgs),
    /// Check each object alone, as an admission check would.
    Validate(ValidateArgs),
    /// What a finding's code means.
    Explain(ExplainArgs),
    /// What differs between two sets of objects: objects, fields, and the hosts they are about.
    Diff(DiffArgs),
    /// Certificates and tokens.
    #[command(subcommand)]
    Ca(CaCommand),
    /// What each connected proxy has acknowledged, refused, or not answered yet.
    ProxyStatus(ProxyStatusArgs),
    /// What one proxy holds.
    ProxyConfig(ProxyConfigArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Stop after this long, such as 30s or 2m [default: until Ctrl-C].
    #[arg(long, value_parser = duration)]
    pub(crate) duration: Option<std::time::Duration>,
    /// Form of the output [default: live view on a terminal, json in a pipe].
    #[arg(long, value_enum)]
    pub(crate) output: Option<DemoOutput>,
    /// Folder for configuration and state [default: a new one, removed at the end].
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Requests per second toward the front page.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
    /// Life of workload certificates. So short that rotation can be watched.
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub(crate) certificate_ttl: std::time::Duration,
    /// Run this Envoy binary as the sidecar of the workloads named by --envoy-workload.
    #[arg(long, env = "MESH_ENVOY")]
    pub(crate) envoy: Option<PathBuf>,
    /// Workloads whose sidecar is Envoy, such as reviews-v2 (repeatable; `all` for each). Needs --envoy.
    #[arg(long, requires = "envoy")]
    pub(crate) envoy_workload: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DemoOutput {
    /// A view that is drawn again every second.
    Live,
    /// One JSON summary at the end.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct ControlPlaneArgs {
    /// Folder of configuration (YAML or JSON), watched.
    #[arg(long)]
    pub(crate) config: PathBuf,
    /// Address of xDS and of the certificate service.
    #[arg(long, default_value = "127.0.0.1:15012")]
    pub(crate) listen: SocketAddr,
    /// Address of /ready, /metrics and /debug/....
    #[arg(long, default_value = "127.0.0.1:15014")]
    pub(crate) admin: SocketAddr,
    /// Folder of the certificate authority and of keys for tokens.
    #[arg(long, default_value = "mesh-state")]
    pub(crate) state: PathBuf,
    /// Sign with the authority in this folder (ca-cert.pem, ca-key.pem, cert-chain.pem, root-cert.pem, ca-crl.pem: Istio's
    /// cacerts), watched [default: an own root in --state].
    #[arg(long)]
    pub(crate) ca_dir: Option<PathBuf>,
    /// Trust domain.
    #[arg(long, default_value = "cluster.local")]
    pub(crate) trust_domain: String,
    /// Life of workload certificates, at most.
    #[arg(long, default_value = "24h", value_parser = duration)]
    pub(crate) certificate_ttl: std::time::Duration,
    /// File that every proxy writes access logs to, such as /dev/stdout [default: none].
    #[arg(long)]
    pub(crate) access_log: Option<String>,
    /// Also serve xDS without TLS and without identities on this loopback address. For tests and proxies without an agent.
    #[arg(long)]
    pub(crate) plaintext: Option<SocketAddr>,
    /// Write the addresses in use to this file, as JSON, once they are bound (for port 0).
    #[arg(long)]
    pub(crate) addresses_path: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) end: EndArgs,
}

/// When a process that serves is to end, besides on SIGTERM and Ctrl-C.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct EndArgs {
    /// End when standard input is closed: with the program that started this one, however that ends.
    #[arg(long)]
    pub(crate) end_with_stdin: bool,
}

#[derive(Debug, Args)]
pub(crate) struct XdsArgs {
    /// Folder of resources, JSON or YAML in protobuf's JSON form, each with its "@type"; watched.
    #[arg(long)]
    pub(crate) resources: PathBuf,
    /// Address to serve on, without TLS.
    #[arg(long, default_value = "127.0.0.1:18000")]
    pub(crate) listen: SocketAddr,
    /// Write the address in use to this file, as JSON, once it is bound (for port 0).
    #[arg(long)]
    pub(crate) addresses_path: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SidecarArgs {
    /// Workload name (pod name).
    #[arg(long)]
    pub(crate) name: String,
    /// Namespace.
    #[arg(long, default_value = "default")]
    pub(crate) namespace: String,
    /// Service account.
    #[arg(long, default_value = "default")]
    pub(crate) service_account: String,
    /// Address of the workload, which others connect to.
    #[arg(long)]
    pub(crate) ip: std::net::IpAddr,
    /// Labels, as app=reviews,version=v1.
    #[arg(long, default_value = "")]
    pub(crate) labels: String,
    /// Address where the application finds other services (no capture of traffic).
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) outbound_bind: std::net::IpAddr,
    /// Address the application listens on.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) app_address: std::net::IpAddr,
    /// `none`: listeners bind real ports. `redirect`: connections arrive by iptables, as on Kubernetes.
    #[arg(long, value_enum, default_value = "none")]
    pub(crate) interception: Interception,
    /// Act as a gateway: node type router.
    #[arg(long)]
    pub(crate) router: bool,
    /// Control plane's address, host:port.
    #[arg(long, default_value = "127.0.0.1:15012")]
    pub(crate) control_plane: String,
    /// Roots that the control plane is verified by, PEM.
    #[arg(long)]
    pub(crate) root_cert: PathBuf,
    /// File with the token that proves who asks for the first certificate.
    #[arg(long)]
    pub(crate) token: PathBuf,
    /// Trust domain.
    #[arg(long, default_value = "cluster.local")]
    pub(crate) trust_domain: String,
    /// Address of the proxy's admin interface.
    #[arg(long, default_value = "127.0.0.1:15000")]
    pub(crate) admin: SocketAddr,
    /// Address of the agent: /healthz/ready, /stats/prometheus, /identity.
    #[arg(long, default_value = "127.0.0.1:15021")]
    pub(crate) status: SocketAddr,
    /// Life asked for certificates.
    #[arg(long, default_value = "24h", value_parser = duration)]
    pub(crate) certificate_ttl: std::time::Duration,
    /// Worker threads [default: one for each core].
    #[arg(long)]
    pub(crate) concurrency: Option<usize>,
    /// Run this Envoy binary as data plane instead of the built-in one.
    #[arg(long, env = "MESH_SIDECAR_ENVOY")]
    pub(crate) envoy: Option<PathBuf>,
    /// Folder for sockets and files of a foreign data plane [default: a new one].
    #[arg(long)]
    pub(crate) state: Option<PathBuf>,
    /// How long open requests may take at the end.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub(crate) drain_time: std::time::Duration,
    #[command(flatten)]
    pub(crate) end: EndArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Interception {
    None,
    Redirect,
}

#[derive(Debug, Args)]
pub(crate) struct ProxyArgs {
    /// Envoy v3 bootstrap, YAML or JSON.
    #[arg(long, short = 'c')]
    pub(crate) config_path: PathBuf,
    /// Worker threads [default: one for each core].
    #[arg(long)]
    pub(crate) concurrency: Option<usize>,
    /// Write the address of the admin interface to this file once it is bound.
    #[arg(long)]
    pub(crate) admin_address_path: Option<PathBuf>,
    /// Node id; wins over the bootstrap's.
    #[arg(long)]
    pub(crate) service_node: Option<String>,
    /// Node cluster; wins over the bootstrap's.
    #[arg(long)]
    pub(crate) service_cluster: Option<String>,
    /// Seconds that connections of a removed or changed listener may go on. At the end of the process it is 10 at most.
    #[arg(long, default_value_t = 600)]
    pub(crate) drain_time_s: u64,
    /// Only check the bootstrap.
    #[arg(long, value_enum, default_value = "serve")]
    pub(crate) mode: ProxyMode,
    /// Nothing to do here: this proxy has no hot restart. Accepted because Envoy's command lines carry it.
    #[arg(long)]
    pub(crate) disable_hot_restart: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProxyMode {
    Serve,
    Validate,
}

#[derive(Debug, Args)]
pub(crate) struct TranslateArgs {
    /// Folder of configuration.
    #[arg(long)]
    pub(crate) config: PathBuf,
    /// Node id, such as sidecar~10.0.0.1~reviews-v1-0.default~default.svc.cluster.local.
    #[arg(long)]
    pub(crate) node: String,
    /// Node metadata as a JSON object, such as {"LABELS": {"app": "reviews"}}.
    #[arg(long, default_value = "{}")]
    pub(crate) metadata: String,
    /// Trust domain.
    #[arg(long, default_value = "cluster.local")]
    pub(crate) trust_domain: String,
}

#[derive(Debug, Args)]
pub(crate) struct AnalyzeArgs {
    /// Files and folders; `-` is the standard input.
    #[arg(required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Form of the findings.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: FindingsOutput,
    /// Least level that makes the exit code 1.
    #[arg(long, value_enum, default_value = "error")]
    pub(crate) fail_on: Level,
    /// File with the settings of the mesh (MeshConfig); those of the ConfigMap `istio` by default.
    #[arg(long)]
    pub(crate) mesh_config: Option<PathBuf>,
    /// Another cluster of the mesh, whose Services are compared with those of PATH. May be repeated.
    #[arg(long, value_name = "NAME=PATH", value_parser = named_path)]
    pub(crate) cluster: Vec<(String, PathBuf)>,
    /// Findings to leave out, `CODE=OBJECT`, with `*` for any text: "IST0118=Service dev/*". May be repeated.
    #[arg(long, value_name = "CODE=OBJECT")]
    pub(crate) suppress: Vec<mesh_config::Suppression>,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// File or folder as it was.
    pub(crate) old: PathBuf,
    /// File or folder as it is to be.
    pub(crate) new: PathBuf,
    /// Form of the answer.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: TextOrJson,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A code, such as IST0101; all of them by default.
    pub(crate) code: Option<String>,
    /// Form of the answer.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: TextOrJson,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FindingsOutput {
    Text,
    Json,
    Sarif,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    Info,
    Warning,
    Error,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Files and folders; `-` is the standard input.
    #[arg(required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Form of the findings.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: TextOrJson,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TextOrJson {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CaCommand {
    /// Check a certificate against the SPIFFE profile and its chain.
    Verify(CaVerifyArgs),
    /// Make a token with which one workload may ask for its first certificate.
    Token(CaTokenArgs),
    /// Print the roots of a certificate authority, making it if need be.
    Root(CaRootArgs),
    /// Change the root of a running control plane, step by step, without an interruption.
    Rotate(CaRotateArgs),
    /// Take a certificate back: it stands on the revocation list of a running control plane from then on.
    Revoke(CaRevokeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CaRotateArgs {
    /// What is to be done.
    #[arg(value_enum)]
    pub(crate) what: Rotate,
    /// Control plane's admin address.
    #[arg(long, default_value = "127.0.0.1:15014")]
    pub(crate) control_plane: SocketAddr,
    /// Form of the answer.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: TextOrJson,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rotate {
    /// Show where it is, and whom it waits for.
    Status,
    /// Make a new root, and begin to give it to everybody.
    Start,
    /// Go back to the old root.
    Abort,
    /// Go on without waiting for those who are behind; they may be cut off until they renew.
    Approve,
}

#[derive(Debug, Args)]
pub(crate) struct CaRevokeArgs {
    /// Serial number of the certificate, hexadecimal.
    pub(crate) serial: String,
    /// Why: unspecified, keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation or
    /// privilegeWithdrawn.
    #[arg(long, default_value = "unspecified")]
    pub(crate) reason: mesh_ca::issuer::RevocationReason,
    /// Control plane's admin address.
    #[arg(long, default_value = "127.0.0.1:15014")]
    pub(crate) control_plane: SocketAddr,
}

#[derive(Debug, Args)]
pub(crate) struct CaVerifyArgs {
    /// Roots, PEM.
    #[arg(long)]
    pub(crate) trust: PathBuf,
    /// Intermediates, PEM.
    #[arg(long)]
    pub(crate) untrusted: Option<PathBuf>,
    /// Time of the check, RFC 3339 or seconds since 1970 [default: now].
    #[arg(long)]
    pub(crate) time: Option<String>,
    /// Certificate, PEM; further ones in the file count as untrusted.
    pub(crate) leaf: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CaTokenArgs {
    /// Folder of the certificate authority (control-plane's --state).
    #[arg(long, default_value = "mesh-state")]
    pub(crate) state: PathBuf,
    /// Trust domain.
    #[arg(long, default_value = "cluster.local")]
    pub(crate) trust_domain: String,
    /// Namespace of the workload.
    #[arg(long, default_value = "default")]
    pub(crate) namespace: String,
    /// Service account of the workload.
    #[arg(long)]
    pub(crate) service_account: String,
    /// Life of the token.
    #[arg(long, default_value = "1h", value_parser = duration)]
    pub(crate) ttl: std::time::Duration,
}

#[derive(Debug, Args)]
pub(crate) struct CaRootArgs {
    /// Folder of the certificate authority (control-plane's --state).
    #[arg(long, default_value = "mesh-state")]
    pub(crate) state: PathBuf,
    /// Trust domain.
    #[arg(long, default_value = "cluster.local")]
    pub(crate) trust_domain: String,
}

#[derive(Debug, Args)]
pub(crate) struct ProxyStatusArgs {
    /// Control plane's admin address.
    #[arg(long, default_value = "127.0.0.1:15014")]
    pub(crate) control_plane: SocketAddr,
    /// Form of the answer.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: TextOrJson,
}

#[derive(Debug, Args)]
pub(crate) struct ProxyConfigArgs {
    /// What is listed.
    #[arg(value_enum)]
    pub(crate) what: ProxyConfigKind,
    /// The proxy's admin address.
    #[arg(long, default_value = "127.0.0.1:15000")]
    pub(crate) admin: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProxyConfigKind {
    /// The whole dump, JSON.
    All,
    /// Clusters and their endpoints.
    Clusters,
    /// Listeners.
    Listeners,
    /// Routes.
    Routes,
}

/// `NAME=PATH`.
fn named_path(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("expected NAME=PATH")?;
    Ok((name.to_owned(), path.into()))
}

/// `500ms`, `30s`, `2m`, `24h`; several parts may follow each other.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    let mut total = std::time::Duration::ZERO;
    let mut rest = text;
    if rest.is_empty() {
        return Err("empty; write for example 30s".into());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or("no unit; write for example 30s")?;
        let number: f64 = rest[..digits].parse().map_err(|_| format!("{rest:?} has no number"))?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let seconds = match &rest[..unit] {
            "ms" => number / 1e3,
            "s" => number,
            "m" => number * 60.0,
            "h" => number * 3600.0,
            other => return Err(format!("{other:?} is no unit; use ms, s, m or h")),
        };
        total += std::time::Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())?;
        rest = &rest[unit..];
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "30", "x", "3d", "s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
