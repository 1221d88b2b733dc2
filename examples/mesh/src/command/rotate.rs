//! `mesh ca rotate` and `mesh ca revoke`: what a running control plane's authority is asked.

use std::time::Duration;

use anyhow::Context as _;

use super::block_on;
use crate::{
    cli::{CaRevokeArgs, CaRotateArgs, Rotate, TextOrJson},
    exit, net,
};

const TIMEOUT: Duration = Duration::from_secs(30);
const NO_ANSWER: &str = "the control plane does not answer: is --control-plane its admin address?";

/// `mesh ca rotate`. Exit code 1 when the step is refused.
pub(crate) fn ca_rotate(args: &CaRotateArgs) -> anyhow::Result<u8> {
    let output = match args.output {
        TextOrJson::Text => "text",
        TextOrJson::Json => "json",
    };
    let asked = match args.what {
        Rotate::Status => block_on(net::get(args.control_plane, &format!("/ca/rotation?output={output}"), TIMEOUT)),
        Rotate::Start => step(args, "start", output),
        Rotate::Abort => step(args, "abort", output),
        Rotate::Approve => step(args, "approve", output),
    };
    Ok(show(asked.context(NO_ANSWER)?))
}

fn step(args: &CaRotateArgs, name: &str, output: &str) -> anyhow::Result<(u16, bytes::Bytes)> {
    block_on(net::post(args.control_plane, &format!("/ca/rotation/{name}?output={output}"), TIMEOUT))
}

/// `mesh ca revoke`. Exit code 1 when there is no such certificate.
pub(crate) fn ca_revoke(args: &CaRevokeArgs) -> anyhow::Result<u8> {
    let serial: String = args.serial.chars().filter(|c| *c != ':').collect();
    anyhow::ensure!(
        !serial.is_empty() && serial.chars().all(|c| c.is_ascii_hexdigit()),
        "{:?} is no serial number: write hexadecimal digits",
        args.serial
    );
    let path = format!("/ca/revoke?serial={serial}&reason={}", args.reason);
    Ok(show(block_on(net::post(args.control_plane, &path, TIMEOUT)).context(NO_ANSWER)?))
}

fn show((status, body): (u16, bytes::Bytes)) -> u8 {
    let text = String::from_utf8_lossy(&body);
    if status == 200 {
        println!("{}", text.trim_end());
        return exit::OK;
    }
    eprintln!("mesh: {}", text.trim_end());
    exit::NO
}
