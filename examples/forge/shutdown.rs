//! Connections as tasks: so many at a time, and an orderly end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use receive_pack::BoxError;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// What runs, and whether it should end.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    stopping: watch::Sender<bool>,
    /// Each task holds one; when all are gone, all have ended.
    alive: mpsc::Sender<()>,
    connections: usize,
    ended: Arc<tokio::sync::Mutex<mpsc::Receiver<()>>>,
}

impl Tasks {
    pub(crate) fn new(connections: usize) -> Self {
        let (alive, ended) = mpsc::channel(1);
        Self { stopping: watch::Sender::new(false), alive, connections, ended: Arc::new(ended.into()) }
    }

    /// Runs a task that the end waits for.
    pub(crate) fn spawn(&self, task: impl Future<Output = Result<(), BoxError>> + Send + 'static) {
        let alive = self.alive.clone();
        tokio::spawn(async move {
            if let Err(error) = task.await {
                eprintln!("error: {error:?}");
            }
            drop(alive);
        });
    }

    /// Ready when no more should be begun.
    pub(crate) fn stopping(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopping = self.stopping.subscribe();
        async move { drop(stopping.wait_for(|stopping| *stopping).await) }
    }

    /// Takes connections until it is time to end, at most so many at once: those beyond wait, unaccepted.
    pub(crate) async fn accept<F>(
        &self,
        listener: TcpListener,
        mut handle: impl FnMut(TcpStream, OwnedSemaphorePermit) -> F,
    ) -> Result<(), BoxError>
    where
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let slots = Arc::new(Semaphore::new(self.connections));
        loop {
            let accepted = tokio::select! {
                () = self.stopping() => return Ok(()),
                accepted = async {
                    let slot = slots.clone().acquire_owned().await?;
                    Ok::<_, BoxError>((listener.accept().await?.0, slot))
                } => accepted,
            };
            match accepted {
                Ok((stream, slot)) => {
                    // Of a client that is gone already, whoever reads from it is told.
                    let _ = stream.set_nodelay(true);
                    self.spawn(handle(stream, slot));
                }
                Err(error) => {
                    // Out of file handles, most likely: others must close first.
                    eprintln!("no connection can be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Waits to be told, then for what runs, `grace` at most. What runs on after that is dropped, and rolls back.
    pub(crate) async fn finish(self, told: impl Future<Output = io::Result<()>>, grace: Duration) -> io::Result<()> {
        told.await?;
        let Self { stopping, alive, ended, .. } = self;
        stopping.send_replace(true);
        drop(alive);
        let mut ended = ended.lock().await;
        if tokio::time::timeout(grace, ended.recv()).await.is_err() {
            eprintln!("not all pushes ended in time");
        }
        Ok(())
    }
}
