//! A program that stands where `git receive-pack` stands: the client's bytes come on standard input, the server's go to
//! standard output.
//!
//! ```sh
//! cargo build --release --example receive_pack --features bare-repository
//! git push --receive-pack=$PWD/target/release/examples/receive_pack /tmp/repos/demo.git main
//! ```
//!
//! With the two options it does what `git http-backend` asks of `git receive-pack`.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use bytes::BytesMut;
use clap::Parser;
use receive_pack::BoxError;
use receive_pack::checksum::ChecksumLayer;
use receive_pack::limit::LimitLayer;
use receive_pack::receive::ReceivePack;
use receive_pack::serve::{Linger, Serve};
use receive_pack::store::{BareRepository, Store};
use tokio::io::AsyncWriteExt;
use tower::ServiceBuilder;

/// Takes one push into a bare repository, over standard input and output.
#[derive(Debug, Parser)]
struct Args {
    /// The advertisement was sent by an earlier run: begin with the request.
    #[arg(long)]
    stateless_rpc: bool,
    /// Send the advertisement, and nothing else.
    #[arg(long, alias = "advertise-refs")]
    http_backend_info_refs: bool,
    /// Refuse packs of more bytes, as git's `receive.maxInputSize` does; 0 is no limit.
    #[arg(long, default_value_t = 0)]
    max_input_size: u64,
    /// The repository.
    dir: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = tokio::runtime::Runtime::new().map_err(BoxError::from).and_then(|runtime| {
        let result = runtime.block_on(run(&args));
        // A thread may still sit in a read of standard input, for as long as the client keeps it open.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fatal: {}", whole(&*error));
            // As git's own ends when it dies.
            ExitCode::from(128)
        }
    }
}

async fn run(args: &Args) -> Result<(), BoxError> {
    let store = BareRepository::open(&args.dir)?;
    let version_1 = std::env::var("GIT_PROTOCOL").is_ok_and(|list| list.split(':').any(|word| word == "version=1"));
    let advertisement = store.advertise().await?.with_version_1(version_1);
    let mut stdout = tokio::io::stdout();
    if args.http_backend_info_refs {
        let mut bytes = BytesMut::new();
        advertisement.encode(&mut bytes)?;
        stdout.write_all(&bytes).await?;
        stdout.flush().await?;
        return Ok(());
    }
    let mut serve = Serve::new().stateless(args.stateless_rpc);
    if args.stateless_rpc {
        // The request ends by itself, and whoever called us sees to the connection.
        serve = serve.linger(Linger::none());
    }
    let limit = match args.max_input_size {
        0 => LimitLayer::new(),
        bytes => LimitLayer::new().pack_bytes(bytes),
    };
    let service = ServiceBuilder::new().layer(limit).layer(ChecksumLayer::new()).service(ReceivePack::new(store));
    let served = serve.serve(tokio::io::stdin(), stdout, advertisement, service).await?;
    if let Some(error) = served.error() {
        // The client was told no more than that it was our fault.
        eprintln!("error: {}: {}", args.dir.display(), whole(error));
    }
    Ok(())
}

/// An error with its causes, in one line.
fn whole(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
