//! Generates the Rust types from `descriptors.bin`. No protoc is needed.

use std::{error::Error, path::PathBuf};

use prost::Message;
use prost_types::FileDescriptorSet;

/// Files that are needed to understand options, not to carry messages: they stay in the embedded set only.
const OPTIONS_ONLY: &[&str] =
    &["google/protobuf/descriptor.proto", "validate/", "udpa/annotations/", "xds/annotations/", "envoy/annotations/"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=descriptors.bin");
    println!("cargo:rerun-if-changed=build.rs");
    let mut set = FileDescriptorSet::decode(std::fs::read("descriptors.bin")?.as_slice())?;
    set.file.retain(|f| !OPTIONS_ONLY.iter().any(|o| f.name().starts_with(o)));

    let mut config = prost_build::Config::new();
    config
        .enable_type_names()
        .type_name_domain(["."], "type.googleapis.com")
        // Ordered maps: equal messages encode to equal bytes, also in another process.
        .btree_map(["."])
        .bytes(["."])
        .disable_comments(["."])
        .include_file("api.rs");
    well_known_types(&mut config);
    if let Ok(out) = std::env::var("OUT_DIR") {
        config.out_dir(PathBuf::from(out));
    }
    tonic_prost_build::configure().build_transport(true).compile_fds_with_config(set, config)?;
    Ok(())
}

/// prost-types' well-known types, except `Any`: ours holds `Bytes`, so that one encoding is shared by all who hold it.
fn well_known_types(config: &mut prost_build::Config) {
    config.compile_well_known_types();
    for name in ["Duration", "Timestamp", "Struct", "Value", "ListValue", "NullValue", "FieldMask"] {
        config.extern_path(format!(".google.protobuf.{name}"), format!("::prost_types::{name}"));
    }
    for (name, rust) in [
        ("Empty", "()"),
        ("BoolValue", "bool"),
        ("BytesValue", "::prost::bytes::Bytes"),
        ("DoubleValue", "f64"),
        ("FloatValue", "f32"),
        ("Int32Value", "i32"),
        ("Int64Value", "i64"),
        ("StringValue", "::prost::alloc::string::String"),
        ("UInt32Value", "u32"),
        ("UInt64Value", "u64"),
    ] {
        config.extern_path(format!(".google.protobuf.{name}"), rust);
    }
}
