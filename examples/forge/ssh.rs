//! SSH, with russh: users are who has a key in the file of authorized keys. The options that sshd knows, such as
//! `from=` or `cert-authority`, are not known here, and a key that has any lets nobody in.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use receive_pack::BoxError;
use receive_pack::transport::SshCommand;
use russh::keys::{Algorithm, PrivateKey, PublicKey, load_secret_key};
use russh::server::{Auth, ChannelOpenHandle, Config, Handle, Handler, Msg, Session, VerifiedPublicKey, run_stream};
use russh::{Channel, ChannelId, ChannelOpenFailure, ChannelStream};
use tokio::io::{AsyncWrite, ReadHalf, WriteHalf};
use tokio::net::TcpListener;

use crate::activity::{Activity, Patience};
use crate::fetch;
use crate::leash::Leash;
use crate::repositories::Repositories;
use crate::shutdown::Tasks;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SshArgs {
    /// Where to listen for SSH.
    #[arg(long, default_value = "127.0.0.1:2222")]
    pub(crate) ssh: SocketAddr,
    /// A file of public keys, one a line as sshd reads them: who may come in over SSH. Keys with options are skipped.
    #[arg(long)]
    authorized_keys: Option<PathBuf>,
    /// The private key of the server; made anew at each start if none is given.
    #[arg(long)]
    host_key: Option<PathBuf>,
}

/// An SSH server.
#[derive(Debug)]
pub(crate) struct Server {
    config: Arc<Config>,
    keys: Arc<Vec<PublicKey>>,
    repositories: Repositories,
}

impl Server {
    /// A server for the holders of the authorized keys; `None` if there is no file of them.
    pub(crate) fn new(args: &SshArgs, repositories: Repositories) -> Result<Option<Self>, BoxError> {
        let Some(path) = &args.authorized_keys else { return Ok(None) };
        let keys = authorized_keys(path)?;
        let host_key = match &args.host_key {
            Some(path) => load_secret_key(path, None)?,
            None => PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519)?,
        };
        let config = Config {
            keys: vec![host_key],
            auth_rejection_time_initial: Some(Duration::ZERO),
            // A client compresses its pack in silence; whether it still lives, keep-alives find out.
            inactivity_timeout: None,
            keepalive_interval: Some(Duration::from_secs(30)),
            // While a command does not read what the client sends, russh takes no more than this of what we say: if a
            // push had to say more before it reads on, it would wait for itself. Russh's default is 10 lines.
            event_buffer_size: 64,
            ..Config::default()
        };
        Ok(Some(Self { config: Arc::new(config), keys: Arc::new(keys), repositories }))
    }

    pub(crate) async fn serve(self, listener: TcpListener, tasks: Tasks) -> Result<(), BoxError> {
        let patience = self.repositories.patience();
        let handle = |stream, slot| {
            let activity = Activity::default();
            // A session runs in a task of russh's, and is ended where it reads and writes.
            let patience = Patience { next: patience.first, ..patience };
            let stream = Leash::new(stream, activity.clone().stands_still(patience, tasks.stopping()));
            let connection = Connection {
                activity,
                keys: Arc::clone(&self.keys),
                repositories: self.repositories.clone(),
                tasks: tasks.clone(),
                channels: HashMap::new(),
                protocol: None,
            };
            let config = Arc::clone(&self.config);
            async move {
                let session = run_stream(config, stream, connection).await?;
                let result = session.await;
                drop(slot);
                result
            }
        };
        tasks.accept(listener, handle).await
    }
}

/// The keys of a file that stand there without options: the others mean less than that somebody may push.
fn authorized_keys(path: &Path) -> Result<Vec<PublicKey>, BoxError> {
    let mut keys = Vec::new();
    for (index, line) in std::fs::read_to_string(path)?.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.parse() {
            Ok(key) => keys.push(key),
            Err(_) => eprintln!("{}, line {}: skipped, for it is no key without options", path.display(), index + 1),
        }
    }
    Ok(keys)
}

/// What is known of one connection.
struct Connection {
    activity: Activity,
    keys: Arc<Vec<PublicKey>>,
    repositories: Repositories,
    tasks: Tasks,
    channels: HashMap<ChannelId, Channel<Msg>>,
    protocol: Option<String>,
}

/// Channels of one connection that may wait for a command.
const CHANNELS: usize = 8;

impl Handler for Connection {
    type Error = BoxError;

    async fn auth_publickey(&mut self, _: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, BoxError> {
        let is_known = self.keys.iter().any(|known| known.key_data() == key.public_key.key_data());
        Ok(if is_known { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), BoxError> {
        if self.channels.len() < CHANNELS {
            self.channels.insert(channel.id(), channel);
            reply.accept().await;
        } else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
        }
        Ok(())
    }

    async fn env_request(&mut self, _: ChannelId, name: &str, value: &str, _: &mut Session) -> Result<(), BoxError> {
        if name == "GIT_PROTOCOL" {
            self.protocol = Some(value.to_owned());
        }
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, line: &[u8], session: &mut Session) -> Result<(), BoxError> {
        let Some(channel) = self.channels.remove(&id) else { return Ok(session.channel_failure(id)?) };
        // The answer to the request goes out before the advertisement does.
        session.channel_success(id)?;
        let command = Command {
            line: SshCommand::parse(line),
            repositories: self.repositories.clone(),
            protocol: self.protocol.clone(),
        };
        let (handle, running) = (session.handle(), self.activity.begin());
        self.tasks.spawn(async move {
            let result = command.run(channel, handle.clone()).await;
            // What is left to say must not wait for a client that does not read.
            drop(running);
            if let Err(error) = result {
                // Where ssh shows it, and git its user.
                let _ = handle.extended_data(id, 1, format!("fatal: {error}\n")).await;
                let _ = handle.exit_status_request(id, 128).await;
                let _ = handle.eof(id).await;
            }
            let _ = handle.close(id).await;
            Ok(())
        });
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), BoxError> {
        self.channels.remove(&id);
        Ok(())
    }
}

/// One exec request.
struct Command {
    line: Option<SshCommand>,
    repositories: Repositories,
    protocol: Option<String>,
}

impl Command {
    async fn run(self, channel: Channel<Msg>, handle: Handle) -> Result<(), BoxError> {
        let line = self.line.ok_or("only git is served here")?;
        let path = String::from_utf8_lossy(line.path()).into_owned();
        match line.service() {
            "git-upload-pack" => {
                if let Some(repository) = self.repositories.find(&path) {
                    let (read, write) = ends(channel, handle);
                    return fetch::over(read, write, &self.repositories, &repository, self.protocol.as_deref()).await;
                }
            }
            "git-receive-pack" => {
                if let Some(opened) = self.repositories.open(&path).await {
                    let (repository, advertisement) = opened.map_err(|error| error.reason())?;
                    // Of several versions the highest counts, and of version 2 there is none for a push.
                    let version_1 = self.protocol.is_some_and(|list| {
                        let asked = |version| list.split(':').any(|word| word == version);
                        asked("version=1") && !asked("version=2")
                    });
                    let advertisement = advertisement.with_version_1(version_1);
                    let service = self.repositories.stack(repository, path.clone());
                    let (read, write) = ends(channel, handle);
                    let served = self.repositories.serve(false).serve(read, write, advertisement, service).await;
                    // The client was told what there is to tell, and its channel has ended.
                    if let Err(error) = served {
                        eprintln!("a client of {path:?}: {error:?}");
                    }
                    return Ok(());
                }
            }
            _ => return Err("only git is served here".into()),
        }
        Err(format!("'{path}' does not appear to be a git repository").into())
    }
}

/// The two sides of a channel. It closes when they are dropped, after which nothing can be said on it: they are made when
/// nothing can fail any more that the client should hear of.
fn ends(
    channel: Channel<Msg>,
    handle: Handle,
) -> (ReadHalf<ChannelStream<Msg>>, Writer<WriteHalf<ChannelStream<Msg>>>) {
    let id = channel.id();
    let (read, inner) = tokio::io::split(channel.into_stream());
    (read, Writer { inner, exit: Exit::Wanted { handle, id } })
}

/// The writing side of a channel. What ends it is the exit status, and then the end of the data.
struct Writer<W> {
    inner: W,
    exit: Exit,
}

enum Exit {
    Wanted { handle: Handle, id: ChannelId },
    Sending(Pin<Box<dyn Future<Output = ()> + Send>>),
    Sent,
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Writer<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.exit = match &mut self.exit {
                Exit::Wanted { handle, id } => {
                    let (handle, id) = (handle.clone(), *id);
                    Exit::Sending(Box::pin(async move {
                        // Fails if the client is gone.
                        let _ = handle.exit_status_request(id, 0).await;
                    }))
                }
                Exit::Sending(sending) => {
                    ready!(sending.as_mut().poll(cx));
                    Exit::Sent
                }
                Exit::Sent => return Pin::new(&mut self.inner).poll_shutdown(cx),
            };
        }
    }
}
