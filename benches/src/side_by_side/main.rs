//! mesh-proxy beside Envoy: the same bootstrap file, one worker each, turn by turn on the same load.
//!
//! ```text
//! cargo build --release && cargo run --release -p mesh-benches --bin side-by-side -- --envoy PATH
//! ```
//!
//! The figure to compare is CPU time for a request (user and system, all threads, from `/proc/PID/stat`): it survives a
//! busy machine far better than the rate does. The load is a closed loop over kept-alive connections; with two cores the
//! proxy has one of them and the load and the backend the other.

mod backend;
mod case;
mod load;
mod process;

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::Parser;

use self::{case::Case, process::Proxy};

#[derive(Debug, Parser)]
struct Args {
    /// Envoy's binary.
    #[arg(long, env = "MESH_ENVOY")]
    envoy: PathBuf,
    /// The mesh binary.
    #[arg(long, env = "MESH", default_value = "target/release/mesh")]
    mesh: PathBuf,
    /// Cases, of h1, h2, tcp.
    #[arg(long, value_delimiter = ',', default_value = "h1,h2,tcp")]
    cases: Vec<Case>,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load in each.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Connections (h1, tcp), or streams over two connections (h2).
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
struct Figures {
    micros_per_request: f64,
    requests_per_second: f64,
    rss_mib: f64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&args))
}

async fn run(args: &Args) -> anyhow::Result<()> {
    println!("{:<5} {:<6} {:>12} {:>12} {:>10}", "case", "proxy", "CPU us/req", "req/s", "RSS MiB");
    for &case in &args.cases {
        let mut results = [Vec::new(), Vec::new()];
        for _ in 0..args.rounds {
            for (i, figures) in results.iter_mut().enumerate() {
                let name = ["mesh", "envoy"][i];
                figures.push(measure(args, case, name).await.with_context(|| format!("{case} {name}"))?);
            }
        }
        let [mesh, envoy] = results.map(|r| median(&r));
        for (name, f) in [("mesh", mesh), ("envoy", envoy)] {
            println!(
                "{:<5} {name:<6} {:>12.2} {:>12.0} {:>10.1}",
                case.to_string(),
                f.micros_per_request,
                f.requests_per_second,
                f.rss_mib
            );
        }
        let (cpu, rate) =
            (mesh.micros_per_request / envoy.micros_per_request, mesh.requests_per_second / envoy.requests_per_second);
        println!(
            "{:<5} {:<6} {cpu:>12.3} {rate:>12.3} {:>10.3}",
            case.to_string(),
            "ratio",
            mesh.rss_mib / envoy.rss_mib
        );
    }
    Ok(())
}

async fn measure(args: &Args, case: Case, name: &str) -> anyhow::Result<Figures> {
    let backend = backend::start(case).await?;
    let folder = tempfile::tempdir()?;
    let front = process::free_port()?;
    let config = folder.path().join("bootstrap.json");
    std::fs::write(&config, case.bootstrap(front, backend.port()).to_string())?;
    let proxy = match name {
        "mesh" => Proxy::start(&args.mesh, &["proxy", "--concurrency", "1", "--log-level", "error", "-c"], &config)?,
        _ => Proxy::start(&args.envoy, &["--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c"], &config)?,
    };
    proxy.wait_for(front).await?;
    load::run(case, front, args.concurrency, Duration::from_secs(1)).await?;
    let (before, time) = (proxy.cpu()?, Duration::from_secs(args.seconds));
    let requests = load::run(case, front, args.concurrency, time).await?;
    let used = proxy.cpu()? - before;
    anyhow::ensure!(requests > 0, "no request was answered");
    Ok(Figures {
        micros_per_request: used * 1e6 / requests as f64,
        requests_per_second: requests as f64 / time.as_secs_f64(),
        rss_mib: proxy.rss_mib()?,
    })
}

fn median(figures: &[Figures]) -> Figures {
    let of = |pick: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = figures.iter().map(pick).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Figures {
        micros_per_request: of(|f| f.micros_per_request),
        requests_per_second: of(|f| f.requests_per_second),
        rss_mib: of(|f| f.rss_mib),
    }
}
