//! What happens to a server and its subscribers, and what of it is measured.

use std::{fmt, path::Path, rc::Rc};

use super::{
    fleet::{Cost, Fleet, at_rest},
    process::Server,
    progress::Target,
    subscriber::Subscription,
    wire::Variant,
};

/// Weight of every endpoint in a server that has just started.
const FIRST_WEIGHT: u32 = 1;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub(crate) enum Case {
    /// Everyone connects and gets everything.
    Cold,
    /// One assignment changes.
    One,
    /// A cluster is added, with its assignment.
    Add,
    /// It is removed again.
    Remove,
    /// All assignments change.
    All,
    /// The server is restarted with the same content and everyone comes back.
    Reconnect,
    /// Nothing, for memory: what each subscriber costs beyond the first.
    Idle,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Case::Cold => "cold start",
            Case::One => "one assignment changes",
            Case::Add => "one cluster is added",
            Case::Remove => "one cluster is removed",
            Case::All => "all assignments change",
            Case::Reconnect => "reconnect after restart",
            Case::Idle => "idle",
        })
    }
}

/// The size of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size {
    pub(crate) variant: Variant,
    pub(crate) subscribers: usize,
    pub(crate) clusters: usize,
    pub(crate) endpoints: usize,
    /// Clusters each subscriber asks for by name; `None`: all.
    pub(crate) named: Option<usize>,
}

/// How often the changes happen in one round; their mean counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeats {
    pub(crate) small: usize,
    pub(crate) all: usize,
}

/// One figure of one round.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Figure {
    Cost(Cost),
    /// Resident memory, before and with subscribers.
    Memory {
        before_mib: f64,
        with_mib: f64,
    },
}

/// One round of all cases, with a server of its own.
pub(crate) async fn round(
    binary: &Path,
    size: Size,
    cases: &[Case],
    repeats: Repeats,
) -> anyhow::Result<Vec<(Case, Figure)>> {
    let mut figures = Vec::new();
    if cases.contains(&Case::Idle) {
        figures.push((Case::Idle, idle(binary, size).await?));
    }
    if cases.iter().all(|case| *case == Case::Idle) {
        return Ok(figures);
    }
    let mut round = Round::start(binary, size).await?;
    let mut add = |case, cost| {
        if cases.contains(&case) {
            figures.push((case, Figure::Cost(cost)));
        }
    };
    add(Case::Cold, round.connect(size.subscribers).await?);
    if cases.contains(&Case::One) {
        add(Case::One, round.repeat(Case::One, repeats.small).await?);
    }
    if cases.contains(&Case::Add) || cases.contains(&Case::Remove) {
        let (additions, removals) = round.come_and_go(repeats.small).await?;
        add(Case::Add, additions);
        add(Case::Remove, removals);
    }
    if cases.contains(&Case::All) {
        add(Case::All, round.repeat(Case::All, repeats.all).await?);
    }
    if cases.contains(&Case::Reconnect) {
        add(Case::Reconnect, round.reconnect(binary).await?);
    }
    Ok(figures)
}

async fn idle(binary: &Path, size: Size) -> anyhow::Result<Figure> {
    let mut round = Round::start(binary, size).await?;
    round.connect(1).await?;
    let before_mib = round.server.rss_mib()?;
    round.connect(size.subscribers.saturating_sub(1)).await?;
    Ok(Figure::Memory { before_mib, with_mib: round.server.rss_mib()? })
}

struct Round {
    server: Server,
    fleet: Fleet,
    size: Size,
    weight: u32,
    /// Clusters the subscribers see.
    seen: usize,
}

impl Round {
    async fn start(binary: &Path, size: Size) -> anyhow::Result<Self> {
        let server = Server::start(binary, size.clusters, size.endpoints).await?;
        at_rest(&server).await?;
        let subscription = Subscription { variant: size.variant, named: size.named, resume: None };
        let seen = size.named.unwrap_or(size.clusters);
        Ok(Self { server, fleet: Fleet::new(subscription), size, weight: FIRST_WEIGHT, seen })
    }

    async fn connect(&mut self, subscribers: usize) -> anyhow::Result<Cost> {
        let everything = Target { clusters: 0..self.seen, assignments: 0..self.seen, weight: self.weight, left: None };
        let mark = self.fleet.mark(&self.server, everything)?;
        self.fleet.connect(subscribers, &self.server);
        self.fleet.reach(subscribers, &self.server, &mark).await
    }

    async fn repeat(&mut self, case: Case, often: usize) -> anyhow::Result<Cost> {
        let mut costs = Vec::new();
        for _ in 0..often {
            self.weight += 1;
            costs.push(self.change(case).await?);
        }
        Ok(mean(&costs))
    }

    /// Additions and removals, by turns.
    async fn come_and_go(&mut self, often: usize) -> anyhow::Result<(Cost, Cost)> {
        let (mut additions, mut removals) = (Vec::new(), Vec::new());
        for _ in 0..often {
            self.weight += 1;
            additions.push(self.change(Case::Add).await?);
            let mark = self.fleet.mark(&self.server, self.removal())?;
            self.server.post("/remove").await?;
            removals.push(self.fleet.reach(self.size.subscribers, &self.server, &mark).await?);
        }
        Ok((mean(&additions), mean(&removals)))
    }

    /// What everyone sees once the last cluster is gone.
    fn removal(&self) -> Target {
        Target { left: Some(self.size.clusters), ..Target::default() }
    }

    async fn change(&mut self, case: Case) -> anyhow::Result<Cost> {
        let n = self.size.clusters;
        let (path, clusters, assignments) = match case {
            Case::One => ("/bump?mode=one&", 0..0, 0..1),
            Case::Add => ("/add?", n..n + 1, n..n + 1),
            _ => ("/bump?mode=all&", 0..0, 0..self.seen),
        };
        let mark = self.fleet.mark(&self.server, Target { clusters, assignments, weight: self.weight, left: None })?;
        self.server.post(&format!("{path}weight={}", self.weight)).await?;
        self.fleet.reach(self.size.subscribers, &self.server, &mark).await
    }

    /// Another process takes over, and everyone says what they hold.
    async fn reconnect(&mut self, binary: &Path) -> anyhow::Result<Cost> {
        // All that a server starts with. Two changes, so that each assignment really changes to what it was.
        for weight in [self.weight + 1, FIRST_WEIGHT] {
            self.weight = weight;
            self.change(Case::All).await?;
        }
        let resume = Some(Rc::new(self.fleet.resume(self.seen)));
        let subscription = Subscription { variant: self.size.variant, named: self.size.named, resume };
        self.fleet = Fleet::new(subscription);
        self.server = Server::start(binary, self.size.clusters, self.size.endpoints).await?;
        at_rest(&self.server).await?;
        let mark = self.fleet.mark(&self.server, Target::default())?;
        self.fleet.connect(self.size.subscribers, &self.server);
        self.fleet.reconnect(&self.server, &mark).await
    }
}

fn mean(costs: &[Cost]) -> Cost {
    let of = |pick: fn(&Cost) -> f64| costs.iter().map(pick).sum::<f64>() / costs.len() as f64;
    Cost { cpu_ms: of(|c| c.cpu_ms), wall_ms: of(|c| c.wall_ms), mib: of(|c| c.mib), rss_mib: of(|c| c.rss_mib) }
}
