//! A proxy for pushes over `git://`: both halves of the codec back to back. The pack goes through as it is, opaque: not
//! inflated, not stored, at most a read of it in memory. That its last bytes are the hash of all before them is how its
//! end is known.
//!
//! ```sh
//! cargo run --release --example proxy -- --listen 127.0.0.1:9419 --upstream 127.0.0.1:9418
//! git push git://127.0.0.1:9419/demo.git HEAD:refs/heads/main
//! ```
//!
//! What the upstream server advertises, says and refuses is what the pusher sees. To look at the pack is for that server
//! too: it gets one that is cut short or damaged as it came, and refuses it.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use receive_pack::checksum::{Checksummed, Throttle};
use receive_pack::codec::ReceivePackCodec;
use receive_pack::proto::pkt_line::{self, PktLine};
use receive_pack::proto::{Capabilities, Frame, ObjectFormat, Payload};
use receive_pack::push::Pack;
use receive_pack::serve::refuse;
use receive_pack::transport::DaemonRequest;
use receive_pack::{BoxError, Error};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::codec::{FramedRead, FramedWrite};

/// Hands pushes on to another server.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// Where to listen; port 0 takes any that is free.
    #[arg(long, default_value = "127.0.0.1:9418")]
    listen: SocketAddr,
    /// The server that pushes are handed on to, as host:port.
    #[arg(long)]
    upstream: String,
    /// Seconds that a client may take for its commands, and that it may send nothing of its pack. Before both it may
    /// compress in silence.
    #[arg(long, default_value_t = 1800)]
    idle: u64,
    /// Seconds that a push may take, with all that the upstream server does.
    #[arg(long, default_value_t = 6 * 3600)]
    deadline: u64,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let args = Args::parse();
    let listener = TcpListener::bind(args.listen).await?;
    println!("ready: git push git://{}/demo.git HEAD:refs/heads/main", listener.local_addr()?);
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file handles, most likely: others must close first.
                eprintln!("no connection can be accepted: {error}");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let args = args.clone();
        tokio::spawn(async move {
            match timeout(Duration::from_secs(args.deadline), connection(stream, &args)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => eprintln!("{peer}: {error:?}"),
                Err(_) => eprintln!("{peer}: the push took too long"),
            }
        });
    }
}

async fn connection(client: TcpStream, args: &Args) -> Result<(), BoxError> {
    let (mut from_client, mut to_client) = client.into_split();
    let request = timeout(Duration::from_secs(10), DaemonRequest::read(&mut from_client)).await??;
    if request.service() != "git-receive-pack" {
        return Ok(refuse(to_client, "only pushes go through here").await?);
    }
    let upstream = match TcpStream::connect(&args.upstream).await {
        Ok(upstream) => upstream,
        Err(_) => return Ok(refuse(to_client, "the server behind this proxy cannot be reached").await?),
    };
    let (mut from_upstream, mut to_upstream) = upstream.into_split();
    to_upstream.write_all(&first_line(&request, args)?).await?;

    let advertisement = read_advertisement(&mut from_upstream).await?;
    to_client.write_all(&advertisement.bytes).await?;
    let codec = ReceivePackCodec::builder()
        .object_format(advertisement.format)
        .advertised(advertisement.capabilities)
        .payload(Payload::Opaque);
    let upload = async {
        let frames = codec.clone().build().framed_read(&mut from_client);
        let sink = FramedWrite::new(&mut to_upstream, codec.build());
        let forwarded = forward(frames, sink, advertisement.format, Duration::from_secs(args.idle)).await;
        if forwarded.is_err() {
            // The upstream server is told that no more will come. It may have closed already.
            let _ = to_upstream.shutdown().await;
        }
        // A connection that is closed with unread data is reset, and what was relayed is lost. The client closes when
        // it has read what became of its push; one that was refused early sends the rest of its pack before that.
        let _ = tokio::io::copy(&mut from_client.take(1 << 30), &mut tokio::io::sink()).await;
        forwarded
    };
    // The upstream server may refuse in the middle of the pack, so its voice is listened to all the time.
    let relay = async {
        let relayed = tokio::io::copy(&mut from_upstream, &mut to_client).await;
        // The client is told at once that no more will come; it may still be sending.
        to_client.shutdown().await?;
        relayed
    };
    let (mut upload, mut relay) = (pin!(upload), pin!(relay));
    tokio::select! {
        forwarded = &mut upload => {
            relay.await?;
            forwarded?;
        }
        relayed = &mut relay => {
            // All was said.
            if let Ok(forwarded) = timeout(Duration::from_secs(60), upload).await {
                forwarded?;
            }
            relayed?;
        }
    }
    Ok(())
}

/// Hands a push on, to the end of its pack.
async fn forward<R, W>(
    mut frames: FramedRead<R, ReceivePackCodec>,
    mut sink: FramedWrite<W, ReceivePackCodec>,
    format: ObjectFormat,
    idle: Duration,
) -> Result<(), BoxError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let head = async {
        while let Some(frame) = frames.next().await {
            let frame = frame?;
            let is_end_of_head = matches!(frame, Frame::Flush);
            sink.send(frame).await?;
            if is_end_of_head {
                break;
            }
        }
        Ok::<_, Error>(())
    };
    timeout(idle, head).await??;
    let mut pack = Pack::new(frames);
    pack.set_idle_timeout(idle);
    let mut body = Checksummed::new(pack, format, Throttle::default());
    while let Some(frame) = body.next().await {
        sink.feed(Frame::from(frame?)).await?;
    }
    Ok(SinkExt::<Frame>::flush(&mut sink).await?)
}

/// The request line, for the upstream server.
fn first_line(request: &DaemonRequest, args: &Args) -> Result<Bytes, Error> {
    let mut line = b"git-receive-pack ".to_vec();
    line.extend_from_slice(request.path());
    line.extend_from_slice(format!("\0host={}\0", args.upstream).as_bytes());
    let mut bytes = BytesMut::new();
    pkt_line::encode(&line, &mut bytes)?;
    Ok(bytes.freeze())
}

/// What the upstream server says first.
struct Advertised {
    bytes: BytesMut,
    capabilities: Capabilities,
    format: ObjectFormat,
}

/// Reads up to the flush-pkt, or to the end if the server refuses; both are for the client as they are.
async fn read_advertisement(mut read: impl AsyncRead + Unpin) -> Result<Advertised, Error> {
    let mut advertised =
        Advertised { bytes: BytesMut::new(), capabilities: Capabilities::none(), format: ObjectFormat::Sha1 };
    let mut at = 0;
    loop {
        let Some((line, len)) = pkt_line::peek(&advertised.bytes[at..])? else {
            if read.read_buf(&mut advertised.bytes).await? == 0 {
                return Ok(advertised);
            }
            continue;
        };
        let PktLine::Data(line) = line else { return Ok(advertised) };
        if let Some(nul) = line.iter().position(|byte| *byte == 0) {
            advertised.capabilities = Capabilities::parse(&line[nul + 1..]);
            let format = advertised.capabilities.value("object-format").and_then(ObjectFormat::from_name);
            advertised.format = format.unwrap_or_default();
        }
        at += len;
    }
}
