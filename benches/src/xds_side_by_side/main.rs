//! mesh-xds's server beside go-control-plane's SnapshotCache: the same content, subscribers and changes, turn by turn.
//!
//! ```text
//! cargo build --release -p mesh-benches && target/release/xds-side-by-side
//! ```
//!
//! Each server is a process of its own, pinned to the last core and with one worker; all subscribers are in this process,
//! pinned to the first. A subscriber tells by content that a change has arrived, so that any server can be measured that
//! takes the control requests of `xds-bench-server`. See benches/README.md for what the figures mean.

mod case;
mod connection;
mod fleet;
mod process;
mod progress;
mod subscriber;
mod table;
mod wire;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};

use self::{
    case::{Case, Repeats, Size},
    table::Table,
    wire::Variant,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Contender {
    Mesh,
    Go,
}

#[derive(Debug, Parser)]
struct Args {
    /// Clusters in the server; several to see how cost follows their number.
    #[arg(long, value_delimiter = ',', default_value = "1000")]
    clusters: Vec<usize>,
    /// Endpoints of each.
    #[arg(long, default_value_t = 10)]
    endpoints: usize,
    /// Clusters each subscriber asks for by name. Without it, all.
    #[arg(long)]
    named: Option<usize>,
    /// Subscribers, each with a connection of its own.
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000")]
    subscribers: Vec<usize>,
    #[arg(long, value_delimiter = ',', default_value = "delta,sotw")]
    variants: Vec<Variant>,
    #[arg(long, value_delimiter = ',', default_value = "cold,one,add,remove,all,reconnect")]
    cases: Vec<Case>,
    /// Rounds, each with servers started anew; the median counts.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How often small changes happen in a round; their mean counts.
    #[arg(long, default_value_t = 10)]
    small: usize,
    /// How often everything changes in a round.
    #[arg(long, default_value_t = 3)]
    all: usize,
    #[arg(long, value_delimiter = ',', default_value = "mesh,go")]
    servers: Vec<Contender>,
    /// Our server, or another program that takes the same arguments. Default: the one beside this program.
    #[arg(long)]
    mesh: Option<PathBuf>,
    /// The Go tool, to build the peer with.
    #[arg(long, env = "MESH_GO", default_value = "go")]
    go: PathBuf,
    /// The peer is left out where subscribers times clusters exceed this: it needs 1 to 2.5 KiB for each.
    #[arg(long, default_value_t = 1_000_000)]
    go_limit: usize,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    process::settle_down();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, run(&args))
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let grows = args.cases.iter().any(|case| matches!(case, Case::Add | Case::Remove));
    anyhow::ensure!(args.named.is_none() || !grows, "who asks for names does not hear of a cluster that is added");
    let folder = std::env::current_exe()?.parent().context("no folder")?.to_owned();
    let mut contenders: Vec<(&'static str, PathBuf)> = Vec::new();
    for contender in &args.servers {
        contenders.push(match contender {
            Contender::Mesh => ("mesh", args.mesh.clone().map_or_else(|| ours(&folder), Ok)?),
            Contender::Go => ("go", process::build_peer(&args.go, &folder)?),
        });
    }
    let mut table = Table::default();
    for size in sizes(args) {
        measure(args, size, &contenders, &mut table).await?;
    }
    println!();
    table.print();
    Ok(())
}

fn ours(folder: &Path) -> anyhow::Result<PathBuf> {
    let binary = folder.join("xds-bench-server");
    anyhow::ensure!(binary.is_file(), "no {}: run cargo build --release -p mesh-benches", binary.display());
    Ok(binary)
}

fn sizes(args: &Args) -> Vec<Size> {
    let mut sizes = Vec::new();
    for &variant in &args.variants {
        for &subscribers in &args.subscribers {
            let size =
                |&clusters| Size { variant, subscribers, clusters, endpoints: args.endpoints, named: args.named };
            sizes.extend(args.clusters.iter().map(size));
        }
    }
    sizes
}

async fn measure(
    args: &Args,
    size: Size,
    contenders: &[(&'static str, PathBuf)],
    table: &mut Table,
) -> anyhow::Result<()> {
    let repeats = Repeats { small: args.small.max(1), all: args.all.max(1) };
    for round in 1..=args.rounds {
        for (name, binary) in contenders {
            let held = size.subscribers * size.named.unwrap_or(size.clusters);
            if *name == "go" && held > args.go_limit {
                println!("{size:?}: go is left out, {held} resources held by subscribers are more than --go-limit");
                continue;
            }
            let figures = case::round(binary, size, &args.cases, repeats).await;
            let figures = figures.with_context(|| format!("{name}, {size:?}"))?;
            println!("round {round} of {size:?}: {name}: {figures:.2?}");
            table.add(size, name, figures);
        }
    }
    Ok(())
}
