//! What a process cost, as the kernel says when it has ended: git's processes and ours are measured the same way.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use wait4::Wait4;

/// What a process and all that it waited for cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Processor seconds, in the kernel too.
    pub cpu: f64,
    /// Seconds from its start to its end.
    pub wall: f64,
    /// The most memory that its largest process had resident, in bytes.
    pub peak: f64,
}

/// Runs a command to its end; gives what it cost and what it printed.
#[track_caller]
pub fn run(mut command: Command) -> (Cost, String) {
    let start = Instant::now();
    let what = format!("{command:?}");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut text = String::new();
    let _ = child.stdout.take().expect("stdout is piped").read_to_string(&mut text);
    let (cost, success) = reap(child, start);
    assert!(success, "{what} failed: {text}");
    (cost, text)
}

/// Waits for a process; gives what it cost, and whether it ended well.
#[track_caller]
pub fn reap(child: Child, start: Instant) -> (Cost, bool) {
    let end = child.wait4().expect("the process can be waited for");
    let wall = start.elapsed().as_secs_f64();
    let cpu = (end.rusage.utime + end.rusage.stime).as_secs_f64();
    (Cost { cpu, wall, peak: end.rusage.maxrss as f64 }, end.status.success())
}

/// This program once more, to do one task in a process of its own.
pub fn task(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.arg("--task").args(words);
    command
}

/// The figure that a task printed under this name.
#[track_caller]
pub fn figure(printed: &str, name: &str) -> f64 {
    let lines = printed.lines().filter_map(|line| line.split_once('='));
    let mut values = lines.filter(|(key, _)| *key == name).filter_map(|(_, value)| value.parse().ok());
    values.next_back().unwrap_or_else(|| panic!("no figure {name} in: {printed}"))
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Several costs, figure by figure.
pub fn middle(costs: &[Cost]) -> Cost {
    let of = |figure: fn(&Cost) -> f64| median(costs.iter().map(figure).collect());
    Cost { cpu: of(|cost| cost.cpu), wall: of(|cost| cost.wall), peak: of(|cost| cost.peak) }
}

/// Runs ours and theirs in turn, so that what else the machine does falls on both; gives both medians.
pub fn pairs(runs: usize, mut ours: impl FnMut() -> Cost, mut theirs: impl FnMut() -> Cost) -> Pair {
    let runs: Vec<_> = (0..runs).map(|_| (ours(), theirs())).collect();
    let (a, b): (Vec<_>, Vec<_>) = runs.into_iter().unzip();
    let ratio = |figure: fn(&Cost) -> f64| median(a.iter().zip(&b).map(|(a, b)| figure(a) / figure(b)).collect());
    let ratio = Cost { cpu: ratio(|cost| cost.cpu), wall: ratio(|cost| cost.wall), peak: ratio(|cost| cost.peak) };
    Pair { ours: middle(&a), theirs: middle(&b), ratio }
}

/// What two programs cost for the same work.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    pub ours: Cost,
    pub theirs: Cost,
    /// Ours by theirs, the median of the pairs.
    pub ratio: Cost,
}
