use std::fmt::Write as _;

use mesh_xds_api::descriptor_pool;

use super::{Audit, MessageTable, bootstrap, translator};

/// What is supported of every message, as Markdown: the audit's own tables.
#[must_use]
pub fn supported_fields() -> String {
    let mut out = String::from(
        "# Supported fields\n\n\
         Made from the tables the configuration is checked against (`mesh_proxy::config::supported_fields`); a test keeps \
         it equal.\nA field that is set and refused rejects its resource with the field's path. Filters of users bring tables \
         of their own.\n",
    );
    let sections: [(&str, &Audit); 6] = [
        ("Bootstrap", &bootstrap::BOOTSTRAP),
        ("Listener", &translator::LISTENER),
        ("RouteConfiguration", &translator::ROUTE),
        ("Cluster", &translator::CLUSTER),
        ("ClusterLoadAssignment", &translator::ENDPOINT),
        ("Secret", &translator::SECRET),
    ];
    let mut shown: Vec<&MessageTable> = Vec::new();
    for (title, audit) in sections.into_iter().chain(crate::filters::audits()) {
        let _ = write!(out, "\n## {title}\n");
        for table in audit.messages() {
            // A table that two kinds share is shown once.
            if !shown.contains(&table) {
                shown.push(table);
                message(&mut out, table);
            }
        }
    }
    out
}

fn message(out: &mut String, table: &MessageTable) {
    let Some(descriptor) = descriptor_pool().get_message_by_name(table.message) else { return };
    // Writing to a String cannot fail.
    let _ = write!(out, "\n### `{}`\n\n", table.message);
    let named = |name: &str| {
        table.carried.contains(&name) || table.limited.iter().chain(table.irrelevant).any(|(field, _)| *field == name)
    };
    list(out, "Carried", table.carried.iter().copied());
    let fields: Vec<_> = descriptor.fields().collect();
    list(out, "Refused", fields.iter().map(|field| field.name()).filter(|name| !named(name)));
    for (title, fields) in [("Taken only as", table.limited), ("Taken, without effect", table.irrelevant)] {
        if !fields.is_empty() {
            let _ = writeln!(out, "- {title}:");
        }
        for (field, note) in fields {
            let _ = writeln!(out, "  - `{field}`: {note}");
        }
    }
}

fn list<'a>(out: &mut String, title: &str, names: impl Iterator<Item = &'a str>) {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if !names.is_empty() {
        let _ = writeln!(out, "- {title}: {}", names.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::super::audit::tests::assert_complete;
    use super::*;

    #[test]
    fn tables_are_complete() {
        assert_complete(&bootstrap::BOOTSTRAP, "envoy.config.bootstrap.v3.Bootstrap");
        assert_complete(&translator::LISTENER, "envoy.config.listener.v3.Listener");
        assert_complete(&translator::ROUTE, "envoy.config.route.v3.RouteConfiguration");
        assert_complete(&translator::CLUSTER, "envoy.config.cluster.v3.Cluster");
        assert_complete(&translator::ENDPOINT, "envoy.config.endpoint.v3.ClusterLoadAssignment");
        assert_complete(&translator::SECRET, "envoy.extensions.transport_sockets.tls.v3.Secret");
    }

    /// `MESH_BLESS=1 cargo test -p mesh-proxy supported_fields` writes the file.
    #[test]
    fn the_page_is_what_the_code_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/supported-fields.md");
        let now = supported_fields();
        if std::env::var_os("MESH_BLESS").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
            std::fs::write(path, &now).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(page == now, "docs/supported-fields.md is old: run this test once with MESH_BLESS=1");
    }
}
