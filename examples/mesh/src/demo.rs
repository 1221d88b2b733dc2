//! `mesh demo`: a whole mesh on this machine, made of the same parts that run in production.

mod app;
mod files;
mod metrics;
mod observe;
mod plan;
mod processes;
mod summary;
mod traffic;
mod view;

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use self::{
    app::Caller,
    plan::{Plan, SERVICE_PORT},
    processes::{Folders, Processes},
    summary::Summary,
    traffic::Traffic,
    view::Frame,
};
use crate::{
    cli::{DemoArgs, DemoOutput},
    exit, net,
};

/// How long the mesh may take to be ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the view is drawn and processes are looked after.
const BEAT: Duration = Duration::from_secs(1);

/// Runs the demo to its end.
pub(crate) fn run(args: DemoArgs) -> anyhow::Result<u8> {
    let (folders, _temporary) = folders(&args)?;
    crate::command::block_on(async {
        let plan = Plan::claim()?;
        let mut processes = None;
        let done = demo(&args, &plan, &folders, &mut processes).await;
        if let Some(processes) = processes {
            processes.stop().await;
        }
        done.with_context(|| format!("the demo's logs are in {}", folders.root.join("log").display()))
    })
}

/// Where the run keeps its files; the guard removes a folder that was made for it.
fn folders(args: &DemoArgs) -> anyhow::Result<(Folders, Option<tempfile::TempDir>)> {
    let (root, guard): (PathBuf, _) = match &args.dir {
        Some(dir) => (dir.clone(), None),
        None => {
            let made =
                tempfile::Builder::new().prefix("mesh-demo-").tempdir().context("cannot make a folder for the demo")?;
            (made.path().to_owned(), Some(made))
        }
    };
    for sub in ["config", "state", "tokens", "log"] {
        std::fs::create_dir_all(root.join(sub)).with_context(|| format!("cannot make {}", root.join(sub).display()))?;
    }
    Ok((Folders { root }, guard))
}

async fn demo(args: &DemoArgs, plan: &Plan, folders: &Folders, running: &mut Option<Processes>) -> anyhow::Result<u8> {
    let output =
        args.output.unwrap_or(if std::io::stdout().is_terminal() { DemoOutput::Live } else { DemoOutput::Json });
    files::write(&folders.config(), plan)?;
    let mut apps = Vec::new();
    for workload in &plan.workloads {
        apps.push(app::serve(plan, workload).await?);
    }
    let tokens = plan.workloads.iter().map(|w| (w.service_account(), folders.token(w)));
    crate::command::prepare_authority(&folders.state(), &folders.root_cert(), tokens).await?;
    let processes = running.insert(Processes::start(plan, folders, args)?);
    for workload in &plan.workloads {
        processes.start_sidecar(plan, folders, args, workload)?;
    }
    ready(plan, processes).await?;
    let mut facts = plan.describe(&folders.config());
    facts["processes"] = processes.ids().into();
    net::write_atomically(&folders.root.join("demo.json"), facts.to_string().as_bytes())?;

    let start = Instant::now();
    let end = args.duration.map(|d| start + d);
    let traffic = Traffic::default();
    let caller = Caller::new((plan.outbound(plan.traffic()), SERVICE_PORT).into());
    let generator = tokio::spawn({
        let (traffic, rate) = (traffic.clone(), args.rate);
        async move { traffic.run(caller, rate, end).await }
    });
    tokio::select! {
        () = watch(args, plan, folders, processes, &traffic, output, start) => {}
        _ = generator => {}
        () = crate::command::asked_to_end() => {}
    }
    let summary = Summary::new(start.elapsed(), &traffic.seen(), &observe::picture(plan).await);
    for app in apps {
        app.abort();
    }
    match output {
        DemoOutput::Live => println!("{}", summary.line()),
        DemoOutput::Json => println!("{}", serde_json::to_string_pretty(&summary)?),
    }
    Ok(if summary.is_clean() { exit::OK } else { exit::NO })
}

/// Waits until every sidecar has its certificate and its configuration.
async fn ready(plan: &Plan, processes: &mut Processes) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_TIMEOUT;
    for workload in &plan.workloads {
        loop {
            if let Some((name, status)) = processes.ended() {
                anyhow::bail!("{name} ended with {status} before the mesh was ready");
            }
            if matches!(net::get(plan.status(workload), "/healthz/ready", BEAT).await, Ok((200, _))) {
                break;
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "the sidecar of {} was not ready in {READY_TIMEOUT:?}",
                workload.name()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// Draws the view and starts again a control plane that ended (someone killed it to see what happens). Never returns.
async fn watch(
    args: &DemoArgs,
    plan: &Plan,
    folders: &Folders,
    processes: &mut Processes,
    traffic: &Traffic,
    output: DemoOutput,
    start: Instant,
) {
    let mut before = Frame::default();
    let mut beat = tokio::time::interval(BEAT);
    loop {
        beat.tick().await;
        while let Some((name, status)) = processes.ended() {
            tracing::warn!(name, %status, "a process of the demo ended");
            processes.forget(&name);
            if name == "control-plane"
                && let Err(error) = processes.replace_control_plane(plan, folders, args)
            {
                tracing::error!(%error, "the control plane cannot be started again");
            }
        }
        if output == DemoOutput::Live {
            let picture = observe::picture(plan).await;
            let now = Frame { at: start.elapsed(), seen: traffic.seen(), picture };
            let text = view::draw(&folders.config(), &now, &before);
            // A terminal that went away is no reason to end the mesh.
            let _ = std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush());
            before = now;
        }
    }
}
