//! An SSH server within the test that lets everybody in: what a client sends to its command is the test's to take.

use std::sync::Arc;
use std::time::Duration;

use russh::keys::{Algorithm, PrivateKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, run_stream};
use russh::{Channel, ChannelId, ChannelStream};
use tokio::net::TcpStream;

/// Serves one connection, and hands the channel of its first command to `run`. Buffers are as large as russh makes them,
/// and the example `forge` leaves them.
pub async fn serve<F, Fut>(stream: TcpStream, run: F)
where
    F: FnOnce(ChannelStream<Msg>) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).expect("a key");
    let config = Config { keys: vec![key], auth_rejection_time_initial: Some(Duration::ZERO), ..Config::default() };
    let session = run_stream(Arc::new(config), stream, Connection { run: Some(run), channel: None }).await;
    // The client's side tells of errors.
    if let Ok(session) = session {
        let _ = session.await;
    }
}

struct Connection<F> {
    run: Option<F>,
    channel: Option<Channel<Msg>>,
}

impl<F, Fut> Handler for Connection<F>
where
    F: FnOnce(ChannelStream<Msg>) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    type Error = russh::Error;

    async fn auth_none(&mut self, _: &str) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channel = Some(channel);
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, _: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        session.channel_success(id)?;
        if let (Some(run), Some(channel)) = (self.run.take(), self.channel.take()) {
            tokio::spawn(run(channel.into_stream()));
        }
        Ok(())
    }
}
