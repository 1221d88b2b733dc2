//! `mesh explain`.

use anyhow::Context as _;
use mesh_config::Code;
use serde_json::{Value, json};

use crate::{
    cli::{ExplainArgs, TextOrJson},
    exit,
};

/// What a code means, or every code in a line.
pub(crate) fn explain(args: ExplainArgs) -> anyhow::Result<u8> {
    let codes: Vec<Code> = match &args.code {
        None => Code::all().collect(),
        Some(text) => {
            let code = Code::named(text);
            vec![code.with_context(|| format!("unknown code {text:?}: `mesh explain` lists all"))?]
        }
    };
    match (args.output, codes.as_slice()) {
        (TextOrJson::Json, [code]) if args.code.is_some() => println!("{:#}", row(*code)),
        (TextOrJson::Json, codes) => println!("{:#}", codes.iter().map(|code| row(*code)).collect::<Value>()),
        (TextOrJson::Text, [code]) if args.code.is_some() => {
            println!("{code} {} ({})\n\n{}\n\nmessage: {}", code.name(), code.level(), code.doc(), code.template());
            println!("what to do: {}\npage: {}", code.fix(), code.page());
            code.upstream_page().into_iter().for_each(|page| println!("Istio's page: {page}"));
        }
        (TextOrJson::Text, codes) => {
            codes.iter().for_each(|code| println!("{code:<8} {:<8} {}", code.level(), code.doc()));
        }
    }
    Ok(exit::OK)
}

fn row(code: Code) -> Value {
    json!({
        "code": code.as_str(),
        "name": code.name(),
        "level": code.level(),
        "meaning": code.doc(),
        "message": code.template(),
        "fix": code.fix(),
        "page": code.page(),
        "documentation": code.documentation(),
    })
}
