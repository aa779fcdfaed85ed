//! The client's side of a connection to a forge, by hand: for what git would never do.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::forge::Forge;
use super::request::pkt;

/// Waits for what must come in the end; how long a slow machine takes for it is no matter.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An open connection. Dropped, it is cut: over SSH by the death of the client's ssh.
#[derive(Debug)]
pub enum Line {
    Tcp(TcpStream),
    Ssh(Child),
}

impl Line {
    /// A connection over which nothing was said.
    #[track_caller]
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the forge listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        Self::Tcp(stream)
    }

    /// Connects to push into a repository over `git`, `http` or `ssh`, and says all that comes before the push itself.
    #[track_caller]
    pub fn open(forge: &Forge, transport: &str, name: &str) -> Self {
        if transport == "ssh" {
            let (host, port) = forge.ssh().split_once(':').expect("a host and a port");
            let ssh = forge.ssh_command();
            let mut command = Command::new("sh");
            command.args(["-c", &format!("exec {ssh} -p {port} git@{host} \"git-receive-pack '/{name}'\"")]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            return Self::Ssh(command.spawn().expect("ssh starts"));
        }
        let mut line = Self::connect(if transport == "git" { forge.git() } else { forge.http() });
        line.send(&hello(transport, name));
        line
    }

    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        let sent = match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Ssh(child) => {
                let stdin = child.stdin.as_mut().expect("a pipe");
                stdin.write_all(bytes).and_then(|()| stdin.flush())
            }
        };
        sent.expect("the forge reads");
    }

    /// The end of what this side says.
    pub fn finish(&mut self) {
        match self {
            // The server may have closed already.
            Self::Tcp(stream) => drop(stream.shutdown(Shutdown::Write)),
            Self::Ssh(child) => drop(child.stdin.take()),
        }
    }

    /// Some of what the server says.
    #[track_caller]
    pub fn read(&mut self) -> String {
        let mut said = [0; 4096];
        let read = match self {
            Self::Tcp(stream) => stream.read(&mut said),
            Self::Ssh(child) => child.stdout.as_mut().expect("a pipe").read(&mut said),
        };
        String::from_utf8_lossy(&said[..read.expect("the server speaks")]).into_owned()
    }

    /// All that the server says until it closes, while this side stays open.
    #[track_caller]
    pub fn read_to_end(&mut self) -> String {
        let mut said = Vec::new();
        let read = match self {
            Self::Tcp(stream) => stream.read_to_end(&mut said),
            Self::Ssh(child) => child.stdout.as_mut().expect("a pipe").read_to_end(&mut said),
        };
        read.expect("the server closes");
        String::from_utf8_lossy(&said).into_owned()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Self::Ssh(child) = self {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What comes before a push over `git` or `http`; more of it seems to come than ever will.
pub fn hello(transport: &str, name: &str) -> Vec<u8> {
    match transport {
        "git" => pkt(format!("git-receive-pack /{name}\0host=x\0")),
        "http" => format!(
            "POST /{name}/git-receive-pack HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999\r\n\
             content-type: application/x-git-receive-pack-request\r\n\r\n"
        )
        .into_bytes(),
        other => panic!("no transport {other}"),
    }
}
