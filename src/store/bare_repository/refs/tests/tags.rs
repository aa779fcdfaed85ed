use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A chain of tags, each made of the next, with a commit at its end; counts what is read of it.
struct Tags {
    ids: Vec<ObjectId>,
    /// One that cannot be read.
    broken: Option<ObjectId>,
    read: AtomicUsize,
}

impl Objects for Tags {
    fn kind(&self, id: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        Ok(Some(if self.ids.last() == Some(id) { ObjectKind::Commit } else { ObjectKind::Tag }))
    }

    fn object(&self, id: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        self.read.fetch_add(1, Ordering::Relaxed);
        let next = self.ids.iter().skip_while(|other| *other != id).nth(1);
        let tag = |(next, kind)| format!("object {next}\ntype {kind}\ntag a-name\n").into_bytes();
        let kind = if next == self.ids.last() { "commit" } else { "tag" };
        let kind = if self.broken == Some(*id) { "nothing" } else { kind };
        Ok(next.map(|next| (ObjectKind::Tag, tag((next, kind)))))
    }
}

#[test]
fn tags_of_one_chain_are_read_once_by_an_atomic_push() {
    let ids: Vec<_> = (1..=100).map(made_up).collect();
    let end = ids[99];
    // To git what leads to a broken tag has no other value.
    for (broken, peeled) in [(None, 99), (Some(ids[49]), 49)] {
        let world = World::new(format());
        let tags = Tags { ids: ids.clone(), broken, read: AtomicUsize::new(0) };
        let update = |(number, id): (usize, &ObjectId)| world.update(&format!("refs/tags/{number}"), world.zero(), *id);
        let updates: Vec<_> = tags.ids.iter().enumerate().map(update).collect();
        for result in world.refs.transaction(&updates, Mode::Atomic, &tags, &reflog()) {
            result.unwrap();
        }
        assert_eq!(tags.read.into_inner(), 99);
        let packed = std::fs::read_to_string(world.sandbox.bare().join("packed-refs")).unwrap();
        assert_eq!(packed.matches(&format!("\n^{end}\n")).count(), peeled, "{packed}");
    }
}
