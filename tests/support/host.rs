//! A server within the test: real git pushes to it over TCP, and the test says what stands behind.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use receive_pack::proto::{Advertisement, Report};
use receive_pack::push::{Pack, Push};
use receive_pack::serve::{Serve, Served};
use receive_pack::transport::DaemonRequest;
use receive_pack::{BoxError, Error};
use tokio::net::TcpListener;
use tokio::net::tcp::OwnedReadHalf;
use tokio::runtime::Runtime;
use tower::Service;

/// Takes `git://` connections until it is dropped.
pub struct Host {
    address: String,
    served: Receiver<Result<Served, Error>>,
    _runtime: Runtime,
}

impl Host {
    /// A host whose connections get what `connection` gives them: an advertisement, and a service.
    pub fn start<F, Fut, S>(connection: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = (Advertisement, S)> + Send + 'static,
        S: Service<Push<Pack<OwnedReadHalf>>, Response = Report> + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (sender, served) = channel();
        let connection = Arc::new(connection);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (connection, sender) = (Arc::clone(&connection), sender.clone());
                tokio::spawn(async move {
                    let (mut read, write) = stream.into_split();
                    let request = DaemonRequest::read(&mut read).await.expect("a request line");
                    let (advertisement, service) = connection().await;
                    let advertisement = advertisement.with_version_1(request.wants_version_1());
                    let result = Serve::new().serve(read, write, advertisement, service).await;
                    // The test may have ended.
                    let _ = sender.send(result);
                });
            }
        });
        Self { address, served, _runtime: runtime }
    }

    /// Where real git pushes to.
    pub fn url(&self) -> String {
        format!("git://{}/repo.git", self.address)
    }

    /// What became of the next connection; waits for its end.
    #[track_caller]
    pub fn served(&self) -> Result<Served, Error> {
        self.served.recv_timeout(Duration::from_secs(120)).expect("a connection comes to an end")
    }
}
