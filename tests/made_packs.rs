//! What the tests build by hand is what git means by it: git itself is asked.

mod support;

use receive_pack::proto::ObjectKind;
use support::format::{format, formats};
use support::git::{Repo, assert_same_repository};
use support::pack::{self, BigPack, Delta, PackBuilder, blob_id, object_id};
use support::request::{Advertised, Reply, Request};
use support::rng::Rng;
use support::{fast_import, git};

#[test]
fn git_takes_every_kind_of_entry() {
    let repo = Repo::bare();
    let base = Rng::new(1).bytes(200_000);
    let mut second = base.clone();
    second.splice(70_000..70_010, *b"something else");
    let mut third = second.clone();
    third.extend_from_slice(b"an end");

    for level in [0, 1, 6, 9] {
        let mut builder = PackBuilder::default().level(level);
        let at = builder.object(ObjectKind::Blob, &base);
        let at = builder.ofs_delta(at, &Delta::between(&base, &second));
        builder.ofs_delta(at, &Delta::between(&second, &third));
        builder.ref_delta(&blob_id(&base), &Delta::between(&base, b"short"));
        let tree = pack::tree([("a", &blob_id(&base)), ("b", &blob_id(&third))]);
        let commit = pack::commit(&object_id(format(), ObjectKind::Tree, &tree), &[]);
        builder.object(ObjectKind::Tree, &tree);
        builder.object(ObjectKind::Commit, &commit);
        repo.git_with_input(["index-pack", "--strict", "--stdin"], &builder.finish());
        let id = object_id(format(), ObjectKind::Commit, &commit).to_string();
        repo.git(["update-ref", &format!("refs/heads/level-{level}"), &id]);
    }

    repo.fsck();
    for data in [&base[..], &second, &third, b"short"] {
        assert!(repo.object("blob", &blob_id(data).to_string()) == data, "a blob differs from what was packed");
    }
}

#[test]
fn git_refuses_what_is_meant_to_be_refused() {
    let repo = Repo::bare();
    let refused = |pack: &[u8], why: &str| {
        let output = git::run(git::command(repo.path(), ["index-pack", "--stdin"]), pack);
        assert!(!output.status.success(), "git took a pack whose fault is: {why}");
        assert!(output.stderr.contains(why), "another fault than {why}: {}", output.stderr);
    };
    let mut builder = PackBuilder::default();
    builder.blob(b"hello");
    refused(&builder.finish_with_wrong_trailer(), "SHA1 mismatch");
    refused(&builder.without_trailer(), "early EOF");
    refused(&builder.clone().version(4).finish(), "pack version 4 unsupported");
    builder.lie(pack::BLOB, 6, b"", b"hello");
    refused(&builder.finish(), "inflate");
}

#[test]
fn a_big_pack_is_sound_and_has_the_ids_that_it_names() {
    let big = BigPack::new(pack::Shape { seed: 9, large: 3, large_size: 100_000, small_per_large: 40 });
    let repo = Repo::bare();
    repo.git_with_input(["index-pack", "--strict", "--stdin"], &big.to_bytes());
    repo.git(["update-ref", "refs/heads/main", &big.tip().to_string()]);
    repo.fsck();
    assert_eq!(repo.reachable().len(), big.entries() as usize);
    for (index, id) in big.blob_ids().iter().enumerate() {
        assert!(repo.object("blob", &id.to_string()) == big.blob(index), "blob {index} differs");
    }
}

#[test]
fn git_takes_a_pack_of_each_object_format() {
    for format in formats() {
        let repo = Repo::bare_in(format.name());
        let mut builder = PackBuilder::new(format);
        let id = builder.blob(b"hello");
        builder.ref_delta(&id, &Delta::between(b"hello", b"hello world"));
        repo.git_with_input(["index-pack", "--strict", "--stdin"], &builder.finish());
        assert_eq!(repo.object("blob", &id.to_string()), b"hello");
    }
}

#[test]
fn a_generated_history_has_the_objects_that_its_shape_says() {
    let shape = fast_import::Shape::SMALL;
    let repo = shape.repository();
    repo.fsck();
    assert_eq!(repo.reachable().len() as u64, shape.objects());
    assert_eq!(repo.stored().len() as u64, shape.objects());
    let deltas = repo.git(["cat-file", "--batch-all-objects", "--batch-check=%(deltabase)"]).text();
    let deltas = deltas.lines().filter(|base| base.bytes().any(|digit| digit != b'0')).count() as u64;
    assert!(deltas > shape.commits, "{deltas} of {} objects are deltas", shape.objects());
}

#[test]
fn a_request_made_by_hand_is_one_to_git() {
    let (source, target) = (fast_import::Shape::SMALL.repository(), Repo::bare());
    let everything = source.git_with_input(["pack-objects", "--all", "--stdout", "--quiet"], b"").stdout;
    let mut request = Request::new().pack(everything);
    for (name, id) in source.refs() {
        request = request.create(&name, id);
    }

    let said = git::run(git::command(target.path(), ["receive-pack", "."]), &request.bytes());
    let said = said.expect_success("git receive-pack").stdout;
    let mut said = &said[..];
    let advertised = Advertised::take(&mut said);
    assert!(advertised.refs.is_empty() && advertised.capabilities.iter().any(|word| word == "side-band-64k"));
    let reply = Reply::side_band(said);
    reply.assert_ok();
    assert_eq!(reply.refs.len(), source.refs().len());
    assert_same_repository(&source, &target);
}

#[test]
fn a_borrowed_repository_can_be_changed_without_changing_the_lender() {
    let lender = fast_import::Shape::SMALL.repository();
    let before = lender.refs();
    let borrower = lender.borrow();
    assert_eq!(borrower.refs(), before);
    let tip = borrower.commit("main", &[("new.txt", b"new\n")]);
    assert_eq!(borrower.rev("main~1"), lender.rev("main"));
    assert_eq!(borrower.object("blob", &format!("{tip}:new.txt")), b"new\n");
    assert_eq!(lender.refs(), before);
}
