//! An SSH client of which a test sees each message.

use std::path::Path;
use std::sync::Arc;

use russh::client::{self, Handle, Handler};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key};
use russh::{Channel, ChannelMsg};

use super::server::in_time;

/// Trusts every host.
#[derive(Debug)]
pub struct Trusting;

impl Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

/// A connection to a server, over which nobody has logged in.
pub async fn connect(address: &str) -> Handle<Trusting> {
    in_time(client::connect(Arc::default(), address, Trusting)).await.expect("the server speaks SSH")
}

/// Whether the server lets the holder of this key in.
pub async fn log_in(handle: &mut Handle<Trusting>, key: &Path) -> bool {
    let key = load_secret_key(key, None).expect("a key");
    let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
    in_time(handle.authenticate_publickey("git", key)).await.expect("an answer").success()
}

/// What a server answers to a command.
#[derive(Debug, Default)]
pub struct Answer {
    pub stdout: Vec<u8>,
    pub stderr: String,
    /// The names of the messages, in their order, each run of the same once.
    pub order: Vec<&'static str>,
    pub exit_status: Option<u32>,
}

/// Runs a command, gives it `input`, and keeps this side open.
pub async fn exec(handle: &Handle<Trusting>, command: &[u8], input: &[u8]) -> Answer {
    let mut channel = in_time(handle.channel_open_session()).await.expect("a channel");
    channel.exec(true, command).await.expect("the server reads");
    if !input.is_empty() {
        channel.data_bytes(input.to_vec()).await.expect("the server reads");
    }
    answer(&mut channel).await
}

async fn answer(channel: &mut Channel<client::Msg>) -> Answer {
    let mut answer = Answer::default();
    while let Some(message) = in_time(channel.wait()).await {
        let name = match message {
            ChannelMsg::Success => "success",
            ChannelMsg::Failure => "failure",
            ChannelMsg::Data { data } => {
                answer.stdout.extend_from_slice(&data);
                "stdout"
            }
            ChannelMsg::ExtendedData { data, .. } => {
                answer.stderr.push_str(&String::from_utf8_lossy(&data));
                "stderr"
            }
            ChannelMsg::ExitStatus { exit_status } => {
                answer.exit_status = Some(exit_status);
                "exit-status"
            }
            ChannelMsg::Eof => "eof",
            ChannelMsg::Close => "close",
            // The window, which is no matter of ours.
            _ => continue,
        };
        if answer.order.last() != Some(&name) {
            answer.order.push(name);
        }
    }
    answer
}
