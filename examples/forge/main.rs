//! A small forge: bare repositories in one directory, over HTTP, SSH and git:// at once. Pushes go through this crate;
//! fetches and clones are handed to the installed `git upload-pack`.
//!
//! ```sh
//! cargo run --release --example forge --features bare-repository,http -- --root /tmp/repos --auto-init
//! git push http://127.0.0.1:8080/demo.git HEAD:refs/heads/main
//! git clone git://127.0.0.1/demo.git
//! ```
//!
//! SSH needs to know who may come in: `--authorized-keys ~/.ssh/authorized_keys` switches it on. Over HTTP and git://
//! whoever reaches the port may push, so both listen on this machine only, unless told otherwise.

mod activity;
mod fetch;
mod git_protocol;
mod leash;
mod repositories;
mod shutdown;
mod signals;
mod ssh;
mod web;

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use receive_pack::BoxError;
use tokio::net::TcpListener;

use self::repositories::Repositories;
use self::shutdown::Tasks;

/// Serves bare repositories over HTTP, SSH and git://.
#[derive(Clone, Debug, Parser)]
struct Args {
    #[command(flatten)]
    repositories: repositories::RepositoryArgs,
    /// Where to listen for HTTP; port 0 takes any that is free.
    #[arg(long, default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Where to listen for git://.
    #[arg(long, default_value = "127.0.0.1:9418")]
    git: SocketAddr,
    #[command(flatten)]
    web: web::HttpArgs,
    #[command(flatten)]
    ssh: ssh::SshArgs,
    /// Connections of each kind that are held at the same time.
    #[arg(long, default_value_t = 512)]
    connections: usize,
    /// Seconds that running pushes are given when the process is told to stop.
    #[arg(long, default_value_t = 30)]
    grace: u64,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let args = Args::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let repositories = Repositories::new(args.repositories)?;
    let tasks = Tasks::new(args.connections);

    let http = TcpListener::bind(args.http).await?;
    println!("ready: git push http://{}/demo.git HEAD:refs/heads/main", http.local_addr()?);
    tasks.spawn(web::serve(http, repositories.clone(), args.web, tasks.clone()));

    let git = TcpListener::bind(args.git).await?;
    println!("ready: git push git://{}/demo.git HEAD:refs/heads/main", git.local_addr()?);
    tasks.spawn(git_protocol::serve(git, repositories.clone(), tasks.clone()));

    if let Some(server) = ssh::Server::new(&args.ssh, repositories)? {
        let listener = TcpListener::bind(args.ssh.ssh).await?;
        println!("ready: git push ssh://git@{}/demo.git HEAD:refs/heads/main", listener.local_addr()?);
        tasks.spawn(server.serve(listener, tasks.clone()));
    }
    println!("all ready");
    Ok(tasks.finish(signals::told_to_stop(), Duration::from_secs(args.grace)).await?)
}
