//! mesh-proxy beside Envoy, and HAProxy if wished: the same work, one worker each, turn by turn on the same load.
//!
//! ```text
//! cargo build --release && cargo run --release -p mesh-benches --bin side-by-side -- --envoy PATH
//! ```
//!
//! mesh and Envoy get the same bootstrap file. The figure to compare is CPU time for a request (user and system, all
//! threads, from `/proc/PID/stat`): it survives a busy machine far better than the rate does. The load is a closed loop;
//! with two cores the proxies have one of them and the load and the backend the other.

mod backend;
mod bootstrap;
mod case;
mod certs;
mod haproxy;
mod load;
mod process;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;

use self::{
    bootstrap::Ports,
    case::{Case, Unit},
    load::Load,
    process::Proxy,
};

/// Connections of the idle case.
const IDLE: usize = 1000;

#[derive(Debug, Parser)]
struct Args {
    /// Envoy's binary.
    #[arg(long, env = "MESH_ENVOY")]
    envoy: PathBuf,
    /// The mesh binary.
    #[arg(long, env = "MESH", default_value = "target/release/mesh")]
    mesh: PathBuf,
    /// HAProxy's binary: a third contender.
    #[arg(long, env = "MESH_HAPROXY")]
    haproxy: Option<PathBuf>,
    /// Cases.
    #[arg(long, value_delimiter = ',', default_value = Case::ALL)]
    cases: Vec<Case>,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load in each.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Connections, or for h2 streams over four connections.
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
}

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contender {
    Mesh,
    Envoy,
    Haproxy,
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
struct Figures {
    /// In the case's unit.
    value: f64,
    rss_mib: f64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&args))
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let mut contenders = vec![Contender::Mesh, Contender::Envoy];
    contenders.extend(args.haproxy.as_ref().map(|_| Contender::Haproxy));
    let folder = tempfile::tempdir()?;
    certs::write(folder.path())?;
    haproxy::write_tables(folder.path())?;
    println!(
        "| case | unit | mesh | Envoy | ratio | HAProxy | ratio | RSS MiB, mesh / Envoy |\n|---|---|---|---|---|---|---|---|"
    );
    for &case in &args.cases {
        let mut results = vec![Vec::new(); contenders.len()];
        for _ in 0..args.rounds {
            for (i, &contender) in contenders.iter().enumerate() {
                let figures = measure(args, case, contender, folder.path()).await;
                results[i].push(figures.with_context(|| format!("{case} {contender:?}"))?);
            }
        }
        let medians: Vec<Figures> = results.iter().map(|r| median(r)).collect();
        print(case, &medians);
    }
    Ok(())
}

fn print(case: Case, medians: &[Figures]) {
    let value = |i: usize| medians.get(i).map_or(f64::NAN, |figures| figures.value);
    let rss = |i: usize| medians.get(i).map_or(f64::NAN, |figures| figures.rss_mib);
    let (mesh, envoy, haproxy) = (value(0), value(1), value(2));
    let peer = if haproxy.is_nan() { "- | -".to_owned() } else { format!("{haproxy:.2} | {:.2}", haproxy / envoy) };
    let unit = case.unit();
    println!(
        "| {case} | {unit} | {mesh:.2} | {envoy:.2} | {:.2} | {peer} | {:.1} / {:.1} |",
        mesh / envoy,
        rss(0),
        rss(1)
    );
}

async fn measure(args: &Args, case: Case, contender: Contender, folder: &Path) -> anyhow::Result<Figures> {
    let backend = backend::start(case).await?;
    let ports = Ports { front: process::free_port()?, inner: process::free_port()?, back: backend.port() };
    let proxies = start(args, case, contender, ports, folder)?;
    if case.is_pair() {
        process::wait_for(ports.inner).await?;
    }
    process::wait_for(ports.front).await?;
    let load = Load::new(case, ports.front, folder)?;
    let rss = || proxies.iter().map(Proxy::rss_mib).sum::<anyhow::Result<f64>>();
    let cpu = || proxies.iter().map(Proxy::cpu).sum::<anyhow::Result<f64>>();
    match case.unit() {
        Unit::RssMib => {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let rss_mib = rss()?;
            Ok(Figures { value: rss_mib, rss_mib })
        }
        Unit::KibPerConnection => {
            let before = rss()?;
            let open = load.idle(IDLE).await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let rss_mib = rss()?;
            Ok(Figures { value: (rss_mib - before) * 1024.0 / open.len() as f64, rss_mib })
        }
        unit => {
            load.run(args.concurrency, Duration::from_secs(1)).await?;
            let before = cpu()?;
            let requests = load.run(args.concurrency, Duration::from_secs(args.seconds)).await?;
            let used = cpu()? - before;
            anyhow::ensure!(requests > 0 && used > 0.0, "no request was answered");
            let per_request = used / requests as f64;
            let value = if unit == Unit::CpuMicros { per_request * 1e6 } else { 1.0 / 1024.0 / per_request };
            Ok(Figures { value, rss_mib: rss()? })
        }
    }
}

fn start(args: &Args, case: Case, contender: Contender, ports: Ports, folder: &Path) -> anyhow::Result<Vec<Proxy>> {
    let texts: Vec<String> = match contender {
        Contender::Haproxy => haproxy::of(case, ports, folder),
        _ => bootstrap::of(case, ports, folder).iter().map(ToString::to_string).collect(),
    };
    let started = texts.iter().enumerate().map(|(i, text)| {
        let config = folder.join(format!("{contender:?}-{i}.json"));
        std::fs::write(&config, text)?;
        match (contender, &args.haproxy) {
            (Contender::Mesh, _) => {
                Proxy::start(&args.mesh, &["proxy", "--concurrency", "1", "--log-level", "error", "-c"], &config)
            }
            (Contender::Haproxy, Some(haproxy)) => Proxy::start(haproxy, &["-db", "-f"], &config),
            _ => Proxy::start(
                &args.envoy,
                &["--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c"],
                &config,
            ),
        }
    });
    started.collect()
}

fn median(figures: &[Figures]) -> Figures {
    let of = |pick: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = figures.iter().map(pick).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Figures { value: of(|f| f.value), rss_mib: of(|f| f.rss_mib) }
}
