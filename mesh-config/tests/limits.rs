//! Files that are made to cost much are refused by a limit that has a name, and cost little.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::{fmt::Write as _, process::Command, time::Duration};

use mesh_config::{MAX_DEPTH, MAX_DOCUMENTS, MAX_FILE_BYTES, MAX_FILE_NODES, MAX_NODES, MAX_SCALAR_BYTES, load_str};

/// Far above what any of these takes of a processor, and far below what they would take without limits.
const LONG: Duration = Duration::from_secs(20);

/// What the process of a case may take at most, in bytes: many times what it takes, and far below what the values would.
const MUCH: usize = 1 << 30;

/// By this variable a child is told its case.
const CASE: &str = "MESH_LIMIT_CASE";

/// What makes a file that is refused, and the limit that it is refused by.
type Case = (&'static str, fn() -> String, usize);

const CASES: [Case; 13] = [
    ("a bomb of aliases", bomb, MAX_NODES),
    ("many documents with small bombs", bombs, MAX_FILE_NODES),
    ("a long value", long_value, MAX_SCALAR_BYTES),
    ("many documents", || "---\n{a: b}\n".repeat(100_000), MAX_DOCUMENTS),
    ("a large file", || "# nothing\n".repeat(MAX_FILE_BYTES / 10 + 1), MAX_FILE_BYTES),
    ("a file of values", || format!("[{}]", "1,".repeat(MAX_FILE_BYTES / 2 - 1)), MAX_NODES),
    ("a long expression", long_expression, 1024),
    ("a deep list", || format!("a: {}{}\n", "[".repeat(100_000), "]".repeat(100_000)), MAX_DEPTH),
    ("an open list", || "[".repeat(1 << 20), MAX_DEPTH),
    ("deep JSON", || format!("{}1{}", "{\"a\": ".repeat(100_000), "}".repeat(100_000)), MAX_DEPTH),
    ("deep blocks", deep_blocks, MAX_DEPTH),
    ("lists in a line", || "- ".repeat(100_000), MAX_DEPTH),
    ("deep aliases", deep_aliases, MAX_DEPTH),
];

fn bomb() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let inner = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{inner}]").unwrap();
    }
    text
}

/// Each document stays just below the limit of a document.
fn bombs() -> String {
    let mut inner = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..5 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(inner, "a{level}: &a{level} [{aliases}]").unwrap();
    }
    let object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    format!("---\n{object}{inner}").repeat(500)
}

fn long_value() -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{a: {}}}\n", "x".repeat(10 << 20))
}

fn long_expression() -> String {
    let route = format!("{{match: [{{uri: {{regex: '{}'}}}}], redirect: {{uri: /}}}}", "(a|b)*".repeat(170_000));
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: a}}\nspec: {{hosts: [a], http: [{route}]}}\n"
    )
}

fn deep_blocks() -> String {
    let mut text = String::new();
    for level in 0..2_000 {
        writeln!(text, "{}a:", " ".repeat(level)).unwrap();
    }
    text
}

fn deep_aliases() -> String {
    let mut text = "a0: &a0 x\n".to_owned();
    for level in 1..200 {
        writeln!(text, "a{level}: &a{level} [[[[[[[[[[*a{}]]]]]]]]]]", level - 1).unwrap();
    }
    text
}

/// The time that this process has had of a processor, so that others on the machine do not count.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the name in brackets the state is field 3; 14 and 15 are the times, in hundredths of a second.
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2);
    Duration::from_millis(fields.map(|field| field.parse::<u64>().unwrap() * 10).sum())
}

/// The most memory that this process has had, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
#[ignore = "the child of the other test"]
fn child() {
    let case = std::env::var(CASE).unwrap();
    let (_, text, limit) = CASES.into_iter().find(|(name, ..)| *name == case).unwrap();
    let text = text();
    let start = cpu_time();
    let loaded = load_str("big.yaml", &text);
    let limit = limit.to_string();
    let refused = loaded.diagnostics.iter().any(|finding| finding.is_error() && finding.message.contains(&limit));
    assert!(refused, "{:?}", loaded.diagnostics.first());
    let time = cpu_time() - start;
    assert!(time < LONG, "{time:?}");
    let peak = peak();
    println!("{case}: {time:?}, at most {} MiB", peak >> 20);
    assert!(peak < MUCH, "{} MiB", peak >> 20);
}

#[test]
fn what_costs_much_is_refused_by_a_named_limit() {
    for (case, ..) in CASES {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let told = child.args(["--ignored", "--exact", "child", "--nocapture"]).env(CASE, case).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
        assert!(told.status.success(), "{case}: {out}{err}");
        println!("{}", out.lines().find(|line| line.contains("MiB")).unwrap_or_default());
    }
}
