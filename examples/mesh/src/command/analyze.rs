//! `mesh analyze`.

use std::{io::IsTerminal as _, path::PathBuf};

use anyhow::Context as _;
use mesh_config::{
    Diagnostic, LoadResult, Snapshot, TextRenderer, analyze_all, analyze_all_in, analyze_clusters, load_mesh_config,
    load_path, render_json, render_sarif, sort_diagnostics, suppress, worst_level,
};

use super::input::Input;
use crate::{
    cli::{AnalyzeArgs, FindingsOutput, Level},
    exit,
};

/// Findings of each object and across all of them. Goes on after schema errors.
pub(crate) fn analyze(args: AnalyzeArgs) -> anyhow::Result<u8> {
    let input = Input::read(&args.paths)?;
    let loaded = &input.loaded;
    let mut diagnostics = loaded.diagnostics.clone();
    match &args.mesh_config {
        None => diagnostics.extend(analyze_all(loaded.all_objects())),
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("--mesh-config {}", file.display()))?;
            let settings = load_mesh_config(&file.to_string_lossy(), &text)
                .map_err(|finding| anyhow::anyhow!("--mesh-config: {finding}"))?;
            diagnostics.extend(settings.diagnostics);
            diagnostics.extend(analyze_all_in(loaded.all_objects(), &settings.mesh));
        }
    }
    diagnostics.extend(between_clusters(loaded, &args.cluster)?);
    suppress(&mut diagnostics, &args.suppress, loaded.all_objects());
    sort_diagnostics(&mut diagnostics);
    match args.output {
        FindingsOutput::Text => text(&diagnostics, &input),
        FindingsOutput::Json => println!("{}", render_json(&diagnostics)),
        FindingsOutput::Sarif => println!("{}", render_sarif(&diagnostics)),
    }
    let least = match args.fail_on {
        Level::Info => mesh_config::Level::Info,
        Level::Warning => mesh_config::Level::Warning,
        Level::Error => mesh_config::Level::Error,
    };
    let found = worst_level(&diagnostics).is_some_and(|worst| worst >= least);
    Ok(if found { exit::NO } else { exit::OK })
}

/// Findings about Services that are not the same in all clusters.
fn between_clusters(loaded: &LoadResult, others: &[(String, PathBuf)]) -> anyhow::Result<Vec<Diagnostic>> {
    let snapshot = |loaded: &LoadResult| Snapshot::from_objects(loaded.all_objects().cloned());
    let mut clusters = vec![("PATH", snapshot(loaded))];
    for (name, path) in others {
        clusters.push((name.as_str(), snapshot(&load_path([path])?)));
    }
    Ok(analyze_clusters(&clusters.iter().map(|(name, snapshot)| (*name, snapshot)).collect::<Vec<_>>()))
}

/// Findings with their lines, for people.
pub(super) fn text(diagnostics: &[Diagnostic], input: &Input) {
    let renderer = TextRenderer::new().color(std::io::stdout().is_terminal());
    print!("{}", renderer.render(diagnostics, |file| input.text_of(file)));
    eprintln!("{} findings in {} files", diagnostics.len(), input.loaded.files);
}
