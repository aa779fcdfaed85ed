//! Fetches and clones, by the installed git.

use std::path::Path;
use std::process::Stdio;

use receive_pack::BoxError;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::OwnedSemaphorePermit;

use crate::repositories::Repositories;

/// A `git upload-pack`, which ends when this is dropped, and its place among those that may run.
pub(crate) struct Fetch {
    child: Child,
    _place: OwnedSemaphorePermit,
}

/// Starts `git upload-pack` in a repository, once it may run; it ends, too, when the client neither sends nor takes
/// anything.
pub(crate) async fn start(
    repositories: &Repositories,
    repository: &Path,
    options: &[&str],
    protocol: Option<&str>,
) -> Result<(Fetch, ChildStdin, ChildStdout), BoxError> {
    let place = repositories.fetch().await?;
    let mut command = Command::new("git");
    command.arg("upload-pack").arg(format!("--timeout={}", repositories.patience().next.as_secs()));
    command.args(options).arg(repository).env_remove("GIT_PROTOCOL");
    if let Some(protocol) = protocol {
        command.env("GIT_PROTOCOL", protocol);
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let (stdin, stdout) = (child.stdin.take().ok_or("no pipe")?, child.stdout.take().ok_or("no pipe")?);
    Ok((Fetch { child, _place: place }, stdin, stdout))
}

/// One fetch over a byte stream.
pub(crate) async fn over(
    mut read: impl AsyncRead + Unpin,
    mut write: impl AsyncWrite + Unpin,
    repositories: &Repositories,
    repository: &Path,
    protocol: Option<&str>,
) -> Result<(), BoxError> {
    let (mut fetch, mut stdin, mut stdout) = start(repositories, repository, &[], protocol).await?;
    // The client may keep its side open; git has said all it has to say when its output ends.
    tokio::select! {
        biased;
        said = tokio::io::copy(&mut stdout, &mut write) => said?,
        _ = async {
            let _ = tokio::io::copy(&mut read, &mut stdin).await;
            drop(stdin);
            std::future::pending::<()>().await;
        } => 0,
    };
    write.shutdown().await?;
    fetch.child.wait().await?;
    Ok(())
}
