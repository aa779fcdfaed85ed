//! What is pushed: packs, each with the ref that it is for. Everything is made from seeds, and kept for the next run.

use std::fs;
use std::path::{Path, PathBuf};

use crate::source::{self, Program};
use crate::support::fast_import::Shape;
use crate::support::git::Repo;
use crate::support::pack::{Delta, PackBuilder, blob_id};
use crate::support::rng::Rng;

/// A pack in a file, and refs that it completes.
#[derive(Clone, Debug)]
pub struct Pack {
    pub name: String,
    pub path: PathBuf,
    /// Names and values.
    pub refs: Vec<(String, String)>,
    pub objects: u64,
    pub bytes: u64,
}

impl Pack {
    /// A pack of any origin.
    #[track_caller]
    pub fn at(name: &str, path: &Path, refs: Vec<(String, String)>) -> Self {
        let bytes = fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).len();
        let mut header = [0; 12];
        let mut file = fs::File::open(path).expect("a pack");
        std::io::Read::read_exact(&mut file, &mut header).expect("the header of a pack");
        let objects = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        Self { name: name.to_owned(), path: path.to_path_buf(), refs, objects: objects.into(), bytes }
    }

    /// All of a repository, which must be in one pack.
    #[track_caller]
    pub fn of(name: &str, repository: &Path) -> Self {
        let packs = fs::read_dir(repository.join("objects/pack")).expect("a bare repository");
        let mut packs: Vec<_> = packs.map(|entry| entry.expect("a file").path()).collect();
        packs.retain(|path| path.extension().is_some_and(|extension| extension == "pack"));
        assert_eq!(packs.len(), 1, "{} has not one pack", repository.display());
        Self::at(name, &packs[0], Repo::at(repository).refs())
    }

    pub fn mib(&self) -> f64 {
        self.bytes as f64 / f64::from(1 << 20)
    }
}

/// Where everything is kept.
pub fn cache() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// The repository of the outage: 134,000 objects, two thirds of its bytes incompressible.
pub fn outage() -> Pack {
    Pack::of("outage", Shape::OUTAGE.repository().path())
}

/// The same with another number of commits.
pub fn history(commits: u64) -> Pack {
    let shape = Shape { commits, ..Shape::OUTAGE };
    Pack::of(&format!("history of {commits} commits"), shape.repository().path())
}

/// The history of a small program.
pub fn source() -> Pack {
    Pack::of("source", &source::repository(&cache(), &Program::SMALL))
}

/// The history of a program like openvswitch/ovs.
pub fn ovs() -> Pack {
    Pack::of("like ovs", &source::repository(&cache(), &Program::OVS))
}

/// A million small objects: a quarter of them whole, the others deltas that name their base by its id.
pub fn tiny() -> Pack {
    written("tiny", || {
        let mut rng = Rng::new(9);
        let mut pack = PackBuilder::default().level(1);
        let mut data = Vec::new();
        for n in 0..1_000_000_u32 {
            if n % 4 == 0 {
                data = format!("tiny {n}").into_bytes();
                pack.blob(&data);
            } else {
                let len = data.len() as u64;
                pack.ref_delta(&blob_id(&data), &Delta::new(len, len + 8).copy(0, len).insert(&rng.bytes(8)));
            }
        }
        pack
    })
}

/// Packs that are small, and much work.
pub fn shapes() -> Vec<Pack> {
    const LEN: usize = 100_000;
    let mut rng = Rng::new(3);
    let base = rng.bytes(LEN);
    let mut edit = move |len: usize| {
        let at = rng.below(len as u64 - 8);
        let rest = len as u64 - at - 8;
        Delta::new(len as u64, len as u64).copy(0, at).insert(&rng.bytes(8)).copy(at + 8, rest)
    };
    let begin = || {
        let mut pack = PackBuilder::default().level(1);
        let root = pack.offset();
        pack.blob(&base);
        (pack, root)
    };
    let chain = written("chain of 4,095", || {
        let (mut pack, mut last) = begin();
        for _ in 0..4095 {
            last = pack.ofs_delta(last, &edit(LEN));
        }
        pack
    });
    let star = written("star of 300 on 2 MB", || {
        let mut pack = PackBuilder::default().level(1);
        let root = pack.offset();
        pack.blob(&Rng::new(5).bytes(20 * LEN));
        for _ in 0..300 {
            pack.ofs_delta(root, &edit(20 * LEN));
        }
        pack
    });
    let comb = written("comb of 1,500 × 3", || {
        let (mut pack, mut spine) = begin();
        for _ in 0..1500 {
            pack.ofs_delta(spine, &edit(LEN));
            let next = pack.ofs_delta(spine, &edit(LEN));
            pack.ofs_delta(spine, &edit(LEN));
            spine = next;
        }
        pack
    });
    let tree = written("binary tree of 4,095", || {
        let (mut pack, root) = begin();
        let mut open = std::collections::VecDeque::from([root]);
        for _ in 0..2047 {
            let parent = open.pop_front().expect("a tree grows");
            for _ in 0..2 {
                open.push_back(pack.ofs_delta(parent, &edit(LEN)));
            }
        }
        pack
    });
    vec![chain, star, comb, tree]
}

/// A pack that is made once.
fn written(name: &str, make: impl FnOnce() -> PackBuilder) -> Pack {
    let file: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let path = cache().join(format!("shape-1-{file}.pack"));
    if !path.exists() {
        let unfinished = path.with_extension("unfinished");
        fs::write(&unfinished, make().finish()).expect("a pack is written");
        fs::rename(&unfinished, &path).expect("a file is renamed");
    }
    Pack::at(name, &path, Vec::new())
}
