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
use receive_pack::proto::Certificate;
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
use tower::ServiceBuilder;

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

/// A host for `target` that looks at certificates, and remembers what reached the store.
fn host(target: &Repo, allowed: PathBuf, required: bool) -> (Host, Seen) {
    let (path, seen) = (target.path().to_owned(), Seen::default());
    let remembered = Arc::clone(&seen);
    let host = Host::start(move || {
        let (path, allowed, seen) = (path.clone(), allowed.clone(), Arc::clone(&remembered));
        async move {
            let store = BareRepository::open(&path).expect("the repository opens");
            let seed = NonceSeed::new(SEED);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
            let nonce = seed.issue("/repo.git", now, store.object_format());
            let advertisement = store.advertise().await.expect("an advertisement").with_push_options(true);
            let certificates = CertificateLayer::new(move |certificate: Certificate| {
                let allowed = allowed.clone();
                async move {
                    let verified = tokio::task::spawn_blocking(move || verify(&allowed, &certificate)).await;
                    verified.map_err(|error| Error::store("the verification did not end", error))
                }
            });
            let service = ServiceBuilder::new()
                .layer(certificates.nonce(seed, "/repo.git").required(required))
                .layer(ChecksumLayer::new())
                .map_request(move |push: receive_pack::push::Push<_>| {
                    seen.lock().expect("the list").push(push.extensions().get::<Signed>().cloned());
                    push
                })
                .service(ReceivePack::new(store));
            (advertisement.with_nonce(nonce), service)
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
