//! The peak memory of a process, as the kernel has measured it.

use std::process::Command;

/// Set in the environment of a test that runs as its own child; see [`peak_of_child`].
const CHILD: &str = "RECEIVE_PACK_TEST_CHILD";

/// The line by which a child hands its peak to its parent.
const MARK: &str = "peak-memory-in-bytes:";

/// The most memory that the process `pid` has had resident so far, in bytes: `VmHWM` of `/proc/<pid>/status`.
#[track_caller]
pub fn peak_of(pid: u32) -> u64 {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line VmHWM");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
    kib * 1024
}

/// What the child of [`peak_of_child`] was asked to do; `None` in the parent, and in a run by hand.
pub fn child_task() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// The child's last deed: tells the parent its peak.
pub fn report_peak() {
    println!("\n{MARK} {}", peak_of(std::process::id()));
}

/// Runs the test `name` of this test binary in a process of its own, with `task` to tell it what to do, and gives the
/// peak memory that it [reports](report_peak), in bytes.
///
/// The peak of a process never falls, so each measurement needs a new one. Mark the test `#[ignore]`, and let it begin
/// with [`child_task`].
#[track_caller]
pub fn peak_of_child(name: &str, task: &str) -> u64 {
    let mut command = Command::new(std::env::current_exe().expect("the path of this test binary"));
    command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]).env(CHILD, task);
    // Threads must not make arenas of their own: how many there are depends on the scheduler, and so would the peak.
    command.env("MALLOC_ARENA_MAX", "1");
    let output = super::git::run(command, b"").expect_success(&format!("the child {name} with {task}"));
    let text = output.text();
    let peak = text.lines().find_map(|line| line.strip_prefix(MARK)).and_then(|peak| peak.trim().parse().ok());
    peak.unwrap_or_else(|| panic!("the child {name} reported no peak:\n{text}\n{}", output.stderr))
}
