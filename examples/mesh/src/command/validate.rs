//! `mesh validate`.

use mesh_config::{Diagnostic, Level};
use serde_json::{Value, json};

use super::{analyze::text, input::Input};
use crate::{
    cli::{TextOrJson, ValidateArgs},
    exit,
};

/// Each object alone, as an admission check would.
pub(crate) fn validate(args: ValidateArgs) -> anyhow::Result<u8> {
    let input = Input::read(&args.paths)?;
    let loaded = &input.loaded;
    let refused = loaded.diagnostics.iter().any(Diagnostic::is_error);
    match args.output {
        TextOrJson::Text => text(&loaded.diagnostics, &input),
        TextOrJson::Json => {
            let of = |level: Level| -> anyhow::Result<Vec<Value>> {
                loaded.diagnostics.iter().filter(|d| d.level == level).map(|d| Ok(serde_json::to_value(d)?)).collect()
            };
            let answer = json!({ "accepted": !refused, "errors": of(Level::Error)?, "warnings": of(Level::Warning)? });
            println!("{answer:#}");
        }
    }
    Ok(if refused { exit::NO } else { exit::OK })
}
