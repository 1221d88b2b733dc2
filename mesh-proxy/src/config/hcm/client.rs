//! Who the client is: internal addresses and ways to find its address.

use mesh_xds_api::{
    any,
    envoy::{
        config::core::v3::TypedExtensionConfig,
        extensions::{
            filters::network::http_connection_manager::v3::HttpConnectionManager as ProtoManager,
            http::original_ip_detection::{custom_header::v3::CustomHeaderConfig, xff::v3::XffConfig},
        },
    },
};

use ::http::StatusCode;

use crate::{
    config::{
        error::{At as _, Translated, refuse, refuse_field},
        value::{cidrs, header_name, present, required, unpack},
    },
    model::{HttpConnectionManager, InternalAddresses, IpDetection},
    supported,
};

supported! {
    /// Who the client is.
    pub(in crate::config) static CLIENTS =
    envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.InternalAddressConfig {
        carried: unix_sockets, cidr_ranges;
    }
    envoy.extensions.http.original_ip_detection.xff.v3.XffConfig {
        carried: xff_num_trusted_hops, xff_trusted_cidrs, skip_xff_append;
    }
    envoy.extensions.http.original_ip_detection.xff.v3.XffTrustedCidrs {
        carried: cidrs;
    }
    envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig {
        carried: header_name, allow_extension_to_set_address_as_trusted, reject_with_status;
    }
    envoy.type.v3.HttpStatus {
        carried: code;
    }
}

pub(super) fn apply(value: &ProtoManager, manager: &mut HttpConnectionManager) -> Translated<()> {
    if let Some(config) = &value.internal_address_config {
        let ranges = cidrs(&config.cidr_ranges, "cidr_ranges").at("internal_address_config")?;
        manager.internal_addresses = Some(InternalAddresses { unix_sockets: config.unix_sockets, ranges });
    }
    for (i, extension) in value.original_ip_detection_extensions.iter().enumerate() {
        let way = detection(extension).at(format_args!("original_ip_detection_extensions[{i}]"))?;
        manager.ip_detection.push(way);
    }
    if !manager.ip_detection.is_empty() && (manager.use_remote_address || manager.xff_trusted_hops > 0) {
        return refuse_field(
            "original_ip_detection_extensions",
            "cannot be used with use_remote_address or xff_num_trusted_hops",
        );
    }
    Ok(())
}

fn detection(value: &TypedExtensionConfig) -> Translated<IpDetection> {
    let config = present(value.typed_config.as_ref(), "typed_config")?;
    if any::is::<XffConfig>(config) {
        return unpack(config).and_then(|xff: XffConfig| forwarded(&xff)).at("typed_config");
    }
    if any::is::<CustomHeaderConfig>(config) {
        return unpack(config).and_then(|header: CustomHeaderConfig| custom(&header)).at("typed_config");
    }
    refuse_field("typed_config", format!("{} is not carried", config.type_url))
}

fn forwarded(value: &XffConfig) -> Translated<IpDetection> {
    let trusted_ranges = match &value.xff_trusted_cidrs {
        Some(_) if value.xff_num_trusted_hops > 0 => {
            return refuse_field("xff_trusted_cidrs", "only one of it and xff_num_trusted_hops may be set");
        }
        Some(trusted) => cidrs(&trusted.cidrs, "cidrs").at("xff_trusted_cidrs")?,
        None => Vec::new(),
    };
    Ok(IpDetection::Xff {
        trusted_hops: value.xff_num_trusted_hops,
        trusted_ranges,
        skip_append: value.skip_xff_append.unwrap_or(true),
    })
}

fn custom(value: &CustomHeaderConfig) -> Translated<IpDetection> {
    let name = header_name(required(&value.header_name, "header_name")?).at("header_name")?;
    // As in Envoy, a status that is none is 403.
    let reject = value.reject_with_status.as_ref().map(|status| {
        let code = u16::try_from(status.code).ok().and_then(|code| StatusCode::from_u16(code).ok());
        code.filter(|code| code.is_client_error() || code.is_server_error()).unwrap_or(StatusCode::FORBIDDEN)
    });
    if name == "x-forwarded-for" {
        return refuse("use the xff extension for x-forwarded-for");
    }
    Ok(IpDetection::Header { name, trusted: value.allow_extension_to_set_address_as_trusted, reject })
}
