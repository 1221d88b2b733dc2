//! `mesh proxy`.

use crate::cli::ProxyArgs;

pub(crate) fn proxy(_args: ProxyArgs) -> anyhow::Result<u8> {
    anyhow::bail!("not assembled yet")
}
