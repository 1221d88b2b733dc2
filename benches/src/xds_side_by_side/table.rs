//! What was measured, as Markdown.

use std::collections::BTreeMap;

use super::case::{Case, Figure, Size};

/// Figures by case and server, one for each round.
#[derive(Default)]
pub(crate) struct Table(BTreeMap<(Size, Case), BTreeMap<&'static str, Vec<Figure>>>);

/// The server that is compared with the other.
const OURS: &str = "mesh";
const PEER: &str = "go";

impl Table {
    pub(crate) fn add(&mut self, size: Size, server: &'static str, figures: Vec<(Case, Figure)>) {
        for (case, figure) in figures {
            self.0.entry((size, case)).or_default().entry(server).or_default().push(figure);
        }
    }

    /// Prints medians, and ratios where both servers took part.
    pub(crate) fn print(&self) {
        println!(
            "| case | subscribers | CPU ms | ratio | until last ACK ms | ratio | MiB sent | ratio | RSS MiB | ratio |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|");
        for ((size, case), servers) in self.0.iter().filter(|((_, case), _)| *case != Case::Idle) {
            let cells = [
                cell(servers, |f| if let Figure::Cost(c) = f { c.cpu_ms } else { f64::NAN }),
                cell(servers, |f| if let Figure::Cost(c) = f { c.wall_ms } else { f64::NAN }),
                cell(servers, |f| if let Figure::Cost(c) = f { c.mib } else { f64::NAN }),
                cell(servers, |f| if let Figure::Cost(c) = f { c.rss_mib } else { f64::NAN }),
            ];
            println!("| {case} | {} | {} |", describe(size), cells.join(" | "));
        }
        let idle: Vec<_> = self.0.iter().filter(|((_, case), _)| *case == Case::Idle).collect();
        if idle.is_empty() {
            return;
        }
        println!(
            "\n| idle subscribers | RSS MiB with one | ratio | RSS MiB with all | ratio | KiB for each further | ratio |"
        );
        println!("|---|---|---|---|---|---|---|");
        for ((size, _), servers) in idle {
            let further = size.subscribers.saturating_sub(1).max(1) as f64;
            let cells = [
                cell(servers, |f| memory(f).0),
                cell(servers, |f| memory(f).1),
                cell(servers, |f| (memory(f).1 - memory(f).0) * 1024.0 / further),
            ];
            println!("| {} | {} |", describe(size), cells.join(" | "));
        }
    }
}

fn describe(size: &Size) -> String {
    let Size { variant, subscribers, clusters, endpoints, named } = size;
    let of = named.map(|named| format!(" for {named} of")).unwrap_or_default();
    format!("{subscribers} {variant}{of} {clusters}x{endpoints}")
}

fn memory(figure: &Figure) -> (f64, f64) {
    match figure {
        Figure::Memory { before_mib, with_mib } => (*before_mib, *with_mib),
        Figure::Cost(_) => (f64::NAN, f64::NAN),
    }
}

/// Two columns: the medians of both servers, and their ratio.
fn cell(servers: &BTreeMap<&'static str, Vec<Figure>>, pick: impl Fn(&Figure) -> f64) -> String {
    let of = |name| servers.get(name).map(|figures| median(figures.iter().map(&pick).collect()));
    match (of(OURS), of(PEER)) {
        (Some(ours), Some(peer)) => format!("{ours:.2} / {peer:.2} | {:.3}", ours / peer),
        (Some(one), None) => format!("{one:.2} / - | "),
        (None, Some(one)) => format!("- / {one:.2} | "),
        (None, None) => " | ".into(),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
