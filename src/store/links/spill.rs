use std::sync::{Arc, Mutex, PoisonError};

use crate::Error;
use crate::proto::{ObjectFormat, ObjectId, ObjectKind};
use crate::store::index::{Aside, AsideFile};

/// One object, and the kind that something that points at it says it has.
pub(super) type Link = (ObjectId, ObjectKind);

/// Links beyond counting: a number of them in memory without repeats, the rest in a file.
#[derive(Debug)]
pub(super) struct Spill {
    aside: Arc<dyn Aside>,
    format: ObjectFormat,
    max_in_memory: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    memory: Vec<Link>,
    /// And how long it is.
    file: Option<(Box<dyn AsideFile>, u64)>,
    /// Once writing failed, what is missing in the file would be missing in the check.
    broken: bool,
}

impl Spill {
    /// An empty one, whose file, if it needs one, comes from here.
    pub(super) fn new(aside: Arc<dyn Aside>, format: ObjectFormat, max_in_memory: usize) -> Self {
        Self { aside, format, max_in_memory, state: Mutex::default() }
    }

    /// Takes links over.
    pub(super) fn append(&self, links: &mut Vec<Link>) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.memory.append(links);
        if state.memory.len() < self.max_in_memory {
            return Ok(());
        }
        // Many objects point at the same ones, so this usually makes room.
        state.memory.sort_unstable_by_key(|(id, _)| front(id));
        state.memory.dedup();
        if state.memory.len() < self.max_in_memory / 2 {
            return Ok(());
        }
        let written = self.write_out(&mut state);
        state.broken |= written.is_err();
        written.map_err(|error| Error::store("the links of a push cannot be written down", error))
    }

    fn write_out(&self, state: &mut State) -> std::io::Result<()> {
        let (file, len) = match &mut state.file {
            Some(file) => file,
            none => none.insert((self.aside.file()?, 0)),
        };
        let mut bytes = Vec::with_capacity(WRITE_SIZE);
        for (id, kind) in state.memory.drain(..) {
            bytes.push(code(kind));
            bytes.extend_from_slice(id.as_bytes());
            if bytes.len() >= WRITE_SIZE {
                file.write_all_at(&bytes, *len)?;
                *len = len.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                bytes.clear();
            }
        }
        file.write_all_at(&bytes, *len)?;
        *len = len.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Gives all links to `each`, some of them more than once; stops when it says `false`.
    pub(super) fn for_each(
        &self,
        mut each: impl FnMut(ObjectId, ObjectKind) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let unreadable = |error| Error::store("the links of a push cannot be read again", error);
        if state.broken {
            return Err(unreadable(std::io::Error::other("they were not all written")));
        }
        // Who looks for them in an index goes through it once, from its front to its end.
        state.memory.sort_unstable_by_key(|(id, _)| front(id));
        state.memory.dedup();
        for (id, kind) in &state.memory {
            if !each(*id, *kind)? {
                return Ok(());
            }
        }
        let Some((file, len)) = &state.file else { return Ok(()) };
        let record = self.format.len().saturating_add(1);
        // Whole records: a buffer of some thousands.
        let mut buffer = vec![0; record.saturating_mul(4096)];
        let mut at = 0_u64;
        while at < *len {
            let rest = usize::try_from(len.saturating_sub(at)).unwrap_or(usize::MAX);
            let take = rest.min(buffer.len());
            let chunk = buffer.get_mut(..take).unwrap_or_default();
            file.read_exact_at(chunk, at).map_err(unreadable)?;
            at = at.saturating_add(u64::try_from(take).unwrap_or(u64::MAX));
            for link in chunk.chunks_exact(record) {
                let link = link.split_first().and_then(|(code, id)| Some((ObjectId::from_bytes(id)?, kind(*code)?)));
                let (id, kind) = link.ok_or_else(|| unreadable(std::io::Error::other("they are damaged")))?;
                if !each(id, kind)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether a file was needed.
    #[cfg(all(test, feature = "bare-repository"))]
    pub(super) fn is_on_disk(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).file.is_some()
    }
}

/// How much is written at once.
const WRITE_SIZE: usize = 64 << 10;

/// Where a link goes when links are sorted: those that have this in common are nearly always the same.
fn front(id: &ObjectId) -> u64 {
    id.as_bytes().first_chunk().map_or(0, |front| u64::from_be_bytes(*front))
}

fn code(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::Commit => 1,
        ObjectKind::Tree => 2,
        ObjectKind::Blob => 3,
        ObjectKind::Tag => 4,
    }
}

fn kind(code: u8) -> Option<ObjectKind> {
    match code {
        1 => Some(ObjectKind::Commit),
        2 => Some(ObjectKind::Tree),
        3 => Some(ObjectKind::Blob),
        4 => Some(ObjectKind::Tag),
        _ => None,
    }
}
