//! Generates Istio's CSR API and the SPIFFE Workload API from `proto/api.bin`. No protoc is needed.

use std::error::Error;

use prost::Message;
use prost_types::FileDescriptorSet;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto/api.bin");
    println!("cargo:rerun-if-changed=build.rs");
    let set = FileDescriptorSet::decode(std::fs::read("proto/api.bin")?.as_slice())?;

    let mut config = prost_build::Config::new();
    config.disable_comments(["."]).btree_map(["."]);
    tonic_prost_build::configure().build_transport(false).compile_fds_with_config(set, config)?;
    Ok(())
}
