//! `mesh xds`.

use crate::cli::XdsArgs;

pub(crate) fn xds(_args: XdsArgs) -> anyhow::Result<u8> {
    anyhow::bail!("not assembled yet")
}
