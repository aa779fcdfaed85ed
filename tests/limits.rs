//! Each limit of the parser by its name: what is just as much is taken, one more is refused.

mod support;

use bytes::{Bytes, BytesMut};
use receive_pack::ErrorKind;
use receive_pack::proto::{Config, Frame, Limits, Payload, Receive, pkt_line};
use support::format::{format, made_up, zero};
use support::pack::{BLOB, PackBuilder};
use support::request::{Request, pkt, take_pkt};

/// The error of a request under these limits, `None` if there is none.
fn error(change: impl FnOnce(&mut Limits), payload: Payload, bytes: &[u8]) -> Option<(ErrorKind, String)> {
    let mut config = Config::new(format());
    config.advertised = config.advertised.with("push-options").with("push-cert=nonce");
    change(&mut config.limits);
    config.payload = payload;
    let (mut receive, mut bytes) = (Receive::new(config), BytesMut::from(bytes));
    loop {
        match receive.decode_eof(&mut bytes) {
            Ok(Some(Frame::Complete(_))) => assert!(receive.is_done()),
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(error) => return Some((error.kind(), error.to_string())),
        }
    }
}

/// At `limit` the request is taken, below it is refused with this text.
#[track_caller]
fn bounds<N: Copy>(request: &[u8], set: fn(&mut Limits, N), fits: N, refuses: N, text: &str) {
    assert_eq!(error(|limits| set(limits, fits), Payload::Objects, request), None, "at the limit: {text}");
    let (kind, found) = error(|limits| set(limits, refuses), Payload::Objects, request).expect("it is refused");
    assert_eq!(kind, ErrorKind::LimitExceeded, "{found}");
    assert!(found.starts_with(text) && found.contains("at byte"), "{found:?} is not {text:?}");
}

fn commands() -> Request {
    let one = made_up('1');
    Request::new().delete("refs/heads/a", &one).delete("refs/heads/abc", &one).delete("refs/heads/b", &one)
}

#[test]
fn of_the_head() {
    let head = commands().head();
    let len = head.len() as u64;
    bounds(
        &head,
        |limits, n| limits.head_bytes = n,
        len,
        len - 1,
        &format!("more than {} bytes before the pack", len - 1),
    );
    bounds(&head, |limits, n| limits.commands = n, 3, 2, "more than 2 commands");
    bounds(&head, |limits, n| limits.ref_name_bytes = n, 14, 13, "more than 13 bytes in a ref name");

    let head = commands().shallow(made_up('1')).shallow(made_up('1')).head();
    bounds(&head, |limits, n| limits.shallow = n, 2, 1, "more than 1 shallow lines");

    let head = commands().options(&["a", "", "cde"]).head();
    bounds(&head, |limits, n| limits.push_options = n, 3, 2, "more than 2 push options");
    bounds(&head, |limits, n| limits.push_option_bytes = n, 4, 3, "more than 3 bytes of push options");

    let certificate = "certificate version 0.1\npusher A <a@example.org> 1700000000 +0000\nnonce nonce\n";
    let signed = commands().signed(certificate, "-----BEGIN SSH SIGNATURE-----\nabc\n-----END SSH SIGNATURE-----\n");
    let head = signed.head();
    let mut rest = &head[..];
    take_pkt(&mut rest).expect("the capabilities");
    let lines = std::iter::from_fn(|| take_pkt(&mut rest)).take_while(|line| line != b"push-cert-end\n");
    let len = lines.map(<[u8]>::len).sum::<usize>();
    let text = format!("more than {} bytes of a push certificate", len - 1);
    bounds(&head, |limits, n| limits.certificate_bytes = n, len, len - 1, &text);

    // What is signed is counted as it is read: of what is wrong behind the first that is too many nobody hears.
    bounds(&head, |limits, n| limits.commands = n, 3, 2, "more than 2 commands");
    let options = "push-option a\npush-option \npush-option cde\n";
    let head = commands().signed(&format!("{certificate}{options}"), "").options(&["a", "", "cde"]).head();
    bounds(&head, |limits, n| limits.push_options = n, 3, 2, "more than 2 push options");
    bounds(&head, |limits, n| limits.push_option_bytes = n, 4, 3, "more than 3 bytes of push options");
    let head = commands().signed(&format!("{certificate}{options}"), "nonsense\n").head();
    let reason = |set: fn(&mut Limits)| error(set, Payload::Objects, &head).expect("it is refused").1;
    assert!(reason(|_| {}).starts_with("protocol error: expected old/new/ref, got 'nonsense'"));
    assert!(reason(|limits| limits.commands = 2).starts_with("more than 2 commands"));
    assert!(reason(|limits| limits.push_options = 2).starts_with("more than 2 push options"));

    let caps = format!(" report-status object-format={}", format().name());
    let line = |name: &str| pkt(format!("{} {} refs/heads/{name}\0{caps}", made_up('1'), zero()));
    let head = [line("a"), line("b"), b"0000".to_vec()].concat();
    let len = 2 * (caps.len() + 1);
    let text = format!("more than {} bytes of capabilities", len - 1);
    bounds(&head, |limits, n| limits.capability_bytes = n, len, len - 1, &text);
}

#[test]
fn of_a_pkt_line() {
    let line = |len: usize| [format!("{len:04x}").as_bytes(), &vec![b'x'; len - 4]].concat();
    assert!(pkt_line::peek(&line(pkt_line::MAX_LEN)).is_ok_and(|found| found.is_some()));
    assert_eq!(pkt_line::peek(&line(pkt_line::MAX_LEN + 1)).map_err(|error| error.kind()), Err(ErrorKind::Protocol));
}

fn push(pack: Bytes) -> Bytes {
    Request::new().create("refs/heads/a", made_up('1')).pack(pack).bytes()
}

#[test]
fn of_the_pack() {
    let mut builder = PackBuilder::default();
    builder.blob(&[b'x'; 5000]);
    builder.blob(&[b'x'; 3000]);
    let request = push(builder.finish());
    bounds(&request, |limits, n| limits.objects = n, 2, 1, "pack of 2 objects exceeds the limit of 1 (at byte 8)");
    bounds(&request, |limits, n| limits.object_size = n, 5000, 4999, "object of 5000 bytes exceeds the limit of 4999");
    let text = "pack inflates to more than the limit of 7999 bytes";
    bounds(&request, |limits, n| limits.inflated_bytes = n, 8000, 7999, text);
    // An opaque pack is not looked into, but its header is.
    let objects = |objects| error(|limits| limits.objects = objects, Payload::Opaque, &request).map(|(kind, _)| kind);
    assert_eq!((objects(2), objects(1)), (None, Some(ErrorKind::LimitExceeded)));
}

#[test]
fn of_what_a_pack_inflates_to_for_its_length() {
    let mut builder = PackBuilder::default();
    builder.blob(&vec![b'x'; 1 << 20]);
    let len = builder.offset();
    let request = push(builder.finish());
    // Without a ratio the floor is all there is.
    let floor = |limits: &mut Limits, n| (limits.expansion_ratio, limits.expansion_floor) = (0, n);
    let text = "pack inflates to more than 1048575 bytes and the limit of 0 times its length (at byte 12)";
    bounds(&request, floor, 1 << 20, (1 << 20) - 1, text);
    let ratio = |limits: &mut Limits, n| (limits.expansion_ratio, limits.expansion_floor) = (n, 1000);
    let fits = ((1 << 20) - 1000_u64).div_ceil(len);
    bounds(&request, ratio, fits + 100, fits - 1, "pack inflates to more than 1000 bytes and the limit of");
    // It is seen while the object arrives, not at its end.
    let mut declared = PackBuilder::default();
    declared.lie(BLOB, 1 << 40, b"", &vec![b'x'; 1 << 20]);
    let found = error(
        |limits| {
            floor(limits, 1 << 16);
            limits.object_size = u64::MAX;
            limits.inflated_bytes = u64::MAX;
        },
        Payload::Objects,
        &push(declared.finish()),
    );
    assert!(found.is_some_and(|(kind, _)| kind == ErrorKind::LimitExceeded));
}

/// Everything comes at once, and still the connection is left to others now and then.
#[test]
fn of_the_work_in_one_poll() {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use futures_util::Stream;
    use receive_pack::checksum::{Checksummed, Throttle};
    use receive_pack::codec::ReceivePackCodec;
    use receive_pack::push::accept;

    const WORK: usize = 10_000;
    const LEN: usize = 1000;
    let mut builder = PackBuilder::default().level(0);
    for n in 0..100_u32 {
        builder.blob(&n.to_le_bytes().repeat(LEN / 4));
    }
    let request = push(builder.finish());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let codec = ReceivePackCodec::builder().object_format(format()).build();
        let body = accept(codec.framed_read(&request[..])).await.expect("a sound head").expect("a push").into_parts().2;
        let mut body = pin!(Checksummed::new(body, format(), Throttle::default()).work_per_poll(WORK));
        let mut cx = Context::from_waker(Waker::noop());
        let (mut since, mut most, mut pauses) = (0, 0, 0);
        loop {
            match body.as_mut().poll_next(&mut cx) {
                // On the wire and inflated.
                Poll::Ready(Some(Ok(frame))) => since += frame.wire_len() + LEN,
                Poll::Ready(Some(Err(error))) => panic!("{error}"),
                Poll::Ready(None) => break,
                Poll::Pending => {
                    (most, pauses) = (most.max(since), pauses + 1);
                    since = 0;
                }
            }
        }
        assert!(most < WORK + 3 * LEN && pauses >= 15, "{pauses} pauses, {most} bytes without one");
    });
}

/// What deltas of a thin pack are made from is read into memory.
#[cfg(feature = "bare-repository")]
#[tokio::test]
async fn of_the_bases_of_a_thin_pack() {
    use receive_pack::proto::{ObjectId, ObjectKind};
    use receive_pack::store::{BareRepository, PackLimits};
    use support::git::Repo;
    use support::io::Script;
    use support::pack::{Delta, blob_id, commit, object_id, tree};
    use support::server::{heard, serve};

    let repo = Repo::bare();
    let (base, new) = (b"a base of so many bytes\n", b"a base of so many bytes, changed\n");
    let parent = repo.commit("main", &[("file", base)]);
    let mut builder = PackBuilder::new(format());
    builder.ref_delta(&blob_id(base), &Delta::between(base, new));
    let tree = tree([("file", &blob_id(new))]);
    builder.object(ObjectKind::Tree, &tree);
    let parent = ObjectId::from_hex(format(), parent.as_bytes()).expect("an id");
    let commit = commit(&object_id(format(), ObjectKind::Tree, &tree), &[parent]);
    builder.object(ObjectKind::Commit, &commit);
    let tip = object_id(format(), ObjectKind::Commit, &commit);
    let request = Request::new().create("refs/heads/new", tip).pack(builder.finish()).bytes();
    for (limit, fits) in [(base.len() as u64 - 1, false), (base.len() as u64, true)] {
        let mut limits = PackLimits::default();
        limits.thin_base = limit;
        let store = BareRepository::open(repo.path()).expect("the repository opens").limits(limits);
        let (served, said) = serve(store, Script::of(request.clone())).await;
        served.expect("the push is served");
        let reply = heard(&said).1;
        if fits {
            reply.assert_ok();
        } else {
            let text = format!("object {} of the repository is larger than {limit} bytes", blob_id(base));
            assert!(reply.unpack.contains(&text), "{reply:?}");
            repo.assert_no_leftovers();
        }
    }
    repo.fsck();
}

/// What the store answers to a request.
#[cfg(feature = "bare-repository")]
async fn answer(repo: &support::git::Repo, request: &Request) -> support::request::Reply {
    let store = receive_pack::store::BareRepository::open(repo.path()).expect("the repository opens");
    let (served, said) = support::server::serve(store, support::io::Script::of(request.bytes())).await;
    served.expect("the push is served");
    support::server::heard(&said).1
}

/// An atomic push writes into `packed-refs` what a tag leads to at last.
#[cfg(feature = "bare-repository")]
#[tokio::test]
async fn of_tags_that_lead_to_tags() {
    use receive_pack::proto::ObjectKind;
    use support::git::Repo;
    use support::pack::{commit, object_id, tree};

    const MOST: usize = 10_000;
    let repo = Repo::bare();
    let mut builder = PackBuilder::default();
    let tree = tree([]);
    builder.object(ObjectKind::Tree, &tree);
    let commit = commit(&object_id(format(), ObjectKind::Tree, &tree), &[]);
    builder.object(ObjectKind::Commit, &commit);
    let commit = object_id(format(), ObjectKind::Commit, &commit);
    let mut tags = vec![commit];
    for number in 1..=MOST + 1 {
        let kind = if number == 1 { "commit" } else { "tag" };
        let text =
            format!("object {}\ntype {kind}\ntag t\ntagger A <a@example.org> 1700000000 +0000\n\n", tags[number - 1]);
        builder.object(ObjectKind::Tag, text.as_bytes());
        tags.push(object_id(format(), ObjectKind::Tag, text.as_bytes()));
    }
    let push = |tag: usize| {
        let request = Request::new().capability("atomic").create("refs/heads/main", commit);
        request.create("refs/tags/deep", tags[tag]).pack(builder.finish())
    };
    let reply = answer(&repo, &push(MOST + 1)).await;
    let text = format!("'refs/tags/deep': tag {} leads through more than {MOST} tags", tags[MOST + 1]);
    assert!(reply.progress.contains(&text), "{reply:?}");
    assert!(reply.refs.iter().all(|(_, outcome)| outcome.is_err()), "{reply:?}");
    assert!(repo.refs().is_empty());
    repo.assert_no_leftovers();
    answer(&repo, &push(MOST)).await.assert_ok();
    assert_eq!(repo.rev("refs/tags/deep"), tags[MOST].to_string());
    let packed = std::fs::read_to_string(repo.path().join("packed-refs")).expect("the refs are packed");
    assert!(packed.contains(&format!("refs/tags/deep\n^{commit}\n")), "{packed}");
    repo.fsck();
}

/// Each object that is there already is compared, and for that made from its deltas in the repository.
#[cfg(feature = "bare-repository")]
#[tokio::test]
async fn of_the_deltas_of_objects_that_are_there() {
    use receive_pack::proto::ObjectKind;
    use support::git::Repo;
    use support::pack::{Delta, blob_id, commit, object_id, tree};

    let text = |number: u64| format!("number {number:6}\n");
    // A chain of so many deltas, and a commit of what is at its end.
    let push = |depth: u64| {
        let mut builder = PackBuilder::default();
        let mut base = builder.object(ObjectKind::Blob, text(0).as_bytes());
        for number in 1..=depth {
            base = builder.ofs_delta(base, &Delta::new(14, 14).copy(0, 7).insert(&text(number).as_bytes()[7..]));
        }
        let tree = tree([("file", &blob_id(text(depth).as_bytes()))]);
        builder.object(ObjectKind::Tree, &tree);
        let commit = commit(&object_id(format(), ObjectKind::Tree, &tree), &[]);
        builder.object(ObjectKind::Commit, &commit);
        let tip = object_id(format(), ObjectKind::Commit, &commit);
        let request = |name: &str| Request::new().create(name, tip).pack(builder.finish());
        [request("refs/heads/first"), request("refs/heads/second")]
    };
    // The objects of the chain are made of 0, 1, 2, … deltas.
    let deltas = |depth: u64| depth * (depth + 1) / 2;
    let allowed = |depth: u64| (1 << 19) + 100 * (depth + 3);
    let fits = (1000..).take_while(|&depth| deltas(depth) <= allowed(depth)).last().expect("some fit");
    for (depth, taken) in [(fits, true), (fits + 1, false)] {
        let repo = Repo::bare();
        let [first, second] = push(depth);
        answer(&repo, &first).await.assert_ok();
        let (refs, stored) = (repo.refs(), repo.stored());
        let reply = answer(&repo, &second).await;
        if taken {
            reply.assert_ok();
        } else {
            let text =
                "the work of comparing objects with those that the repository has exceeds the limit of 100 deltas";
            assert!(reply.unpack.contains(text), "{reply:?}");
            assert_eq!((repo.refs(), repo.stored()), (refs, stored));
        }
        repo.assert_no_leftovers();
        repo.fsck();
    }
}
