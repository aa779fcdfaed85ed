//! S3 servers, each a process of its own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;

use super::line::eventually;
use super::server::Log;

/// Where `.ci/run` installs them.
fn installed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/venv/bin").join(name)
}

/// A server that keeps what it is sent on the disk, until it is dropped.
#[derive(Debug)]
pub struct S3 {
    child: Child,
    log: Log,
    address: String,
    _dir: tempfile::TempDir,
}

const BUCKET: &str = "repositories";

impl S3 {
    /// SeaweedFS, which keeps to the conditions of a put; `None` where it is not installed.
    #[track_caller]
    pub fn seaweedfs() -> Option<Self> {
        Self::start("weed", |command, dir, ports| {
            command.arg(format!("-logdir={}", dir.display())).arg("server").arg(format!("-dir={}", dir.display()));
            command.args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-volume.max=0", "-s3"]);
            // Ports that it would take without being asked.
            command.args(["-s3.port.iceberg=0", "-s3.port.lance=0"]);
            let names = ["s3", "s3.grpc", "master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc"];
            for (name, port) in names.iter().zip(ports) {
                let (part, grpc) = name.split_once('.').map_or((*name, ""), |(part, _)| (part, ".grpc"));
                command.arg(format!("-{part}.port{grpc}={port}"));
            }
        })
    }

    /// rclone, which answers a put with success and does not look at its conditions; `None` where it is not installed.
    #[track_caller]
    pub fn rclone() -> Option<Self> {
        Self::start("rclone", |command, dir, ports| {
            command.args(["serve", "s3", "--addr"]).arg(format!("127.0.0.1:{}", ports[0])).arg(dir);
        })
    }

    #[track_caller]
    fn start(program: &str, arguments: impl FnOnce(&mut Command, &Path, &[u16])) -> Option<Self> {
        let program = installed(program);
        if !program.exists() {
            assert!(std::env::var_os("CI").is_none(), "{} is not installed", program.display());
            eprintln!("skipped: {} is not installed", program.display());
            return None;
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        // All at once, so that no two are the same.
        let listeners = [(); 8].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let ports = listeners.map(|listener| listener.local_addr().expect("an address").port());
        let mut command = Command::new(program);
        arguments(&mut command, dir.path(), &ports);
        let log = Log::new();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.writer()).current_dir(dir.path());
        let child = command.spawn().expect("the server starts");
        let server = Self { child, log, address: format!("127.0.0.1:{}", ports[0]), _dir: dir };
        eventually("the server takes a bucket", || server.makes_bucket().unwrap_or(false));
        Some(server)
    }

    /// Whether the bucket is there now, or was before. It answers requests before it can do what they ask.
    fn makes_bucket(&self) -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let head = format!("PUT /{BUCKET} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", self.address);
        stream.write_all(head.as_bytes())?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(matches!(&status[9..], b"200" | b"409"))
    }

    /// The bucket that repositories are in.
    #[track_caller]
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        store_at(&self.address)
    }

    /// Where it listens, as `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What a program has to know of it.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "any".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "any-secret".to_owned()),
        ]
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        format!("s3://{BUCKET}/")
    }
}

/// The bucket of a server that another process has started.
#[track_caller]
pub fn store_at(address: &str) -> Arc<dyn ObjectStore> {
    // Of those that TLS can be had with; nobody here speaks it, but it has to be there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let store = AmazonS3Builder::new()
        .with_endpoint(format!("http://{address}"))
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_bucket_name(BUCKET)
        .with_access_key_id("any")
        .with_secret_access_key("any-secret");
    Arc::new(store.build().expect("a store"))
}

impl Drop for S3 {
    fn drop(&mut self) {
        // If it has died already, the test has failed for that.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
