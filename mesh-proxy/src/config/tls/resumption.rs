//! Resumption of sessions by a server.

use std::sync::Arc;

use mesh_xds_api::envoy::extensions::transport_sockets::tls::v3::{
    DownstreamTlsContext, downstream_tls_context::SessionTicketKeysType,
};

use super::certificates::{Sds, sds};
use crate::{
    config::{
        error::{At as _, Translated, refuse_field},
        secret,
        source::Context,
        value::optional_duration,
    },
    model::{Resumption, Secret, SessionTickets},
};

pub(super) fn resumption(value: &DownstreamTlsContext, cx: &Context<'_>) -> Translated<Resumption> {
    let tickets = match &value.session_ticket_keys_type {
        None | Some(SessionTicketKeysType::DisableStatelessSessionResumption(false)) => SessionTickets::Random,
        Some(SessionTicketKeysType::DisableStatelessSessionResumption(true)) => SessionTickets::Off,
        Some(SessionTicketKeysType::SessionTicketKeys(keys)) => {
            let value = secret::ticket_keys(keys).at("session_ticket_keys")?;
            SessionTickets::Static(Arc::new(Secret { name: String::new(), value }))
        }
        Some(SessionTicketKeysType::SessionTicketKeysSdsSecretConfig(config)) => {
            match sds(config, cx).at("session_ticket_keys_sds_secret_config")? {
                Sds::Here(secret) => SessionTickets::Static(secret),
                Sds::Dynamic(reference) => SessionTickets::Sds(reference),
            }
        }
    };
    let timeout = optional_duration(value.session_timeout.as_ref(), "session_timeout")?;
    if timeout.is_some_and(|timeout| timeout.as_secs() > u64::from(u32::MAX)) {
        return refuse_field("session_timeout", "must be below 2^32 seconds");
    }
    Ok(Resumption { tickets, stateless_only: value.disable_stateful_session_resumption, timeout })
}
