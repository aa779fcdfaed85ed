use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use super::{Values, assert_sound, values};

/// git, asked once about each state of a repository: nearly all faults leave one of a few, and to start git takes longer
/// than the push.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    known: RefCell<HashMap<u64, Values>>,
}

impl Oracle {
    /// What each ref of a repository holds that git finds nothing wrong with.
    #[track_caller]
    pub(super) fn sound_values(&self, bare: &Path, context: &str) -> Values {
        let mut hasher = DefaultHasher::new();
        digest(bare, &mut hasher);
        let state = hasher.finish();
        if let Some(values) = self.known.borrow().get(&state) {
            return values.clone();
        }
        assert_sound(bare, context);
        let values = values(bare);
        self.known.borrow_mut().insert(state, values.clone());
        values
    }
}

/// All names and contents.
fn digest(path: &Path, hasher: &mut DefaultHasher) {
    if !path.is_dir() {
        return std::fs::read(path).unwrap().hash(hasher);
    }
    let mut names: Vec<_> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort_unstable();
    names.hash(hasher);
    for name in names {
        digest(&path.join(name), hasher);
    }
}
