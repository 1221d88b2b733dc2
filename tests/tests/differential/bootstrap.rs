//! The bootstrap file: `bootstrap.yaml` with the back ends' ports.

use crate::backend::Backends;

pub(crate) fn yaml(backends: &Backends) -> String {
    let mut text = include_str!("bootstrap.yaml").to_owned();
    for (name, address) in backends.addresses() {
        text = text.replace(&format!("$PORT_{}$", name.to_uppercase()), &address.port().to_string());
    }
    assert!(!text.contains("$PORT_"), "a port of no back end is in the file");
    text
}
