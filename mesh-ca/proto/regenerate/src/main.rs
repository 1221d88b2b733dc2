//! Remakes `../api.bin`, the descriptor set that `build.rs` generates code from, so that a build needs no protoc.
//!
//! ```text
//! cargo run --manifest-path mesh-ca/proto/regenerate/Cargo.toml
//! ```

use std::{error::Error, path::Path};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no parent folder")?;
    let mut set = protox::compile(["ca.proto", "workload.proto"], [proto])?;
    for file in &mut set.file {
        file.source_code_info = None;
    }
    let bytes = set.encode_to_vec();
    std::fs::write(proto.join("api.bin"), &bytes)?;
    println!("api.bin: {} files, {} bytes", set.file.len(), bytes.len());
    Ok(())
}
