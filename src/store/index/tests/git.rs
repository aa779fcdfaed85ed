//! Packs that git made, against what git says about them.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::super::stored::StoredIndex;
use super::super::{Bases, Budget, Index, IndexOptions, complete_thin};
use super::pack::{Memory, NoBases, Seen, index, options};
use crate::proto::{ObjectFormat, ObjectId, ObjectKind};
use crate::{Error, ErrorKind};

/// A bare repository in a directory that is removed with it.
pub(super) struct Repository(PathBuf, ObjectFormat);

impl Repository {
    pub(super) fn new(format: ObjectFormat) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("receive-pack-index-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let repository = Self(path, format);
        fs::create_dir_all(&repository.0).unwrap();
        repository.git(&["init", "-q", "--bare", &format!("--object-format={}", format.name())], b"");
        repository
    }

    /// A history of files that grow and change, with a large tree, a tag and a blob of many chunks.
    fn with_history(format: ObjectFormat) -> Self {
        let repository = Self::new(format);
        let mut stream = Vec::new();
        let mut seed = 1_u64;
        let mut random = || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            seed >> 33
        };
        let mut files: Vec<Vec<String>> =
            (0..12).map(|_| (0..40 + random() % 400).map(|_| format!("line {:x}\n", random())).collect()).collect();
        for commit in 0..150 {
            let message = format!("commit {commit}\n");
            writeln!(stream, "commit refs/heads/main\nmark :{}", commit + 1).unwrap();
            writeln!(stream, "committer A <a@b> {} +0000\ndata {}\n{message}", 1_500_000_000 + commit, message.len())
                .unwrap();
            if commit == 0 {
                for file in 0..3000 {
                    writeln!(stream, "M 100644 inline many/a-file-with-a-long-name-{file}\ndata 1\nx").unwrap();
                }
                let blob: Vec<u8> = (0..300_000).map(|_| random() as u8).collect();
                writeln!(stream, "M 100644 inline large\ndata {}", blob.len()).unwrap();
                stream.extend_from_slice(&blob);
                stream.push(b'\n');
            }
            for _ in 0..3 {
                let which = (random() % 12) as usize;
                let lines = files[which].len() as u64;
                files[which][(random() % lines) as usize] = format!("line {:x}\n", random());
                files[which].insert((random() % lines) as usize, format!("more {:x}\n", random()));
                let data = files[which].concat();
                writeln!(stream, "M 100644 inline d{}/f{which}\ndata {}\n{data}", which % 3, data.len()).unwrap();
            }
        }
        writeln!(stream, "tag v1\nfrom :100\ntagger A <a@b> 1500000000 +0000\ndata 3\nv1\n").unwrap();
        repository.git(&["fast-import", "--quiet"], &stream);
        repository.git(&["repack", "-adfq", "--no-write-bitmap-index", "--window=20", "--depth=50"], b"");
        repository
    }

    fn git(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let output = self.try_git(arguments, input);
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn try_git(&self, arguments: &[&str], input: &[u8]) -> std::process::Output {
        let mut git = Command::new("git")
            .arg("-C")
            .arg(&self.0)
            .args(arguments)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = git.stdin.take().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(input));
            git.wait_with_output().unwrap()
        })
    }

    fn options(&self) -> IndexOptions {
        IndexOptions { format: self.1, ..options() }
    }

    fn pack(&self, arguments: &[&str], revisions: &str) -> Memory {
        let mut all = vec!["pack-objects", "--stdout", "--revs", "-q"];
        all.extend_from_slice(arguments);
        Memory(self.git(&all, revisions.as_bytes()))
    }

    /// Puts pack and index where git finds them.
    fn install(&self, pack: &Memory, idx: &[u8], checksum: &ObjectId) -> PathBuf {
        let path = self.0.join(format!("objects/pack/pack-{checksum}.pack"));
        fs::write(&path, &pack.0).unwrap();
        fs::write(path.with_extension("idx"), idx).unwrap();
        path
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Bases for Repository {
    fn base(&self, id: &ObjectId, _: u64, _: &Budget) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        let id = id.to_string();
        let kind = match self.try_git(&["cat-file", "-t", &id], b"").stdout.as_slice() {
            b"commit\n" => ObjectKind::Commit,
            b"tree\n" => ObjectKind::Tree,
            b"blob\n" => ObjectKind::Blob,
            b"tag\n" => ObjectKind::Tag,
            _ => return Ok(None),
        };
        Ok(Some((kind, self.git(&["cat-file", kind.name(), &id], b""))))
    }
}

/// Indexes a pack and compares everything with what `git index-pack` makes of it.
fn check(repository: &Repository, pack: &Memory, threads: usize) {
    check_with(repository, pack, repository.options(), threads);
    #[cfg(feature = "collision-detection")]
    check_with(repository, pack, IndexOptions { detect_collisions: false, ..repository.options() }, threads);
}

/// The same with these options.
pub(super) fn check_with(repository: &Repository, pack: &Memory, options: IndexOptions, threads: usize) {
    let seen = Seen::default();
    let (index, checksum) = index(pack, options, &NoBases, &seen, threads).unwrap();
    let (mut idx, mut rev) = (Vec::new(), Vec::new());
    index.write_idx(&checksum, &mut idx).unwrap();
    index.write_rev(&checksum, &mut rev).unwrap();
    let path = repository.0.join("check.pack");
    fs::write(&path, &pack.0).unwrap();
    repository.git(&["index-pack", "--rev-index", path.to_str().unwrap()], b"");
    assert!(idx == fs::read(path.with_extension("idx")).unwrap(), "the .idx files differ");
    assert!(rev == fs::read(path.with_extension("rev")).unwrap(), "the .rev files differ");
    let mut seen = seen.objects.into_inner().unwrap();
    seen.sort_unstable();
    let mut structured: Vec<_> = index.objects().filter(|(_, kind)| *kind != ObjectKind::Blob).collect();
    structured.dedup();
    assert_eq!(seen.iter().map(|&(id, kind, _)| (id, kind)).collect::<Vec<_>>(), structured);
    for ext in ["pack", "idx", "rev"] {
        fs::remove_file(path.with_extension(ext)).unwrap();
    }
}

#[test]
fn packs_of_git_get_the_files_of_git() {
    let repository = Repository::with_history(ObjectFormat::Sha1);
    let offsets = repository.pack(&["--delta-base-offset"], "main\nv1\n");
    check(&repository, &offsets, 1);
    check(&repository, &offsets, 3);
    let ids = repository.pack(&[], "main\nv1\n");
    assert!(ids.0.len() > offsets.0.len());
    check(&repository, &ids, 1);
    check(&repository, &ids, 3);
    check(&repository, &repository.pack(&[], "main~149\n"), 1);
    check(&repository, &Memory(repository.git(&["pack-objects", "--stdout", "-q"], b"")), 1);
}

/// The index files of a pack, which lie somewhere, and the pack.
fn stored(repository: &Repository, arguments: &[&str]) -> (Index, Memory, Memory, Memory) {
    let pack = repository.pack(arguments, "main\nv1\n");
    let (index, checksum) = index(&pack, options(), &NoBases, &(), 2).unwrap();
    let (mut idx, mut rev) = (Vec::new(), Vec::new());
    index.write_idx(&checksum, &mut idx).unwrap();
    index.write_rev(&checksum, &mut rev).unwrap();
    (index, pack, Memory(idx), Memory(rev))
}

#[test]
fn objects_are_read_by_the_index_files_of_a_pack() {
    let repository = Repository::with_history(ObjectFormat::Sha1);
    for arguments in [&["--delta-base-offset"][..], &[]] {
        let (index, pack, idx, rev) = stored(&repository, arguments);
        let stored = StoredIndex::open(idx, rev, ObjectFormat::Sha1, pack.0.len() as u64).unwrap();
        let mut reader = stored.reader(&pack, 1 << 20);
        for ((id, kind), place) in index.objects().zip(0..) {
            assert_eq!(stored.place_of(&id).unwrap(), Some(place));
            let (read_kind, data) = reader.read(&id).unwrap().unwrap();
            assert_eq!((read_kind, super::pack::id_of(kind, &data)), (kind, id));
        }
        for absent in [[0; 20], [0xff; 20], [0x77; 20]] {
            let absent = ObjectId::from_bytes(&absent).unwrap();
            assert_eq!((stored.place_of(&absent).unwrap(), reader.read(&absent).unwrap()), (None, None));
        }
        let (large, _) = index.objects().find(|(_, kind)| *kind == ObjectKind::Blob).unwrap();
        assert_eq!(stored.reader(&pack, 1000).read(&large).unwrap_err().kind(), ErrorKind::LimitExceeded);
    }
}

/// A pack of whose indexes some bytes were written over: an error, another object, and no panic.
#[test]
fn damaged_index_files_are_no_trouble() {
    let repository = Repository::with_history(ObjectFormat::Sha1);
    let (index, pack, idx, rev) = stored(&repository, &["--delta-base-offset"]);
    let ids: Vec<_> = index.objects().map(|(id, _)| id).step_by(97).collect();
    let mut errors = 0;
    for value in [0, 0x7f, 0xff] {
        for (file, step) in [(&idx, 41), (&rev, 29)] {
            for at in (0..file.0.len()).step_by(step) {
                let damaged = |of: &Memory| {
                    let mut bytes = of.0.clone();
                    if std::ptr::eq(of, file) {
                        let end = bytes.len().min(at + step);
                        bytes[at..end].fill(value);
                    }
                    Memory(bytes)
                };
                let opened = StoredIndex::open(damaged(&idx), damaged(&rev), ObjectFormat::Sha1, pack.0.len() as u64);
                let Ok(stored) = opened else {
                    errors += 1;
                    continue;
                };
                let mut reader = stored.reader(&pack, 1 << 20);
                errors += ids.iter().filter(|id| reader.read(id).is_err()).count();
            }
        }
    }
    assert!(errors > 100, "{errors}");
}

#[test]
fn objects_are_read_out_of_a_pack() {
    let repository = Repository::with_history(ObjectFormat::Sha1);
    for arguments in [&["--delta-base-offset"][..], &[]] {
        let pack = repository.pack(arguments, "main\nv1\n");
        let (index, _) = index(&pack, options(), &NoBases, &(), 2).unwrap();
        let mut reader = index.reader(&pack, 1 << 20);
        for (id, kind) in index.objects() {
            let (read_kind, data) = reader.read(&id).unwrap().unwrap();
            assert_eq!((read_kind, super::pack::id_of(kind, &data)), (kind, id));
            assert_eq!(index.kind_of(&id), Some(kind));
        }
        let absent = ObjectId::zero(ObjectFormat::Sha1);
        assert_eq!((index.kind_of(&absent), reader.read(&absent).unwrap()), (None, None));
        let large =
            index.reader(&pack, 1000).read(&index.objects().find(|(_, kind)| *kind == ObjectKind::Blob).unwrap().0);
        assert_eq!(large.unwrap_err().kind(), crate::ErrorKind::LimitExceeded);
    }
}

#[test]
fn thin_packs_are_completed() {
    completes_thin_packs(&Repository::with_history(ObjectFormat::Sha1));
}

#[test]
#[cfg(feature = "sha256")]
fn repositories_of_sha_256_are_no_different() {
    let repository = Repository::with_history(ObjectFormat::Sha256);
    check(&repository, &repository.pack(&["--delta-base-offset"], "main\nv1\n"), 2);
    check(&repository, &repository.pack(&[], "main\nv1\n"), 2);
    completes_thin_packs(&repository);
}

fn completes_thin_packs(repository: &Repository) {
    for arguments in [&["--thin", "--delta-base-offset"][..], &["--thin"]] {
        let mut pack = repository.pack(arguments, "main\n^main~40\n");
        let before = pack.0.len();
        let (mut index, _) = index(&pack, repository.options(), repository, &Seen::default(), 2).unwrap();
        let bases = index.external_bases().to_vec();
        assert!(!bases.is_empty());
        let checksum = complete_thin(&mut index, &mut pack, repository, || Ok(())).unwrap().unwrap();
        assert!(pack.0.len() > before);
        assert_eq!(index.pack_len(), pack.0.len() as u64);
        assert!(bases.iter().all(|base| index.kind_of(base).is_some()));
        check(repository, &pack, 1);

        // A repository that had what the pack leaves out takes it as its own.
        let server = Repository::new(repository.1);
        let old = repository.pack(&["--delta-base-offset"], "main~40\n");
        server.git(&["index-pack", "--stdin"], &old.0);
        let mut idx = Vec::new();
        index.write_idx(&checksum, &mut idx).unwrap();
        let path = server.install(&pack, &idx, &checksum);
        server.git(&["verify-pack", path.to_str().unwrap()], b"");
        let tip = String::from_utf8(repository.git(&["rev-parse", "main"], b"")).unwrap();
        server.git(&["update-ref", "refs/heads/main", tip.trim()], b"");
        server.git(&["fsck", "--strict"], b"");
    }
}
