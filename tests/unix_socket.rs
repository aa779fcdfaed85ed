//! A push over a Unix socket: the server of the quick start, with another listener.

#![cfg(all(feature = "bare-repository", unix))]

mod support;

use receive_pack::checksum::ChecksumLayer;
use receive_pack::receive::ReceivePack;
use receive_pack::serve::serve;
use receive_pack::store::{BareRepository, Store};
use support::fast_import::Shape;
use support::git::{self, Repo, assert_same_repository};
use support::rng::Rng;
use tokio::net::UnixListener;
use tower::ServiceBuilder;

/// What stands between git and the socket. Its side stays open until the server has closed, as that of a client on a
/// network does.
const RELAY: &str = r#"
use IO::Socket::UNIX;
my $socket = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "no socket: $!";
sub relay { my ($in, $out) = @_; while (sysread($in, my $data, 65536)) { syswrite($out, $data) or last; } }
if (my $child = fork) { relay($socket, *STDOUT); kill KILL => $child; exit 0 }
relay(*STDIN, $socket);
sleep 60;
"#;

#[tokio::test(flavor = "multi_thread")]
async fn git_pushes_over_a_unix_socket() {
    let (source, target) = (Shape::SMALL.repository().borrow(), Repo::bare());
    let dir = tempfile::tempdir().expect("a temporary directory");
    let socket = dir.path().join("socket");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let repository = BareRepository::open(target.path()).expect("the repository opens");
    tokio::spawn(async move {
        loop {
            let (read, write) = listener.accept().await.expect("a connection").0.into_split();
            let repository = repository.clone();
            let push = ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(repository.clone()));
            tokio::spawn(async move { serve(read, write, repository.advertise().await?, push).await });
        }
    });

    let relay = dir.path().join("relay.pl");
    std::fs::write(&relay, RELAY).expect("a script");
    let url = format!("ext::perl {} {}", relay.display(), socket.display());
    let push = |args: &[&str]| {
        let args = ["-c", "protocol.ext.allow=always", "push", &url].into_iter().chain(args.iter().copied());
        git::run(git::command(source.path(), args), b"")
    };
    push(&["-q", "--mirror"]).expect_success("git push");
    assert_same_repository(&source, &target);
    source.commit("main", &[("large", &Rng::new(1).bytes(20 << 20))]);
    push(&["-q", "main"]).expect_success("git push");
    source.git(["tag", "-d", "v1"]);
    push(&["-q", ":v1"]).expect_success("git push");
    assert_same_repository(&source, &target);
    let said = push(&[":main"]);
    assert!(said.stderr.contains("(deletion of the current branch prohibited)"), "{}", said.stderr);
}
