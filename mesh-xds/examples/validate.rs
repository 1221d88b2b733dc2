//! Holds a folder of resources to the API's own rules: `cargo run -p mesh-xds --example validate -- DIR`.
//!
//! The folder is one that `serve_folder` and `mesh xds --resources` take. Prints what breaks a rule, a line each, and ends
//! with 1 if there is anything: a check for CI.

use std::{error::Error, process::ExitCode};

use mesh_xds::resources::ResourceDir;
use mesh_xds_api::validate;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let Some(folder) = std::env::args().nth(1) else { return Err("usage: validate DIR".into()) };
    let dir = ResourceDir::open(folder)?;
    let mut findings = 0;
    for error in dir.errors() {
        println!("{error}");
        findings += 1;
    }
    let resources = dir.resources();
    for resource in &resources {
        let Err(violations) = validate::any(resource.any()) else { continue };
        let origin = resource.origin().map_or("", |o| o.as_str());
        for violation in &violations {
            println!("{origin}: {resource:?}: {violation} ({})", violation.rule);
        }
        findings += violations.as_slice().len();
    }
    println!("{} resources, {findings} findings", resources.len());
    Ok(if findings == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
