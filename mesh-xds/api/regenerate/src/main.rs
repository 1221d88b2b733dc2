//! Remakes `../descriptors.bin`.
//!
//! Takes the descriptor set that the envoy-types package ships, keeps the closure of `../roots.txt`, drops source
//! information (comments and positions, four fifths of the bytes), adds the files of `../proto` and writes the result.
//! The set is filtered on raw bytes: decoding and encoding it with prost-types would lose extension options, and the
//! API's validation rules are such options.
//!
//! ```text
//! cargo run --manifest-path mesh-xds/api/regenerate/Cargo.toml
//! ```

use std::{collections::BTreeMap, error::Error, path::Path, process::Command};

use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

/// A file of the set: the facts needed for the closure, and its bytes without source information.
struct File {
    deps: Vec<String>,
    bytes: Vec<u8>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let api = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no parent folder")?;
    let mut files = read_set(&std::fs::read(shipped_set(api)?)?)?;
    let own = own_protos(api)?;
    for (name, file) in own.1 {
        files.entry(name).or_insert(file);
    }

    let roots = std::fs::read_to_string(api.join("roots.txt"))?;
    let roots: Vec<&str> = roots.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    for root in &roots {
        if !files.keys().any(|f| matches(f, root)) {
            return Err(format!("roots.txt: {root} names no file of the set").into());
        }
    }
    let mut out = Vec::new();
    let mut done = BTreeMap::new();
    for name in files.keys() {
        if own.0.contains(name) || roots.iter().any(|r| matches(name, r)) {
            visit(name, &files, &mut done, &mut out)?;
        }
    }
    std::fs::write(api.join("descriptors.bin"), &out)?;
    println!("descriptors.bin: {} files, {} bytes", done.len(), out.len());
    Ok(())
}

fn matches(file: &str, root: &str) -> bool {
    file == root || (file.starts_with(root) && file.as_bytes().get(root.len()) == Some(&b'/'))
}

/// Appends `name` after everything it imports.
fn visit(
    name: &str,
    files: &BTreeMap<String, File>,
    done: &mut BTreeMap<String, ()>,
    out: &mut Vec<u8>,
) -> Result<(), Box<dyn Error>> {
    if done.insert(name.to_owned(), ()).is_some() {
        return Ok(());
    }
    let file = files.get(name).ok_or_else(|| format!("{name} is imported but not in the set"))?;
    for dep in &file.deps {
        visit(dep, files, done, out)?;
    }
    encode_key(1, WireType::LengthDelimited, out);
    encode_varint(file.bytes.len() as u64, out);
    out.extend_from_slice(&file.bytes);
    Ok(())
}

fn shipped_set(api: &Path) -> Result<std::path::PathBuf, Box<dyn Error>> {
    let out = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .args(["metadata", "--format-version=1", "--manifest-path"])
        .arg(api.join("regenerate/Cargo.toml"))
        .output()?;
    let meta: serde_json::Value = serde_json::from_slice(&out.stdout)?;
    let manifest = meta["packages"]
        .as_array()
        .and_then(|p| p.iter().find(|p| p["name"] == "envoy-types"))
        .and_then(|p| p["manifest_path"].as_str())
        .ok_or("envoy-types is not among the packages")?;
    Ok(Path::new(manifest).with_file_name("src/generated/types.bin"))
}

/// Our own small protos: their names, and all files they need.
fn own_protos(api: &Path) -> Result<(Vec<String>, BTreeMap<String, File>), Box<dyn Error>> {
    let dir = api.join("proto");
    let names: Vec<String> =
        ["udpa/type/v1/typed_struct.proto", "xds/type/v3/typed_struct.proto"].map(String::from).to_vec();
    let set = protox::compile(&names, [&dir])?;
    Ok((names, read_set(&set.encode_to_vec())?))
}

fn read_set(mut set: &[u8]) -> Result<BTreeMap<String, File>, Box<dyn Error>> {
    let mut files = BTreeMap::new();
    while !set.is_empty() {
        let (key, wire) = decode_key(&mut set)?;
        if (key, wire) != (1, WireType::LengthDelimited) {
            return Err("not a FileDescriptorSet".into());
        }
        let (name, file) = read_file(take(&mut set)?)?;
        files.insert(name, file);
    }
    Ok(files)
}

/// A FileDescriptorProto: 1 name, 3 dependency, 9 source_code_info.
fn read_file(mut raw: &[u8]) -> Result<(String, File), Box<dyn Error>> {
    let (mut name, mut deps, mut bytes) = (String::new(), Vec::new(), Vec::new());
    while !raw.is_empty() {
        let start = raw;
        let (field, wire) = decode_key(&mut raw)?;
        let payload = match wire {
            WireType::LengthDelimited => take(&mut raw)?,
            WireType::Varint => {
                decode_varint(&mut raw)?;
                &[]
            }
            _ => return Err("unexpected wire type in a FileDescriptorProto".into()),
        };
        match field {
            1 => name = String::from_utf8(payload.to_vec())?,
            3 => deps.push(String::from_utf8(payload.to_vec())?),
            _ => {}
        }
        if field != 9 {
            bytes.extend_from_slice(&start[..start.len() - raw.len()]);
        }
    }
    Ok((name, File { deps, bytes }))
}

fn take<'a>(raw: &mut &'a [u8]) -> Result<&'a [u8], Box<dyn Error>> {
    let len = usize::try_from(decode_varint(raw)?)?;
    let (head, tail) = raw.split_at_checked(len).ok_or("truncated")?;
    *raw = tail;
    Ok(head)
}
