//! Pushes over SSH into bare repositories, with russh; fetches are handed to the installed `git upload-pack`.
//!
//! ```sh
//! cargo run --release --example ssh_server --features bare-repository -- \
//!     --root /tmp/repos --auto-init --authorized-keys ~/.ssh/authorized_keys
//! git push ssh://git@127.0.0.1:2222/demo.git HEAD:refs/heads/main
//! ```
//!
//! The channel of an exec request is an `AsyncRead + AsyncWrite`, and that is all this crate sees of SSH.

#[path = "forge/activity.rs"]
mod activity;
#[path = "forge/fetch.rs"]
mod fetch;
#[path = "forge/leash.rs"]
mod leash;
#[path = "forge/repositories.rs"]
mod repositories;
#[path = "forge/shutdown.rs"]
mod shutdown;
#[path = "forge/signals.rs"]
mod signals;
#[path = "forge/ssh.rs"]
mod ssh;

use std::time::Duration;

use clap::Parser;
use receive_pack::BoxError;
use tokio::net::TcpListener;

/// Serves bare repositories over SSH.
#[derive(Clone, Debug, Parser)]
struct Args {
    #[command(flatten)]
    repositories: repositories::RepositoryArgs,
    #[command(flatten)]
    ssh: ssh::SshArgs,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let args = Args::parse();
    let repositories = repositories::Repositories::new(args.repositories)?;
    let server = ssh::Server::new(&args.ssh, repositories)?.ok_or("--authorized-keys is needed")?;
    let tasks = shutdown::Tasks::new(256);
    let listener = TcpListener::bind(args.ssh.ssh).await?;
    println!("ready: git push ssh://git@{}/demo.git HEAD:refs/heads/main", listener.local_addr()?);
    tasks.spawn(server.serve(listener, tasks.clone()));
    Ok(tasks.finish(signals::told_to_stop(), Duration::from_secs(30)).await?)
}
