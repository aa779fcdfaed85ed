//! The table, and where it goes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fmt::Write as _, fs, io};

use crate::measure::Pair;
use crate::plot::Plot;

/// One subject.
#[derive(Debug)]
pub struct Table {
    title: String,
    about: String,
    rows: Vec<[String; 5]>,
}

impl Table {
    pub fn new(title: &str, about: &str) -> Self {
        Self { title: title.to_owned(), about: about.to_owned(), rows: Vec::new() }
    }

    /// A row: what, ours, what it is measured against, ours by that, and what it should be.
    pub fn row(&mut self, what: &str, ours: String, theirs: String, ratio: String, goal: &str) {
        println!("  {what}: {ours} | {theirs} | {ratio} | {goal}");
        self.rows.push([what.to_owned(), ours, theirs, ratio, goal.to_owned()]);
    }

    /// Processor time, wall time and peak memory of a pair.
    pub fn pair(&mut self, what: &str, pair: &Pair, cpu_goal: &str, peak_goal: &str) {
        let Pair { ours, theirs, ratio } = pair;
        self.row(&format!("{what}: CPU"), seconds(ours.cpu), seconds(theirs.cpu), times(ratio.cpu), cpu_goal);
        self.row(&format!("{what}: wall"), seconds(ours.wall), seconds(theirs.wall), times(ratio.wall), "");
        self.row(&format!("{what}: peak memory"), mib(ours.peak), mib(theirs.peak), times(ratio.peak), peak_goal);
    }

    pub fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n{}\n\n", self.title, self.about);
        text.push_str("| | ours | against | ours / against | goal |\n|---|--:|--:|--:|---|\n");
        for row in &self.rows {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        text
    }
}

pub fn seconds(value: f64) -> String {
    match value {
        0.0..0.001 => format!("{:.0} µs", value * 1e6),
        0.001..0.1 => format!("{:.1} ms", value * 1e3),
        _ => format!("{value:.2} s"),
    }
}

pub fn mib(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}

pub fn times(ratio: f64) -> String {
    format!("{ratio:.3}")
}

/// Writes everything to `.github/bench/`.
pub fn write(tables: &[Table], plots: &[Plot]) -> io::Result<()> {
    let directory = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.github/bench"));
    fs::create_dir_all(&directory)?;
    let mut text = format!("# What a push costs\n\n{}\n", machine());
    for plot in plots {
        fs::write(directory.join(format!("{}.svg", plot.name)), plot.svg())?;
        let _ = writeln!(text, "![{}]({}.svg)\n", plot.title, plot.name);
    }
    for table in tables {
        text.push_str(&table.markdown());
        text.push('\n');
    }
    fs::write(directory.join("README.md"), text.trim_end().to_owned() + "\n")
}

/// What it was measured on and with.
fn machine() -> String {
    let cpus = fs::read_to_string(Path::new("/proc/cpuinfo")).unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    let said = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output().map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&output).trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "Written by `cargo bench --features _bench --bench push` on {cores} cores of an {model}, with {} and {}.\n",
        said("git", "--version"),
        said("rustc", "--version"),
    )
}
