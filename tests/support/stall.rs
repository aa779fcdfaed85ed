//! A line between a client and a server, on which the client seems to fall silent.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// Passes connections on to a server, and when a client has said `after` bytes, nothing of it for so long. Gives the
/// address.
#[track_caller]
pub fn stalling(server: SocketAddr, after: usize, silence: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.expect("a connection");
            let server = TcpStream::connect(server).expect("the server listens");
            let (mut back, mut out) = (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
            thread::spawn(move || io::copy(&mut back, &mut out).and_then(|_| out.shutdown(Shutdown::Write)));
            thread::spawn(move || {
                if pass(&client, &server, after, silence).is_err() {
                    // As a reset would be felt.
                    let _ = client.shutdown(Shutdown::Both);
                }
            });
        }
    });
    address
}

fn pass(mut client: &TcpStream, mut server: &TcpStream, after: usize, silence: Duration) -> io::Result<()> {
    let (mut buffer, mut left) = ([0; 1 << 14], after);
    loop {
        let len = client.read(&mut buffer)?;
        if len == 0 {
            return server.shutdown(Shutdown::Write);
        }
        if len > left {
            thread::sleep(silence);
            left = usize::MAX;
        }
        left -= len;
        server.write_all(&buffer[..len])?;
    }
}
