//! What a client says of itself and of its push, as a policy reads it.

#![cfg(feature = "bare-repository")]

mod support;

use std::sync::{Arc, Mutex};

use receive_pack::Error;
use receive_pack::checksum::ChecksumLayer;
use receive_pack::proto::Advertisement;
use receive_pack::push::UpdateRequest;
use receive_pack::receive::{PreReceive, ReceivePack, Received};
use receive_pack::store::{BareRepository, Store};
use support::git::{self, Output, Repo};
use support::host::Host;
use support::io::Script;
use support::pack::PackBuilder;
use support::request::Request;
use support::server::serve_with;
use tower::ServiceBuilder;

/// Remembers the head of each push.
#[derive(Clone, Default)]
struct Reader(Arc<Mutex<Vec<UpdateRequest>>>);

impl Reader {
    #[track_caller]
    fn last(&self) -> UpdateRequest {
        self.0.lock().expect("nobody panicked").pop().expect("the policy was asked")
    }
}

impl PreReceive for Reader {
    async fn pre_receive(&self, push: &mut Received<'_>) -> Result<(), Error> {
        self.0.lock().expect("nobody panicked").push(push.request().clone());
        Ok(())
    }
}

fn host(target: &Repo, reader: &Reader, advertise: fn(Advertisement) -> Advertisement) -> Host {
    let (path, reader) = (target.path().to_owned(), reader.clone());
    Host::start(move || {
        let (path, reader) = (path.clone(), reader.clone());
        async move {
            let store = BareRepository::open(&path).expect("the repository opens");
            let advertisement = advertise(store.advertise().await.expect("an advertisement"));
            let service = ReceivePack::new(store).pre_receive(reader);
            (advertisement, ServiceBuilder::new().layer(ChecksumLayer::new()).service(service))
        }
    })
}

/// Pushes as somebody who tells servers of session ids, and shows each packet.
fn push(source: &Repo, args: &[&str]) -> Output {
    let mut push = git::command(source.path(), ["-c", "transfer.advertiseSID=true", "push"]);
    push.args(args).env("GIT_TRACE_PACKET", "1");
    git::run(push, b"")
}

/// The value of a capability in the packets that went one way: `<` to git, `>` from it.
fn value<'a>(said: &'a Output, way: char, name: &str) -> Option<&'a str> {
    let line = said
        .stderr
        .lines()
        .find(|line| line.contains(&format!("push{way} ")) && line.contains("\\0") && line.contains("report-status"))?;
    line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

#[test]
fn the_names_of_a_session_are_exchanged_if_both_sides_have_one() {
    let (source, target, reader) = (Repo::bare(), Repo::bare(), Reader::default());
    source.commit("main", &[("file", b"text\n")]);
    let with = host(&target, &reader, |advertisement| advertisement.with_session_id("our session"));
    let said = push(&source, &[&with.url(), "main"]).expect_success("git push");
    assert_eq!(value(&said, '<', "session-id"), Some("our.session"), "{}", said.stderr);
    let theirs = value(&said, '>', "session-id").expect("git has one of its own");
    let request = reader.last();
    assert_eq!(request.session_id(), Some(theirs.as_bytes()));

    // The program itself is named in any case.
    let agent = request.agent().expect("git has a name");
    assert!(agent.starts_with(b"git/"), "{}", agent.escape_ascii());
    assert_eq!(value(&said, '>', "agent").map(str::as_bytes), Some(agent));

    // A client that was not told to has none.
    source.push(&with.url(), &["-q", "main:refs/heads/other"]);
    assert_eq!(reader.last().session_id(), None);

    let without = host(&target, &reader, |advertisement| advertisement);
    let said = push(&source, &[&without.url(), "main:refs/heads/third"]).expect_success("git push");
    assert_eq!((value(&said, '<', "session-id"), value(&said, '>', "session-id")), (None, None));
    assert_eq!(reader.last().session_id(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nobody_asked_for_is_none() {
    let (target, reader) = (Repo::bare(), Reader::default());
    let tip = target.commit("main", &[("file", b"text\n")]);
    let request = Request::new().capability("session-id=x").create("refs/heads/new", &tip);
    let reader_of = Script::of(request.pack(PackBuilder::default().finish()).bytes());
    let store = BareRepository::open(target.path()).expect("the repository opens");
    serve_with(store, reader.clone(), reader_of).await.0.expect("the push is served");
    let request = reader.last();
    assert_eq!(request.session_id(), None);
    assert_eq!(request.capabilities().value("session-id"), Some(&b"x"[..]));
}

#[test]
fn push_options_reach_a_policy_in_their_order() {
    let (source, target, reader) = (Repo::bare(), Repo::bare(), Reader::default());
    source.commit("main", &[("file", b"text\n")]);
    let with = host(&target, &reader, |advertisement| advertisement.with_push_options(true));
    push(&source, &["-o", "b", "-o", "a=1 2", "-o", "b", &with.url(), "main:x"]).expect_success("git push");
    assert_eq!(reader.last().push_options(), [&b"b"[..], b"a=1 2", b"b"]);
    push(&source, &["-o", "last", &with.url(), ":x"]).expect_success("a deletion");
    assert_eq!(reader.last().push_options(), [&b"last"[..]]);
    push(&source, &[&with.url(), "main"]).expect_success("a push without options");
    assert!(reader.last().push_options().is_empty());

    // Where nobody reads them, git does not send them, and says so.
    let without = host(&target, &reader, |advertisement| advertisement);
    let said = push(&source, &["-o", "a", &without.url(), "main:refs/heads/other"]);
    assert!(said.stderr.contains("the receiving end does not support push options"), "{}", said.stderr);
}
