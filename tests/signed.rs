//! Signed pushes by real git, their signatures verified by the real ssh-keygen.

#![cfg(feature = "bare-repository")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use receive_pack::Error;
use receive_pack::certificate::{CertificateLayer, NonceSeed, NonceStatus, Signed, Verdict};
use receive_pack::checksum::ChecksumLayer;
use receive_pack::proto::{Certificate, ObjectFormat, Report};
use receive_pack::push::{Pack, Push};
use receive_pack::receive::ReceivePack;
use receive_pack::store::{BareRepository, Store};
use support::fast_import::Shape;
use support::format::formats;
use support::git::{self, Output, Repo};
use support::host::Host;
use support::io::Script;
use support::pack::PackBuilder;
use support::request::Request;
use support::server::{heard, serve};
use tokio::io::AsyncRead;
use tower::ServiceBuilder;
use tower::util::BoxService;

const SEED: &str = "a secret";

/// A directory with the key of somebody whom the server knows, and that of somebody whom it does not.
struct Keys(tempfile::TempDir);

impl Keys {
    fn make() -> Self {
        let keys = Self(tempfile::tempdir().expect("a temporary directory"));
        for name in ["ada", "eve"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(keys.path(name));
            git::run(keygen, b"").expect_success("ssh-keygen");
        }
        let ada = std::fs::read_to_string(keys.path("ada.pub")).expect("a public key");
        std::fs::write(keys.path("allowed"), format!("ada@example.org {ada}")).expect("the allowed signers");
        keys
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// What a server's operator would write: `ssh-keygen -Y verify`, with the payload on its standard input.
fn verify(allowed: &Path, certificate: &Certificate) -> Verdict {
    let signature = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(signature.path(), certificate.signature()).expect("the signature");
    let mut find = Command::new("ssh-keygen");
    find.args(["-Y", "find-principals", "-f"]).arg(allowed).arg("-s").arg(signature.path());
    let found = git::run(find, b"");
    if !found.status.success() {
        return Verdict::Unknown;
    }
    let signer = found.text();
    let mut verify = Command::new("ssh-keygen");
    verify.args(["-Y", "verify", "-n", "git", "-I", &signer, "-f"]).arg(allowed).arg("-s").arg(signature.path());
    let verified = git::run(verify, certificate.payload());
    match verified.text().rsplit_once(" key ") {
        Some((_, key)) if verified.status.success() => Verdict::Good { signer, key: key.to_owned() },
        _ => Verdict::Bad,
    }
}

type Seen = Arc<Mutex<Vec<Option<Signed>>>>;

/// A nonce of now.
fn nonce(seed: &NonceSeed, format: ObjectFormat) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
    seed.issue("/repo.git", now, format)
}

/// What a server knows of certificates.
#[derive(Clone)]
struct Rules {
    seed: NonceSeed,
    allowed: PathBuf,
    required: bool,
    stateless: bool,
}

impl Rules {
    /// A service that remembers what reached the store.
    fn stack<R>(self, store: BareRepository, seen: Seen) -> BoxService<Push<Pack<R>>, Report, Error>
    where
        R: AsyncRead + Unpin + Send + 'static,
    {
        let allowed = self.allowed;
        let certificates = CertificateLayer::new(move |certificate: Certificate| {
            let allowed = allowed.clone();
            async move {
                let verified = tokio::task::spawn_blocking(move || verify(&allowed, &certificate)).await;
                verified.map_err(|error| Error::store("the verification did not end", error))
            }
        });
        let certificates = certificates.nonce(self.seed, "/repo.git").required(self.required);
        let service = ServiceBuilder::new()
            .layer(certificates.stateless(self.stateless))
            .layer(ChecksumLayer::new())
            .map_request(move |push: Push<_>| {
                seen.lock().expect("the list").push(push.extensions().get::<Signed>().cloned());
                push
            })
            .service(ReceivePack::new(store));
        BoxService::new(service)
    }
}

/// A host for `target` that looks at certificates, and remembers what reached the store.
fn host(target: &Repo, allowed: PathBuf, required: bool) -> (Host, Seen) {
    let (path, seen) = (target.path().to_owned(), Seen::default());
    let remembered = Arc::clone(&seen);
    let rules = Rules { seed: NonceSeed::new(SEED), allowed, required, stateless: false };
    let host = Host::start(move || {
        let (path, rules, seen) = (path.clone(), rules.clone(), Arc::clone(&remembered));
        async move {
            let store = BareRepository::open(&path).expect("the repository opens");
            let nonce = nonce(&rules.seed, store.object_format());
            let advertisement = store.advertise().await.expect("an advertisement").with_push_options(true);
            (advertisement.with_nonce(nonce), rules.stack(store, seen))
        }
    });
    (host, seen)
}

fn push_signed(source: &Repo, key: &Path, url: &str, args: &[&str]) -> Output {
    let key = format!("user.signingKey={}", key.display());
    source.try_git(["-c", "gpg.format=ssh", "-c", &key, "push", "--signed", url].iter().chain(args))
}

#[test]
fn a_signed_push_lands_and_its_signature_is_known() {
    let (source, target, keys) = (Shape::SMALL.repository().borrow(), Repo::bare(), Keys::make());
    let (host, seen) = host(&target, keys.path("allowed"), true);
    let options = ["-q", "-o", "ci.skip", "-o", "a b", "main", "next"];
    push_signed(&source, &keys.path("ada"), &host.url(), &options).expect_success("a signed push");
    assert_eq!((target.rev("main"), target.rev("next")), (source.rev("main"), source.rev("next")));
    target.fsck();
    let seen = seen.lock().expect("the list");
    let Some(Signed { nonce: NonceStatus::Ok, signature: Verdict::Good { signer, key }, .. }) = &seen[0] else {
        panic!("not a good signature: {seen:?}")
    };
    assert!(signer == "ada@example.org" && key.starts_with("SHA256:"), "{signer} {key}");
}

#[test]
fn who_must_sign_and_does_not_is_told_so() {
    let (source, target, keys) = (Shape::SMALL.repository().borrow(), Repo::bare(), Keys::make());
    let (host, seen) = host(&target, keys.path("allowed"), true);
    let said = source.try_push(&host.url(), &["main"]);
    assert!(said.stderr.contains("! [remote rejected] main -> main (push must be signed)"), "{}", said.stderr);
    let said = push_signed(&source, &keys.path("eve"), &host.url(), &["main"]);
    let expected = "! [remote rejected] main -> main (bad signature on push certificate)";
    assert!(said.stderr.contains(expected), "{}", said.stderr);
    assert!(seen.lock().expect("the list").is_empty(), "a push that must be signed went on");
    assert!(target.refs().is_empty());
    target.assert_no_leftovers();
}

#[test]
fn unless_it_must_be_good_a_signature_refuses_nothing() {
    let (source, target, keys) = (Shape::SMALL.repository().borrow(), Repo::bare(), Keys::make());
    let (host, seen) = host(&target, keys.path("allowed"), false);
    source.push(&host.url(), &["-q", "main"]);
    push_signed(&source, &keys.path("eve"), &host.url(), &["-q", "next"]).expect_success("a push signed by a stranger");
    let seen = seen.lock().expect("the list");
    assert_eq!(seen[0], None);
    let Some(Signed { nonce: NonceStatus::Ok, signature: Verdict::Unknown, .. }) = &seen[1] else { panic!("{seen:?}") };
}

#[test]
fn a_nonce_is_what_git_would_issue() {
    for format in formats() {
        let repo = Repo::init(&["--bare", &format!("--object-format={}", format.name())]);
        // Longer than a block of the hash, and not.
        for (seed, directory) in [("x".repeat(100), "."), ("x".to_owned(), &*"./".repeat(50))] {
            let config = format!("receive.certNonceSeed={seed}");
            let said = repo.git(["-c", &config, "receive-pack", "--http-backend-info-refs", directory]).text();
            let nonce = said.split_whitespace().find_map(|word| word.strip_prefix("push-cert=")).expect("a nonce");
            let seconds = nonce.split('-').next().and_then(|text| text.parse().ok()).expect("seconds");
            assert_eq!(NonceSeed::new(&seed).issue(directory, seconds, format), nonce);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn push_options_that_were_not_signed_refuse_all_refs() {
    let target = Repo::bare();
    let tip = target.commit("main", &[("a", b"a\n")]);
    let request = |signed: &str| {
        let request = Request::new().create("refs/heads/x", &tip).create("refs/heads/y", &tip);
        let headers = format!("certificate version 0.1\npusher A <a@b> 1 +0000\nnonce 1-a\n{signed}");
        request.signed(&headers, "").options(&["one"]).pack(PackBuilder::default().finish()).bytes()
    };
    for (signed, refusal) in [("push-option one\n", None), ("push-option two\n", Some(())), ("", Some(()))] {
        let store = BareRepository::open(target.path()).expect("the repository opens");
        target.git(["update-ref", "--no-deref", "-d", "refs/heads/x"]);
        let reply = heard(&serve(WithOptions(store), Script::of(request(signed))).await.1).1;
        assert_eq!(reply.unpack, "ok");
        if refusal.is_some() {
            let refused = Err("inconsistent push options".to_owned());
            assert_eq!(reply.refs, ["x", "y"].map(|name| (format!("refs/heads/{name}"), refused.clone())));
        } else {
            reply.assert_ok();
        }
    }
}

/// A store that says that it takes push options.
#[derive(Clone)]
struct WithOptions(BareRepository);

impl Store for WithOptions {
    type Quarantine = <BareRepository as Store>::Quarantine;

    async fn advertise(&self) -> Result<receive_pack::proto::Advertisement, Error> {
        Ok(self.0.advertise().await?.with_push_options(true))
    }

    async fn quarantine(
        &self,
        request: &receive_pack::push::UpdateRequest,
        progress: receive_pack::push::Progress,
    ) -> Result<Self::Quarantine, Error> {
        self.0.quarantine(request, progress).await
    }
}

/// Over HTTP the nonce is issued in one request and comes back in another, and nothing is kept between the two.
#[cfg(feature = "http")]
mod http {
    use std::os::unix::fs::PermissionsExt;

    use hyper_util::rt::{TokioExecutor, TokioIo};
    use hyper_util::server::conn::auto::Builder;
    use hyper_util::service::TowerToHyperService;
    use receive_pack::transport::http::{HttpReceivePack, HttpRequest, Refusal, Target};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::runtime::Runtime;

    use super::*;

    /// A server each of whose requests is answered as if by a process of its own: one set of rules issues the nonces,
    /// another judges them.
    struct HttpHost {
        url: String,
        seen: Seen,
        _runtime: Runtime,
    }

    impl HttpHost {
        fn start(target: &Repo, issues: NonceSeed, judges: Rules) -> Self {
            let runtime = Runtime::new().expect("a runtime");
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
            let url = format!("http://{}/repo.git", listener.local_addr().expect("an address"));
            let (path, seen) = (target.path().to_owned(), Seen::default());
            let remembered = Arc::clone(&seen);
            runtime.spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (issues, judges) = (issues.clone(), judges.clone());
                    tokio::spawn(connection(stream, path.clone(), issues, judges, Arc::clone(&remembered)));
                }
            });
            Self { url, seen, _runtime: runtime }
        }
    }

    async fn connection(stream: TcpStream, path: PathBuf, issues: NonceSeed, judges: Rules, seen: Seen) {
        let service = HttpReceivePack::new(move |request: HttpRequest| {
            let (path, issues, judges, seen) = (path.clone(), issues.clone(), judges.clone(), Arc::clone(&seen));
            async move {
                let store = BareRepository::open(&path).expect("the repository opens");
                let seed = if request.is_discovery() { &issues } else { &judges.seed };
                let nonce = nonce(seed, store.object_format());
                let advertisement = store.advertise().await?.with_nonce(nonce);
                Ok::<_, Refusal>(Target::new(advertisement, judges.stack(store, seen)))
            }
        });
        let builder = Builder::new(TokioExecutor::new());
        // The client's side tells of errors.
        let _ = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await;
    }

    /// Somebody who takes two seconds and more to sign.
    fn push_slowly(source: &Repo, keys: &Keys, url: &str) -> Output {
        let slow = keys.path("slow");
        std::fs::write(&slow, "#!/bin/sh\nsleep 2.1\nexec ssh-keygen \"$@\"\n").expect("a program");
        std::fs::set_permissions(&slow, std::fs::Permissions::from_mode(0o755)).expect("a program that can be run");
        source.git(["config", "gpg.ssh.program", slow.to_str().expect("a path of text")]);
        push_signed(source, &keys.path("ada"), url, &["main"])
    }

    /// What becomes of a push whose nonce is two seconds old: what is known of the nonce where it need not be good, and
    /// whether git shows a refusal where it must be.
    #[track_caller]
    fn judged(issues: &NonceSeed, judges: &NonceSeed) -> (NonceStatus, bool) {
        let keys = Keys::make();
        let [known, refused] = [false, true].map(|required| {
            let (source, target) = (Shape::SMALL.repository().borrow(), Repo::bare());
            let rules = Rules { seed: judges.clone(), allowed: keys.path("allowed"), required, stateless: true };
            let host = HttpHost::start(&target, issues.clone(), rules);
            let said = push_slowly(&source, &keys, &host.url);
            let landed = target.refs().iter().any(|(_, id)| *id == source.rev("main"));
            assert_eq!(landed, said.status.success(), "{}", said.stderr);
            target.assert_no_leftovers();
            let seen = host.seen.lock().expect("the list");
            assert_eq!(landed, !seen.is_empty(), "{}", said.stderr);
            (seen.first().cloned().flatten(), said)
        });
        let (Some(Signed { nonce, signature: Verdict::Good { .. }, .. }), _) = known else { panic!("{known:?}") };
        let said = refused.1;
        let is_refused = said.stderr.contains("! [remote rejected] main -> main (bad nonce in push certificate)");
        assert_ne!(is_refused, said.status.success(), "{}", said.stderr);
        (nonce, is_refused)
    }

    #[test]
    fn a_nonce_of_another_request_is_good_within_the_slop() {
        let seed = NonceSeed::new(SEED).slop(60);
        assert_eq!(judged(&seed, &seed), (NonceStatus::Ok, false));
    }

    #[test]
    fn who_takes_longer_than_the_slop_has_a_stale_nonce() {
        let seed = NonceSeed::new(SEED).slop(1);
        let (nonce, is_refused) = judged(&seed, &seed);
        assert!(matches!(nonce, NonceStatus::Slop(2..)) && is_refused, "{nonce:?}");
    }

    #[test]
    fn a_nonce_from_another_seed_is_bad() {
        let (issues, judges) = (NonceSeed::new("another secret").slop(60), NonceSeed::new(SEED).slop(60));
        assert_eq!(judged(&issues, &judges), (NonceStatus::Bad, true));
    }

    #[test]
    fn who_must_sign_and_does_not_is_told_so() {
        let (source, target, keys) = (Shape::SMALL.repository().borrow(), Repo::bare(), Keys::make());
        let seed = NonceSeed::new(SEED).slop(60);
        let rules = Rules { seed: seed.clone(), allowed: keys.path("allowed"), required: true, stateless: true };
        let host = HttpHost::start(&target, seed, rules);
        for (said, reason) in [
            (source.try_push(&host.url, &["main"]), "push must be signed"),
            (push_signed(&source, &keys.path("eve"), &host.url, &["main"]), "bad signature on push certificate"),
        ] {
            let line = format!("! [remote rejected] main -> main ({reason})");
            assert!(said.stderr.contains(&line) && !said.status.success(), "{}", said.stderr);
        }
        assert!(target.refs().is_empty() && host.seen.lock().expect("the list").is_empty());
        target.assert_no_leftovers();
        // And who does sign is let in.
        push_signed(&source, &keys.path("ada"), &host.url, &["main"]).expect_success("a signed push");
        assert_eq!(target.rev("main"), source.rev("main"));
    }
}
