//! Logs go to standard error, as text or JSON.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::cli::{LogArgs, LogFormat};

/// Starts logging. A level from the command line wins over `MESH_LOG`; the default is `info`.
pub(crate) fn init(args: &LogArgs) {
    let filter = args.log_level.as_deref().map_or_else(
        || EnvFilter::try_from_env("MESH_LOG").unwrap_or_else(|_| EnvFilter::new("info")),
        |level| EnvFilter::new(normal_level(level)),
    );
    let registry = tracing_subscriber::registry().with(filter);
    let done = match args.log_format {
        LogFormat::Text => {
            let ansi = std::io::stderr().is_terminal();
            registry.with(fmt::layer().with_writer(std::io::stderr).with_ansi(ansi).with_target(true)).try_init()
        }
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init(),
    };
    // A second initialisation can only come from a program that embeds this one; its logger stays.
    drop(done);
}

/// Envoy's level names are understood too.
fn normal_level(level: &str) -> &str {
    match level {
        "warning" => "warn",
        "critical" => "error",
        other => other,
    }
}
