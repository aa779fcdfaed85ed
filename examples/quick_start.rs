//! A server for one repository, over `git://`.

use std::time::Duration;

use receive_pack::BoxError;
use receive_pack::checksum::ChecksumLayer;
use receive_pack::limit::LimitLayer;
use receive_pack::receive::ReceivePack;
use receive_pack::serve::{refuse, serve};
use receive_pack::store::{BareRepository, Store};
use receive_pack::transport::DaemonRequest;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let repository = BareRepository::init("/tmp/demo.git", Default::default())?;
    let listener = TcpListener::bind("127.0.0.1:9418").await?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Pushes that still go on are dropped at the end, and roll back; the runtime waits for those whose refs already move.
    tokio::select! {
        () = accept(listener, repository) => Ok(()),
        _ = terminate.recv() => Ok(()),
        pressed = ctrl_c() => Ok(pressed?),
    }
}

async fn accept(listener: TcpListener, repository: BareRepository) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of file handles, most likely: others must close first.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let push = push(stream, repository.clone());
        tokio::spawn(async move { push.await.inspect_err(|error| eprintln!("{peer}: {error:?}")) });
    }
}

async fn push(stream: TcpStream, repository: BareRepository) -> Result<(), BoxError> {
    let (mut read, write) = stream.into_split();
    let request = timeout(Duration::from_secs(10), DaemonRequest::read(&mut read)).await??;
    if request.service() != "git-receive-pack" {
        return Ok(refuse(write, "only pushes are taken here").await?);
    }
    let advertisement = match repository.advertise().await {
        Ok(advertisement) => advertisement,
        Err(error) => {
            // The pusher is told no more than that it was our fault.
            let _ = refuse(write, error.reason().into_owned()).await;
            return Err(error.into());
        }
    };
    let service = ServiceBuilder::new()
        .layer(LimitLayer::new().pack_bytes(1 << 30))
        .layer(ChecksumLayer::new())
        .service(ReceivePack::new(repository));
    let served = serve(read, write, advertisement, service).await?;
    if let Some(error) = served.error() {
        eprintln!("/tmp/demo.git: {error:?}");
    }
    Ok(())
}
