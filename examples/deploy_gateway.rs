//! Push to deploy: takes only the branch `main`, runs a command when it has moved, and shows its output to the pusher.
//!
//! ```sh
//! cargo run --release --example deploy_gateway --features bare-repository -- \
//!     --repository /tmp/app.git -- sh -c 'echo deploying $NEW; git archive $NEW | tar -x -C /srv/app'
//! git push git://127.0.0.1:9418/app.git main
//! ```
//!
//! The command runs in the repository, with the commit in `NEW` and the one before it in `OLD`. One runs at a time; a
//! commit that has been overtaken by the next while it waited is not deployed. What has begun goes on to its end, whether
//! the pusher waits for it or not. What the command leaves running must not keep its output open: `server >log 2>&1 &`.
//!
//! `git://` knows no passwords: whoever reaches the port may push, and so has the command run on what he pushes.

#[path = "forge/signals.rs"]
mod signals;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use clap::Parser;
use receive_pack::checksum::ChecksumLayer;
use receive_pack::proto::{Command, ObjectFormat, Report};
use receive_pack::push::{Progress, Push};
use receive_pack::receive::ReceivePack;
use receive_pack::rules::{RefRules, RulesLayer};
use receive_pack::serve::{refuse, serve};
use receive_pack::store::{BareRepository, Store};
use receive_pack::transport::DaemonRequest;
use receive_pack::{BoxError, Error};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tower::{Layer, Service, ServiceBuilder};

/// Takes pushes to main over git://, and deploys them.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// The repository; made if it is not there.
    #[arg(long)]
    repository: PathBuf,
    /// The object format that it is made in: sha1, or sha256 if the crate's feature of that name is on.
    #[arg(long, default_value = "sha1", value_parser = object_format)]
    object_format: ObjectFormat,
    /// Where to listen; port 0 takes any that is free.
    #[arg(long, default_value = "127.0.0.1:9418")]
    listen: SocketAddr,
    /// The command that deploys, and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Runs the command.
#[derive(Clone, Debug)]
struct Deployer {
    args: Args,
    repository: BareRepository,
    /// Held while the command runs.
    turn: Arc<Mutex<()>>,
}

/// Deploys what the inner service has let in.
#[derive(Clone, Debug)]
struct DeployLayer {
    deployer: Deployer,
}

impl<S> Layer<S> for DeployLayer {
    type Service = Deploy<S>;

    fn layer(&self, inner: S) -> Deploy<S> {
        Deploy { inner, deployer: self.deployer.clone() }
    }
}

#[derive(Clone, Debug)]
struct Deploy<S> {
    inner: S,
    deployer: Deployer,
}

impl<S, B> Service<Push<B>> for Deploy<S>
where
    S: Service<Push<B>, Response = Report, Error = Error>,
    S::Future: Send + 'static,
{
    type Response = Report;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Report, Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, push: Push<B>) -> Self::Future {
        let deployer = self.deployer.clone();
        let commands = push.request().commands().to_vec();
        let progress = push.extensions().get::<Progress>().cloned().unwrap_or_default();
        let taken = self.inner.call(push);
        let all = async move {
            let report = taken.await?;
            // The refs have moved, and the report waits until we are done.
            for (command, outcome) in commands.iter().zip(report.refs()) {
                if outcome.is_ok() {
                    let line = match deployer.deploy(command, &progress).await {
                        Ok(Some(status)) if status.success() => "deployed\n".to_owned(),
                        Ok(Some(status)) => format!("the deployment failed: {status}\n"),
                        Ok(None) => "not deployed: overtaken by another push\n".to_owned(),
                        Err(error) => format!("the deployment cannot be run: {error}\n"),
                    };
                    progress.say(line).await;
                }
            }
            Ok(report)
        };
        Box::pin(async move {
            // In a task of its own: if the pusher hangs up we are dropped, and what has landed must be deployed all the
            // same. Pushed again, it would be up to date.
            tokio::spawn(all).await.map_err(|error| Error::store("a task did not end", error))?
        })
    }
}

impl Deployer {
    /// Runs the command when it is this one's turn, and says each line of its output as it comes. `None` if the ref has
    /// moved on by then.
    async fn deploy(&self, command: &Command, progress: &Progress) -> Result<Option<ExitStatus>, BoxError> {
        let _turn = self.turn.lock().await;
        let current = self.repository.advertise().await?;
        if !current.refs().iter().any(|(name, id)| *name == command.name && *id == command.new) {
            return Ok(None);
        }
        let (program, arguments) = self.args.command.split_first().ok_or("no command")?;
        let (output, input) = std::io::pipe()?;
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .current_dir(&self.args.repository)
            .env("OLD", command.old.to_string())
            .env("NEW", command.new.to_string())
            .stdin(Stdio::null())
            .stdout(input.try_clone()?)
            .stderr(input)
            .spawn()?;
        let output = pipe::Receiver::from_owned_fd(output.into())?;
        let mut lines = BufReader::new(output).split(b'\n');
        while let Some(mut line) = lines.next_segment().await? {
            line.push(b'\n');
            progress.say(line).await;
        }
        Ok(Some(child.wait().await?))
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let args = Args::parse();
    let repository = BareRepository::init(&args.repository, args.object_format)?;
    let listener = TcpListener::bind(args.listen).await?;
    println!("ready: git push git://{}/app.git main", listener.local_addr()?);
    let deployer = Deployer { args, repository, turn: Arc::default() };
    tokio::select! {
        () = accept(listener, deployer.clone()) => {}
        told = signals::told_to_stop() => told?,
    }
    // What is being deployed, or waits for that, is so before the end.
    let _turn = deployer.turn.lock().await;
    Ok(())
}

async fn accept(listener: TcpListener, deployer: Deployer) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file handles, most likely: others must close first.
                eprintln!("no connection can be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let deployer = deployer.clone();
        tokio::spawn(async move {
            if let Err(error) = connection(stream, deployer).await {
                eprintln!("{peer}: {error:?}");
            }
        });
    }
}

async fn connection(stream: TcpStream, deployer: Deployer) -> Result<(), BoxError> {
    let Deployer { args, repository, .. } = deployer.clone();
    let (mut read, write) = stream.into_split();
    let request = tokio::time::timeout(Duration::from_secs(10), DaemonRequest::read(&mut read)).await??;
    if request.service() != "git-receive-pack" {
        return Ok(refuse(write, "only pushes are taken here").await?);
    }
    let advertisement = match repository.advertise().await {
        Ok(advertisement) => advertisement.with_version_1(request.wants_version_1()),
        Err(error) => {
            eprintln!("{}: {error:?}", args.repository.display());
            // Without a word, the pusher would be told to look at his access rights.
            return Ok(refuse(write, error.reason().into_owned()).await?);
        }
    };
    let rules = RefRules::new().allow(["refs/heads/main"]).protect(["refs/heads/main"]);
    let service = ServiceBuilder::new()
        .layer(DeployLayer { deployer })
        .layer(RulesLayer::new(rules.clone()))
        .layer(ChecksumLayer::new())
        .service(ReceivePack::new(repository).pre_receive(rules));
    let served = serve(read, write, advertisement, service).await?;
    if let Some(error) = served.error() {
        // The pusher was told no more than that it was our fault.
        eprintln!("{}: {error:?}", args.repository.display());
    }
    Ok(())
}

fn object_format(name: &str) -> Result<ObjectFormat, String> {
    ObjectFormat::from_name(name.as_bytes()).ok_or_else(|| format!("this build does not know the object format {name}"))
}
