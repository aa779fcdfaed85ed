use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::super::fs::{Hook, Operation};

/// A disk that forgets: what POSIX promises of files and directories, and not one thing more.
///
/// What was written to a file lasts once the file was synced; until then any part of it may be lost. What was created,
/// renamed or removed in a directory lasts once that directory was synced; until then any of these changes may be lost
/// and others not, in any order. Only that a rename within one directory is done or not done is relied on.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    root: PathBuf,
    nodes: Vec<Node>,
    /// The files that were opened under a name, whatever they are called now.
    handles: HashMap<PathBuf, usize>,
}

#[derive(Clone, Debug)]
enum Node {
    File { durable: Vec<u8>, pending: Vec<(u64, Vec<u8>)> },
    Dir { durable: Entries, current: Entries, pending: Vec<Change> },
}

type Entries = BTreeMap<OsString, usize>;
/// Changes of entries that happen at once: what a name stands for from then on, if for anything.
type Change = Vec<(OsString, Option<usize>)>;

/// The files of a disk by path; `None` for directories.
pub(super) type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// What becomes of a change that was not synced.
pub(super) trait Fate {
    /// Whether this change of a directory lasts.
    fn keeps(&mut self, change: usize) -> bool;
    /// What becomes of the data of a file that was not synced.
    fn data(&mut self) -> Data;
}

/// What becomes of data that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    Kept,
    Lost,
    /// The file has its length, but nothing is in it.
    Zeros,
    /// Only the first half of the file was written.
    Half,
}

impl Disk {
    /// What is on the real disk now, all of it durable.
    pub(super) fn read(root: &Path) -> Self {
        let mut disk = Self { root: root.to_path_buf(), nodes: Vec::new(), handles: HashMap::new() };
        disk.load(root);
        disk
    }

    fn load(&mut self, path: &Path) -> usize {
        let number = self.nodes.len();
        if !path.is_dir() {
            self.nodes.push(Node::File { durable: std::fs::read(path).unwrap(), pending: Vec::new() });
            return number;
        }
        self.nodes.push(dir());
        for entry in std::fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let child = self.load(&entry.path());
            let Node::Dir { durable, current, .. } = &mut self.nodes[number] else { unreachable!() };
            durable.insert(entry.file_name(), child);
            current.insert(entry.file_name(), child);
        }
        number
    }

    /// The directory that a path lies in, and the name of the path in it.
    fn parent(&self, path: &Path) -> Option<(usize, OsString)> {
        let dir = self.find(path.parent()?)?;
        matches!(self.nodes[dir], Node::Dir { .. }).then(|| Some((dir, path.file_name()?.to_owned())))?
    }

    fn find(&self, path: &Path) -> Option<usize> {
        let mut at = 0;
        for name in path.strip_prefix(&self.root).ok()? {
            let Node::Dir { current, .. } = &self.nodes[at] else { return None };
            at = *current.get(name)?;
        }
        Some(at)
    }

    fn change(&mut self, number: usize, change: Change) {
        let Node::Dir { current, pending, .. } = &mut self.nodes[number] else { unreachable!() };
        apply(current, &change);
        pending.push(change);
    }

    fn add(&mut self, path: &Path, node: Node) -> Option<usize> {
        let (parent, name) = self.parent(path).filter(|_| self.find(path).is_none())?;
        self.nodes.push(node);
        let number = self.nodes.len() - 1;
        self.change(parent, vec![(name, Some(number))]);
        Some(number)
    }

    fn is_dir(&self, number: usize) -> bool {
        matches!(self.nodes[number], Node::Dir { .. })
    }

    /// Does what the operation does; nothing where the operating system would refuse it.
    pub(super) fn apply(&mut self, operation: &Recorded) -> Option<()> {
        match operation {
            Recorded::CreateDir(path) => drop(self.add(path, dir())),
            Recorded::Create(path) => {
                let file = Node::File { durable: Vec::new(), pending: Vec::new() };
                let number = self.add(path, file)?;
                self.handles.insert(path.clone(), number);
            }
            Recorded::Write(path, offset, data) => {
                let Node::File { pending, .. } = &mut self.nodes[self.handles[path]] else { unreachable!() };
                pending.push((*offset, data.clone()));
            }
            Recorded::Sync(path) => {
                let Node::File { durable, pending } = &mut self.nodes[self.handles[path]] else { unreachable!() };
                for (offset, data) in std::mem::take(pending) {
                    write(durable, offset, &data);
                }
            }
            Recorded::SyncDir(path) => {
                let number = self.find(path)?;
                let Node::Dir { durable, current, pending } = &mut self.nodes[number] else { return None };
                durable.clone_from(current);
                pending.clear();
            }
            Recorded::Rename(from, to) => {
                let number = self.find(from)?;
                let ((source, old), (target, new)) = (self.parent(from)?, self.parent(to)?);
                if self.find(to).is_some_and(|there| self.is_dir(there)) {
                    return None;
                }
                if source == target {
                    self.change(source, vec![(old, None), (new, Some(number))]);
                } else {
                    self.change(target, vec![(new, Some(number))]);
                    self.change(source, vec![(old, None)]);
                }
            }
            Recorded::Remove(path) => {
                let number = self.find(path)?;
                let (parent, name) = self.parent(path).filter(|_| !self.is_dir(number))?;
                self.change(parent, vec![(name, None)]);
            }
            Recorded::RemoveDir(path) => {
                let number = self.find(path)?;
                let Node::Dir { current, .. } = &self.nodes[number] else { return None };
                if current.is_empty() {
                    let (parent, name) = self.parent(path)?;
                    self.change(parent, vec![(name, None)]);
                }
            }
            Recorded::RemoveAll(path) => {
                self.find(path)?;
                let (parent, name) = self.parent(path)?;
                self.change(parent, vec![(name, None)]);
            }
        }
        Some(())
    }

    /// How many changes of directories are not durable.
    pub(super) fn pending(&self) -> usize {
        self.nodes.iter().map(|node| if let Node::Dir { pending, .. } = node { pending.len() } else { 0 }).sum()
    }

    /// What is found after a crash.
    pub(super) fn crash(&self, fate: &mut impl Fate) -> Tree {
        let mut number = 0;
        let mut dirs = HashMap::new();
        for (at, node) in self.nodes.iter().enumerate() {
            let Node::Dir { durable, pending, .. } = node else { continue };
            let mut entries = durable.clone();
            for change in pending {
                if fate.keeps(number) {
                    apply(&mut entries, change);
                }
                number += 1;
            }
            dirs.insert(at, entries);
        }
        let mut tree = Tree::new();
        let mut todo = vec![(PathBuf::new(), 0)];
        while let Some((path, number)) = todo.pop() {
            match &self.nodes[number] {
                Node::Dir { .. } => {
                    todo.extend(dirs[&number].iter().map(|(name, child)| (path.join(name), *child)));
                    tree.insert(path, None);
                }
                Node::File { durable, pending } => {
                    tree.insert(path, Some(after_crash(durable, pending, fate)));
                }
            }
        }
        tree
    }
}

fn after_crash(durable: &[u8], pending: &[(u64, Vec<u8>)], fate: &mut impl Fate) -> Vec<u8> {
    let mut bytes = durable.to_vec();
    if pending.is_empty() {
        return bytes;
    }
    let mut whole = bytes.clone();
    for (offset, data) in pending {
        write(&mut whole, *offset, data);
    }
    match fate.data() {
        Data::Kept => return whole,
        Data::Lost => {}
        Data::Zeros => bytes.resize(whole.len().max(bytes.len()), 0),
        Data::Half => {
            whole.truncate(whole.len() / 2);
            bytes = whole;
        }
    }
    bytes
}

fn dir() -> Node {
    Node::Dir { durable: Entries::new(), current: Entries::new(), pending: Vec::new() }
}

fn apply(entries: &mut Entries, change: &Change) {
    for (name, value) in change {
        match value {
            Some(number) => drop(entries.insert(name.clone(), *number)),
            None => drop(entries.remove(name)),
        }
    }
}

fn write(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let start = usize::try_from(offset).unwrap();
    let end = start + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(data);
}

/// An operation as it was recorded; those that the model does not tell apart are one.
#[derive(Clone, Debug)]
pub(super) enum Recorded {
    CreateDir(PathBuf),
    Create(PathBuf),
    Write(PathBuf, u64, Vec<u8>),
    Sync(PathBuf),
    SyncDir(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    RemoveDir(PathBuf),
    RemoveAll(PathBuf),
}

/// Records what a push changes.
#[derive(Debug, Default)]
pub(super) struct Recorder(pub(super) Mutex<Vec<Recorded>>);

impl Hook for Recorder {
    fn before(&self, operation: &Operation<'_>) -> io::Result<()> {
        let recorded = match *operation {
            Operation::CreateDir(path) => Recorded::CreateDir(path.into()),
            Operation::CreateNew(path) | Operation::OpenAppend(path) => Recorded::Create(path.into()),
            Operation::Write { path, offset, data } => Recorded::Write(path.into(), offset, data.into()),
            Operation::Sync(path) => Recorded::Sync(path.into()),
            Operation::SyncDir(path) => Recorded::SyncDir(path.into()),
            Operation::Rename { from, to } => Recorded::Rename(from.into(), to.into()),
            // Only files without a name are cut off: no crash brings them back.
            Operation::SetLen(_) => return Ok(()),
            // Rights are nothing that a crash could make dangerous.
            Operation::ReadOnly(_) | Operation::Share(_) | Operation::SetModified(_) => return Ok(()),
            Operation::Lock(_) | Operation::Open(_) | Operation::Read(_) | Operation::Look(_) => return Ok(()),
            Operation::Remove(path) => Recorded::Remove(path.into()),
            Operation::RemoveDir(path) => Recorded::RemoveDir(path.into()),
            Operation::RemoveAll(path) => Recorded::RemoveAll(path.into()),
        };
        self.0.lock().unwrap().push(recorded);
        Ok(())
    }
}
