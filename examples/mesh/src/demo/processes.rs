//! The demo's processes: one control plane, one sidecar for each workload.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use tokio::process::{Child, Command};

use super::plan::{Plan, Workload};
use crate::{cli::DemoArgs, command::terminate};

/// How long a process may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

/// Where a run keeps its files.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    pub(crate) root: PathBuf,
}

impl Folders {
    pub(crate) fn config(&self) -> PathBuf {
        self.root.join("config")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    pub(crate) fn root_cert(&self) -> PathBuf {
        self.root.join("root-cert.pem")
    }

    pub(crate) fn token(&self, workload: &Workload) -> PathBuf {
        self.root.join("tokens").join(workload.name())
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.root.join("log").join(format!("{name}.log"))
    }

    fn sidecar_state(&self, workload: &Workload) -> PathBuf {
        self.root.join("sidecar").join(workload.name())
    }
}

/// Running processes, by name.
pub(crate) struct Processes {
    children: Vec<(String, Child)>,
}

impl Processes {
    /// Starts the control plane.
    pub(crate) fn start(plan: &Plan, folders: &Folders, args: &DemoArgs) -> anyhow::Result<Self> {
        let mut command = this_program()?;
        command
            .arg("control-plane")
            .arg("--config")
            .arg(folders.config())
            .arg("--state")
            .arg(folders.state())
            .args(["--listen", &plan.control_plane().to_string()])
            .args(["--admin", &plan.control_plane_admin().to_string()])
            .args(["--access-log", "/dev/stdout"])
            .args(["--certificate-ttl", &format!("{}ms", args.certificate_ttl.as_millis())]);
        let child = spawn(command, &folders.log("control-plane"))?;
        Ok(Self { children: vec![("control-plane".into(), child)] })
    }

    /// Starts the sidecar of `workload`.
    pub(crate) fn start_sidecar(
        &mut self,
        plan: &Plan,
        folders: &Folders,
        args: &DemoArgs,
        workload: &Workload,
    ) -> anyhow::Result<()> {
        let mut command = this_program()?;
        command
            .arg("sidecar")
            .args(["--name", &workload.name()])
            .args(["--service-account", &workload.service_account()])
            .args(["--labels", &format!("app={},version={}", workload.app, workload.version)])
            .args(["--ip", &plan.workload_ip(workload).to_string()])
            .args(["--outbound-bind", &plan.outbound(workload).to_string()])
            .args(["--app-address", &plan.app(workload).to_string()])
            .args(["--control-plane", &plan.control_plane().to_string()])
            .args(["--admin", &plan.admin(workload).to_string()])
            .args(["--status", &plan.status(workload).to_string()])
            .args(["--certificate-ttl", &format!("{}ms", args.certificate_ttl.as_millis())])
            .args(["--concurrency", "1"])
            .arg("--root-cert")
            .arg(folders.root_cert())
            .arg("--token")
            .arg(folders.token(workload))
            .arg("--state")
            .arg(folders.sidecar_state(workload));
        if let Some(envoy) = args.envoy.as_ref().filter(|_| is_envoy(args, workload)) {
            command.arg("--envoy").arg(envoy);
        }
        let child = spawn(command, &folders.log(&workload.name()))?;
        self.children.push((workload.name(), child));
        Ok(())
    }

    /// Names and process ids, for those who want to try what happens when one is killed.
    pub(crate) fn ids(&self) -> serde_json::Map<String, serde_json::Value> {
        self.children.iter().filter_map(|(name, child)| Some((name.clone(), child.id()?.into()))).collect()
    }

    /// The first process that has ended by itself, if any.
    pub(crate) fn ended(&mut self) -> Option<(String, std::process::ExitStatus)> {
        self.children.iter_mut().find_map(|(name, child)| Some((name.clone(), child.try_wait().ok()??)))
    }

    /// Starts `name` again after it ended.
    pub(crate) fn replace_control_plane(
        &mut self,
        plan: &Plan,
        folders: &Folders,
        args: &DemoArgs,
    ) -> anyhow::Result<()> {
        let mut started = Self::start(plan, folders, args)?;
        self.children.retain(|(name, _)| name != "control-plane");
        self.children.append(&mut started.children);
        Ok(())
    }

    /// Forgets a process that has ended.
    pub(crate) fn forget(&mut self, name: &str) {
        self.children.retain(|(n, _)| n != name);
    }

    /// Asks all to end, sidecars first, and waits.
    pub(crate) async fn stop(mut self) {
        self.children.reverse();
        for (name, mut child) in self.children {
            if let Some(id) = child.id() {
                terminate(id).await;
            }
            if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
                tracing::warn!(name, "did not end in {GRACE:?} and was killed");
                drop(child.kill().await);
            }
        }
    }
}

/// Whether `workload`'s sidecar is Envoy.
pub(crate) fn is_envoy(args: &DemoArgs, workload: &Workload) -> bool {
    args.envoy_workload.iter().any(|w| w == "all" || *w == workload.name())
}

fn this_program() -> anyhow::Result<Command> {
    let program = std::env::current_exe().context("cannot find the program that is running")?;
    let mut command = Command::new(program);
    command.kill_on_drop(true).stdin(Stdio::piped());
    Ok(command)
}

fn spawn(mut command: Command, log: &Path) -> anyhow::Result<Child> {
    let file = log
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::OpenOptions::new().create(true).append(true).open(log))
        .with_context(|| format!("cannot write the log {}", log.display()))?;
    let errors = file.try_clone().context("cannot share a log file")?;
    command.arg("--end-with-stdin").stdout(file).stderr(errors);
    command.spawn().context("cannot start a process of the demo")
}
