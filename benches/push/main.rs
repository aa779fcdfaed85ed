//! What a push costs, beside git, on the same input and in the same run.
//!
//! ```sh
//! cargo bench --features _bench --bench push
//! ```
//!
//! runs all of it (half an hour on two cores) and writes the table and the plots of `.github/bench/`. For a part of it,
//! which writes nothing, or for packs of your own:
//!
//! ```sh
//! cargo bench --features _bench --bench push -- --only decode,index --runs 3
//! cargo bench --features _bench --bench push -- --only decode,index --pack some.pack
//! cargo bench --features _bench --bench push -- --only push --repository some.git
//! ```
//!
//! Every figure is the median of the runs; a ratio is the median of the ratios of pairs of runs, ours and git's in turn.
//! Time and memory are those that the kernel counts for the finished process (`wait4`), the processes that it started
//! included; of memory, it is the largest of them that counts.

// Nothing here is anybody's public API.
#![allow(unreachable_pub)]

mod client;
mod clock;
mod measure;
mod packs;
mod peers;
mod plot;
mod sections;
mod servers;
mod source;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
mod tasks;

use std::path::PathBuf;

use clap::Parser;
use packs::Pack;

/// Measures pushes beside git.
#[derive(Debug, Parser)]
struct Args {
    /// Only these sections: decode, index, push, small, load, shapes, memory, sizes, polls.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How many times each thing is measured.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// A pack to decode and index, beside those that are made.
    #[arg(long)]
    pack: Vec<PathBuf>,
    /// A bare repository, all in one pack, to push, decode and index.
    #[arg(long)]
    repository: Vec<PathBuf>,
    /// Only the packs and repositories that are given, none that are made.
    #[arg(long)]
    given: bool,
    /// Each thing once, and no pushes of more than 256 MiB: a first look, in minutes.
    #[arg(long)]
    quick: bool,
    /// Another program in place of the example `git_daemon`, such as one built before a change.
    #[arg(long)]
    server: Option<PathBuf>,
    /// One task in this process; how the bench calls itself.
    #[arg(long, num_args = 1.., hide = true)]
    task: Vec<String>,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    if !args.task.is_empty() {
        return tasks::run(&args.task);
    }
    // In a process of its own: a process that has been large makes those that it starts look large.
    measure::run(measure::task(&["prepare"]));

    let mut packs = if args.given { Vec::new() } else { vec![packs::ovs(), packs::source(), packs::outage()] };
    packs.extend(args.repository.iter().map(|path| Pack::of(&name(path), path)));
    packs.extend(args.pack.iter().map(|path| Pack::at(&name(path), path, Vec::new())));
    let runs = if args.quick { 1 } else { args.runs };
    // Once, before anything is measured.
    let [program, forge] = servers::programs();
    let program = args.server.unwrap_or(program);
    let bench = sections::Bench { runs, quick: args.quick, packs, program, forge };

    let wanted = |section: &str| args.only.is_empty() || args.only.iter().any(|name| name == section);
    let mut tables = Vec::new();
    let mut plots = Vec::new();
    for (name, section) in sections::ALL {
        if wanted(name) {
            let table = section(&bench);
            println!("{}", table.markdown());
            tables.push(table);
        }
    }
    if wanted("sizes") {
        let (table, both) = sections::sizes(&bench);
        println!("{}", table.markdown());
        tables.push(table);
        plots = both;
    }
    if args.only.is_empty() {
        table::write(&tables, &plots).expect("the table and the plots are written");
    }
}

/// Makes everything that is kept for the next run.
fn prepare() {
    packs::ovs();
    packs::source();
    packs::outage();
    packs::tiny();
    packs::shapes();
    for commits in sections::HISTORIES {
        packs::history(commits);
    }
}

fn name(path: &std::path::Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
