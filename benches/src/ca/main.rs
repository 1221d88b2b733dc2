//! The CA measured: signing requests per second over gRPC and core, next to what the crypto library can do on the same
//! machine in the same run; how long a fleet takes to be renewed; what a held identity costs.

mod fleet;
mod rpc;
mod signing;
mod usage;

use std::time::Duration;

use clap::Parser;

/// Options.
#[derive(Debug, Parser)]
#[command(name = "ca-bench")]
struct Options {
    /// Seconds for each figure.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Connections of the client.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Calls under way on each.
    #[arg(long, default_value_t = 8)]
    calls: usize,
    /// Workloads of the fleet.
    #[arg(long, default_value_t = 10_000)]
    workloads: usize,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let time = Duration::from_secs(options.seconds);
    let signing = signing::measure(time)?;
    println!("aws-lc-rs, P-256, one core: {:.0} signatures/s, {:.0} verifications/s", signing.sign, signing.verify);
    println!("\nsigning requests over gRPC and TLS, P-256, one core for the server");
    println!("{:<22} {:>10} {:>14} {:>12} {:>12}", "proof", "calls/s", "calls/cpu-s", "us/call", "of signing");
    for proof in rpc::Proof::ALL {
        let rate = rpc::measure(proof, time, options.connections, options.calls)?;
        println!(
            "{:<22} {:>10.0} {:>14.0} {:>12.1} {:>11.1}%",
            proof.name(),
            rate.per_second,
            rate.per_cpu_second,
            1e6 / rate.per_cpu_second,
            100.0 * rate.per_cpu_second / signing.sign
        );
    }
    let issue = signing::issue_rate(time)?;
    println!(
        "{:<22} {:>10.0} {:>14.0} {:>12.1} {:>11.1}%",
        "(issuer alone)",
        issue,
        issue,
        1e6 / issue,
        100.0 * issue / signing.sign
    );
    println!("\n{} workloads", options.workloads);
    for over in fleet::Over::ALL {
        let fleet = fleet::measure(over, options.workloads)?;
        println!(
            "{:<22} first certificates {:.2} s, renewal of all {:.2} s, {:.1} kB per held identity",
            over.name(),
            fleet.first.as_secs_f64(),
            fleet.renewal.as_secs_f64(),
            fleet.bytes_each / 1000.0
        );
    }
    Ok(())
}
