//! The rules of `WasmPlugin` and `TrafficExtension`.

use super::{Findings, rules, selector};
use crate::{
    model::{EnvValueSource, Object, TrafficExtension, TrafficSelector, VmConfig, WasmExtension, WasmPlugin},
    path::FieldPath,
};

/// Where modules can be fetched; without a scheme from a registry.
const SCHEMES: [&str; 4] = ["http", "https", "file", "oci"];
const SCRIPT_LIMIT: usize = 65536;

/// Checks a `WasmPlugin`.
pub(super) fn validate_wasm(_: &Object, spec: &WasmPlugin, findings: &mut Findings<'_>) {
    selector::policy_target(spec.selector.as_ref(), spec.target_ref.as_ref(), &spec.target_refs, findings);
    let module = Module {
        url: &spec.url,
        sha256: spec.sha256.as_deref(),
        secret: spec.image_pull_secret.as_deref(),
        name: spec.plugin_name.as_deref(),
        vm: spec.vm_config.as_ref(),
    };
    module.check(FieldPath::spec(), findings);
    traffic(&spec.matches, findings);
}

/// Checks a `TrafficExtension`.
pub(super) fn validate_traffic(_: &Object, spec: &TrafficExtension, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    selector::policy_target(spec.selector.as_ref(), None, &spec.target_refs, findings);
    match (&spec.wasm, &spec.lua) {
        (None, None) => findings.error(root, "one of wasm and lua is required"),
        (Some(_), Some(_)) => findings.error(root, "wasm and lua exclude each other: keep one"),
        _ => {}
    }
    if let Some(wasm) = &spec.wasm {
        Module::of(wasm).check(root.field("wasm"), findings);
    }
    if let Some(lua) = &spec.lua {
        let path = root.field("lua");
        let path = path.field("inlineCode");
        if lua.inline_code.is_empty() {
            findings.error(path, "the script is required");
        }
        rules::max_len(path, &lua.inline_code, SCRIPT_LIMIT, findings);
    }
    traffic(&spec.matches, findings);
}

/// What both kinds say of a module.
struct Module<'a> {
    url: &'a str,
    sha256: Option<&'a str>,
    secret: Option<&'a str>,
    name: Option<&'a str>,
    vm: Option<&'a VmConfig>,
}

impl<'a> Module<'a> {
    fn of(wasm: &'a WasmExtension) -> Self {
        Self {
            url: &wasm.url,
            sha256: wasm.sha256.as_deref(),
            secret: wasm.image_pull_secret.as_deref(),
            name: wasm.plugin_name.as_deref(),
            vm: wasm.vm_config.as_ref(),
        }
    }

    fn check(&self, path: FieldPath<'_>, findings: &mut Findings<'_>) {
        if let Some(fault) = url_fault(self.url) {
            findings.error(path.field("url"), fault);
        }
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if let Some(sum) = self.sha256.filter(|sum| !sum.is_empty() && (sum.len() != 64 || !sum.bytes().all(hex))) {
            let message = format!("invalid SHA-256 {sum:?}: it must be 64 lower case hexadecimal digits");
            findings.error(path.field("sha256"), message);
        }
        for (field, text, limit) in [("imagePullSecret", self.secret, 253), ("pluginName", self.name, 256)] {
            let Some(text) = text else { continue };
            if text.is_empty() {
                findings.error(path.field(field), "the name must not be empty: leave it out");
            }
            rules::max_len(path.field(field), text, limit, findings);
        }
        if let Some(vm) = self.vm {
            environment(path.field("vmConfig"), vm, findings);
        }
    }
}

/// Why a text is not the address of a module.
fn url_fault(url: &str) -> Option<String> {
    if url.is_empty() {
        return Some("the address of the module is required".to_owned());
    }
    let scheme = url.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| is_scheme(scheme));
    if let Some(scheme) = scheme {
        if !SCHEMES.contains(&scheme.to_ascii_lowercase().as_str()) {
            return Some(format!("unknown scheme {scheme:?}: use oci, http, https or file"));
        }
    } else if url.starts_with(['#', ':', '?']) {
        return Some(format!("invalid address {url:?}: it has no host"));
    }
    let escapes = url.match_indices('%').all(|(at, _)| {
        url.as_bytes().get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    let plain = !url.chars().any(|c| c.is_control() || c == ' ');
    if escapes && plain { None } else { Some(format!("invalid address {url:?}")) }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

fn environment(path: FieldPath<'_>, vm: &VmConfig, findings: &mut Findings<'_>) {
    let path = path.field("env");
    rules::max_items(path, vm.env.len(), 256, findings);
    for (index, variable) in vm.env.iter().enumerate() {
        let path = path.index(index);
        if variable.name.is_empty() {
            findings.error(path.field("name"), "the name of the variable is required");
        } else if vm.env[..index].iter().any(|other| other.name == variable.name) {
            findings.error(path.field("name"), format_args!("the variable {:?} stands twice", variable.name));
        }
        rules::max_len(path.field("name"), &variable.name, 256, findings);
        rules::max_len(path.field("value"), variable.value.as_deref().unwrap_or_default(), 2048, findings);
        if variable.value_from == Some(EnvValueSource::Host) && variable.value.is_some() {
            findings.error(path.field("value"), "a variable of the host takes no value");
        }
    }
}

fn traffic(list: &[TrafficSelector], findings: &mut Findings<'_>) {
    let path = FieldPath::spec();
    let path = path.field("match");
    for (index, selector) in list.iter().enumerate() {
        let path = path.index(index);
        let ports = path.field("ports");
        for (index, port) in selector.ports.iter().enumerate() {
            let path = ports.index(index);
            rules::port(path.field("number"), port.number, findings);
            if selector.ports[..index].contains(port) {
                findings.error(path.field("number"), format_args!("port {} stands twice", port.number));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_modules() {
        for url in ["oci://a.b/c:v1", "http://a/b.wasm", "https://a", "file:///a.wasm", "a.b/c", "test", "HTTP://a"] {
            assert_eq!(url_fault(url), None, "{url}");
        }
        for url in ["", "ftp://a", "fake://example.com", "#%blah$#@", "a b", "http://%zz"] {
            assert!(url_fault(url).is_some(), "{url}");
        }
    }
}
