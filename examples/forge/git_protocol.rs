//! git://

use receive_pack::BoxError;
use receive_pack::serve;
use receive_pack::transport::DaemonRequest;
use tokio::net::{TcpListener, TcpStream};

use crate::fetch;
use crate::repositories::Repositories;
use crate::shutdown::Tasks;

pub(crate) async fn serve(listener: TcpListener, repositories: Repositories, tasks: Tasks) -> Result<(), BoxError> {
    let handle = |stream, slot| {
        let repositories = repositories.clone();
        async move {
            let result = connection(stream, repositories).await;
            drop(slot);
            result
        }
    };
    tasks.accept(listener, handle).await
}

async fn connection(stream: TcpStream, repositories: Repositories) -> Result<(), BoxError> {
    let (mut read, write) = stream.into_split();
    let request = tokio::time::timeout(repositories.patience().first, DaemonRequest::read(&mut read)).await??;
    let path = String::from_utf8_lossy(request.path()).into_owned();
    match request.service() {
        "git-upload-pack" => {
            if let Some(repository) = repositories.find(&path) {
                let words: Vec<_> = request.extra_parameters().map(String::from_utf8_lossy).collect();
                return fetch::over(read, write, &repositories, &repository, Some(&words.join(":"))).await;
            }
        }
        "git-receive-pack" => {
            if let Some(opened) = repositories.open(&path).await {
                let (repository, advertisement) = match opened {
                    Ok(opened) => opened,
                    // Without a word, the pusher would be told to look at his access rights.
                    Err(error) => return Ok(serve::refuse(write, error.reason().into_owned()).await?),
                };
                let advertisement = advertisement.with_version_1(request.wants_version_1());
                let service = repositories.stack(repository, path);
                repositories.serve(true).serve(read, write, advertisement, service).await?;
                return Ok(());
            }
        }
        _ => {}
    }
    Ok(serve::refuse(write, format!("access denied or repository not exported: {path}")).await?)
}
