//! nginx between git and the server: it buffers requests and answers, and speaks HTTP/1.0 to what stands behind it.

#![cfg(all(feature = "bare-repository", feature = "http"))]

mod support;

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::forge::Forge;
use support::git::{Repo, assert_same_repository};
use support::rng::Rng;

/// A running nginx, in front of a server.
struct Nginx {
    child: Child,
    address: String,
    _dir: tempfile::TempDir,
}

impl Nginx {
    /// `None` where there is no nginx; in CI there must be one.
    fn start(upstream: &str) -> Option<Self> {
        if Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_err() {
            assert!(std::env::var_os("CI").is_none(), "CI must have nginx");
            println!("skipped: nginx is not installed");
            return None;
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let (address, path) = (free.to_string(), dir.path().display());
        let config = format!(
            "daemon off;\nworker_processes 1;\npid {path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n\
             access_log off;\nclient_body_temp_path {path}/body;\nproxy_temp_path {path}/proxy;\n\
             fastcgi_temp_path {path}/f;\nuwsgi_temp_path {path}/u;\nscgi_temp_path {path}/s;\n\
             client_max_body_size 0;\nserver {{ listen {address}; location / {{ proxy_pass http://{upstream}; }} }}\n}}\n"
        );
        let file = dir.path().join("nginx.conf");
        std::fs::write(&file, config).expect("a configuration");
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&file).arg("-p").arg(dir.path()).stderr(Stdio::null());
        let child = command.spawn().expect("nginx starts");
        let nginx = Self { child, address, _dir: dir };
        let end = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(&nginx.address).is_err() {
            assert!(Instant::now() < end, "nginx does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its master ends its worker when it is asked to, not when it is killed.
        let mut kill = Command::new("kill");
        let _ = kill.args(["-QUIT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

#[test]
fn git_pushes_through_a_proxy_that_buffers() {
    let forge = Forge::start(&["--pack-bytes", "30000000"]);
    let Some(nginx) = Nginx::start(forge.http()) else { return };
    let url = format!("http://{}/demo.git", nginx.address);
    let source = Repo::bare();
    // Small, with a Content-Length; then large: a probe, and chunks.
    source.commit("main", &[("a", b"a\n")]);
    source.push(&url, &["-q", "main"]);
    source.commit("main", &[("b", &Rng::new(1).bytes(20 << 20))]);
    source.push(&url, &["-q", "main"]);
    assert_same_repository(&source, &forge.repository("demo.git"));

    source.commit("large", &[("c", &Rng::new(2).bytes(40 << 20))]);
    let said = source.try_push(&url, &["large"]);
    assert!(!said.status.success() && said.stderr.contains("[remote rejected]"), "{}", said.stderr);
    assert!(said.stderr.contains("pack exceeds maximum allowed size"), "{}", said.stderr);
}
