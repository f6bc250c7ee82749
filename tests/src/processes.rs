//! Processes as the kernel tells of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::process::Pid;

/// A living process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: Pid,
    /// Its command line, words joined by blanks.
    pub command: String,
    /// The program it runs; empty when the kernel won't say.
    pub program: PathBuf,
}

/// Whether a process exists and is more than an unreaped entry.
#[must_use]
pub fn alive(pid: Pid) -> bool {
    let state = stat(pid).and_then(|fields| fields.first()?.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// The process of this id, if it lives and is the one that started then, in clock ticks since boot.
#[must_use]
pub fn is(pid: u32, start_time: u64) -> Option<Pid> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    let started: u64 = stat(pid)?.get(19)?.parse().ok()?;
    (started == start_time && alive(pid)).then_some(pid)
}

/// What a process has used of the machine since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time of its threads on a processor, in ticks of 10 ms.
    pub ticks: u64,
    /// How often a thread of it was put on a processor or taken off, by its own will or not.
    pub switches: u64,
}

impl Usage {
    /// Of this process and its living threads.
    ///
    /// # Panics
    ///
    /// When there is no such process.
    #[must_use]
    pub fn of(pid: Pid) -> Self {
        let fields = stat(pid).expect("the process lives");
        let ticks = fields.get(11..13).into_iter().flatten();
        let threads = fs::read_dir(path(pid, "task")).into_iter().flatten();
        let statuses = threads.flatten().filter_map(|thread| {
            let status = fs::read_to_string(thread.path().join("status"));
            status.ok()
        });
        Self {
            ticks: ticks.filter_map(|field| field.parse::<u64>().ok()).sum(),
            switches: statuses.map(|status| switches(&status)).sum(),
        }
    }

    /// What was used since.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            ticks: self.ticks.saturating_sub(before.ticks),
            switches: self.switches.saturating_sub(before.switches),
        }
    }
}

fn switches(status: &str) -> u64 {
    let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
    let counts = lines.filter_map(|line| line.rsplit_once('\t')?.1.parse::<u64>().ok());
    counts.sum()
}

/// Bytes that a process occupies, shared pages divided among those who share them; 0 when the kernel
/// won't say.
#[must_use]
pub fn proportional(pid: Pid) -> u64 {
    let rollup = fs::read_to_string(path(pid, "smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

/// How willingly the kernel ends this process when memory runs out: the higher the sooner.
#[must_use]
pub fn oom_score_adj(pid: Pid) -> Option<i32> {
    let text = fs::read_to_string(path(pid, "oom_score_adj")).ok()?;
    text.trim().parse().ok()
}

/// Every living process that has a path at or below `root` in its program, arguments, directory or
/// environment, and those `known` to belong there.
#[must_use]
pub fn carrying(root: &Path, known: &[Pid]) -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .filter(|pid| alive(*pid))
        .filter_map(|pid| carries(pid, root, known.contains(&pid)))
        .collect()
}

fn carries(pid: Pid, root: &Path, known: bool) -> Option<Process> {
    let mark = root.as_os_str().as_encoded_bytes();
    let command = fs::read(path(pid, "cmdline")).unwrap_or_default();
    let environment = fs::read(path(pid, "environ")).unwrap_or_default();
    let program = fs::read_link(path(pid, "exe")).unwrap_or_default();
    let place = fs::read_link(path(pid, "cwd")).unwrap_or_default();
    let contains = |bytes: &[u8]| bytes.windows(mark.len()).any(|window| window == mark);
    let marked = known
        || program.starts_with(root)
        || place.starts_with(root)
        || contains(&command)
        || contains(&environment);
    let words = String::from_utf8_lossy(&command).replace('\0', " ");
    marked.then(|| Process {
        pid,
        command: words.trim_end().to_owned(),
        program,
    })
}

/// The fields of its status line from its state on.
fn stat(pid: Pid) -> Option<Vec<String>> {
    let line = fs::read_to_string(path(pid, "stat")).ok()?;
    // The name in parentheses before them may itself hold parentheses and blanks.
    let (_, fields) = line.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

fn path(pid: Pid, file: &str) -> PathBuf {
    let process = pid.as_raw_nonzero().to_string();
    Path::new("/proc").join(process).join(file)
}
