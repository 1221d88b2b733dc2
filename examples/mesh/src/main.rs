//! `mesh`: the complete assembly of the mesh crates, control plane and data plane.
//!
//! Exit codes: 0 done, 1 the answer is no (findings, refused, untrusted, unexpected failures), 2 could not run.

mod authority;
mod cli;
mod command;
mod control_plane;
mod demo;
mod exit;
mod logging;
mod net;
mod sidecar;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{CaCommand, Cli, Command};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::COULD_NOT_RUN } else { 0 });
        }
    };
    logging::init(&cli.log);
    let done = match cli.command {
        Command::Demo(args) => demo::run(args),
        Command::ControlPlane(args) => command::control_plane(args),
        Command::Xds(args) => command::xds(args),
        Command::Sidecar(args) => command::sidecar(args),
        Command::Proxy(args) => command::proxy(args),
        Command::Translate(args) => command::translate(args),
        Command::Analyze(args) => command::analyze(args),
        Command::Validate(args) => command::validate(args),
        Command::Explain(args) => command::explain(args),
        Command::Diff(args) => command::diff(args),
        Command::Ca(CaCommand::Verify(args)) => command::ca_verify(args),
        Command::Ca(CaCommand::Token(args)) => command::ca_token(args),
        Command::Ca(CaCommand::Root(args)) => command::ca_root(args),
        Command::Ca(CaCommand::Rotate(args)) => command::ca_rotate(&args),
        Command::Ca(CaCommand::Revoke(args)) => command::ca_revoke(&args),
        Command::ProxyStatus(args) => command::proxy_status(args),
        Command::ProxyConfig(args) => command::proxy_config(args),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("mesh: {error:#}");
            ExitCode::from(exit::COULD_NOT_RUN)
        }
    }
}
