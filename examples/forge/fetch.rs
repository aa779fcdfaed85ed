//! Fetches and clones, by the installed git.

use std::path::Path;
use std::process::Stdio;

use receive_pack::BoxError;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::activity::Patience;

/// Starts `git upload-pack` in a repository; it ends when the value is dropped, or when the client neither sends nor
/// takes anything.
pub(crate) fn start(
    repository: &Path,
    patience: Patience,
    options: &[&str],
    protocol: Option<&str>,
) -> Result<Child, BoxError> {
    let mut command = Command::new("git");
    command.arg("upload-pack").arg(format!("--timeout={}", patience.next.as_secs()));
    command.args(options).arg(repository).env_remove("GIT_PROTOCOL");
    if let Some(protocol) = protocol {
        command.env("GIT_PROTOCOL", protocol);
    }
    Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?)
}

/// The two ends of a process that [`start`] gave.
pub(crate) fn pipes(child: &mut Child) -> Result<(ChildStdin, ChildStdout), BoxError> {
    Ok((child.stdin.take().ok_or("no pipe")?, child.stdout.take().ok_or("no pipe")?))
}

/// One fetch over a byte stream.
pub(crate) async fn over(
    mut read: impl AsyncRead + Unpin,
    mut write: impl AsyncWrite + Unpin,
    repository: &Path,
    patience: Patience,
    protocol: Option<&str>,
) -> Result<(), BoxError> {
    let mut child = start(repository, patience, &[], protocol)?;
    let (mut stdin, mut stdout) = pipes(&mut child)?;
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
    child.wait().await?;
    Ok(())
}
