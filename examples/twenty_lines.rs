//! A server for one repository, over `git://`.

use receive_pack::checksum::ChecksumLayer;
use receive_pack::limit::LimitLayer;
use receive_pack::receive::ReceivePack;
use receive_pack::serve::serve;
use receive_pack::store::{BareRepository, Store};
use receive_pack::transport::DaemonRequest;
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> Result<(), receive_pack::BoxError> {
    let repository = BareRepository::init("/tmp/demo.git", Default::default())?;
    let push = ServiceBuilder::new()
        .layer(LimitLayer::new().pack_bytes(1 << 30))
        .layer(ChecksumLayer::new())
        .service(ReceivePack::new(repository.clone()));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:9418").await?;
    loop {
        let (mut read, write) = listener.accept().await?.0.into_split();
        let (repository, push) = (repository.clone(), push.clone());
        tokio::spawn(async move {
            DaemonRequest::read(&mut read).await?;
            serve(read, write, repository.advertise().await?, push).await
        });
    }
}
