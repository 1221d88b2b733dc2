//! [`unix_incoming`]: connections of local processes, with what the kernel says of them.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::transport::server::Connected;

use super::authority::AuthorityRepair;
use crate::authn::UnixPeer;

/// Bytes read at once: requests are small.
const READ_BYTES: usize = 4096;

/// Limits of [`unix_incoming`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketLimits {
    /// Connections open at once; more wait in the listen queue. Default 1024.
    pub connections: usize,
    /// Mode bits of the socket. Default 0666: any process may connect, and is known by its user and group.
    pub mode: u32,
}

impl Default for SocketLimits {
    fn default() -> Self {
        Self { connections: 1024, mode: 0o666 }
    }
}

/// A connection of a local process.
#[derive(Debug)]
pub struct UnixPeerStream {
    stream: UnixStream,
    peer: Option<UnixPeer>,
    repair: AuthorityRepair,
    /// What has been read and repaired, from `taken` on not passed on yet.
    ready: Vec<u8>,
    taken: usize,
    /// Given back when the connection is dropped.
    _slot: OwnedSemaphorePermit,
}

/// Listens on a Unix socket, for `tonic::transport::Server::serve_with_incoming`. Dropping the stream stops that and removes
/// the socket. Must be called on a tokio runtime.
///
/// A socket that an earlier process left behind is replaced; one that somebody listens on is not, nor anything else that is
/// no socket.
///
/// # Errors
/// When the socket cannot be made.
pub fn unix_incoming(
    path: &Path,
    limits: SocketLimits,
) -> io::Result<impl Stream<Item = io::Result<UnixPeerStream>> + Send + use<>> {
    remove_stale(path)?;
    let listener = UnixListener::bind(path)?;
    let file = SocketFile(path.to_owned());
    fs::set_permissions(&file.0, fs::Permissions::from_mode(limits.mode))?;
    let (ready, incoming) = mpsc::channel(16);
    tokio::spawn(async move {
        let _file = file;
        tokio::select! {
            () = ready.closed() => {}
            () = accept(listener, limits, ready.clone()) => {}
        }
    });
    Ok(ReceiverStream::new(incoming))
}

/// Removes the socket at the end.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may have been removed by others.
        let _ = fs::remove_file(&self.0);
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let about = match fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    let taken = |what: &str| io::Error::new(io::ErrorKind::AddrInUse, format!("{} {what}", path.display()));
    if !about.file_type().is_socket() {
        return Err(taken("is there and no socket"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(taken("is in use by another process")),
        Err(_) => fs::remove_file(path),
    }
}

async fn accept(listener: UnixListener, limits: SocketLimits, ready: mpsc::Sender<io::Result<UnixPeerStream>>) {
    let connections = Arc::new(Semaphore::new(limits.connections.max(1)));
    // The semaphore is never closed.
    while let Ok(slot) = Arc::clone(&connections).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let peer = stream.peer_cred().ok();
                let peer = peer.map(|c| UnixPeer { uid: c.uid(), gid: c.gid(), pid: c.pid() });
                if ready.send(Ok(UnixPeerStream::new(stream, peer, slot))).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                // Out of files, or a peer that has gone already: neither ends the server.
                tracing::warn!(%error, "connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// What is known of a connection: an extension of its requests.
#[derive(Debug, Clone, Copy, Default)]
pub struct UnixPeerInfo(pub(super) Option<UnixPeer>);

impl Connected for UnixPeerStream {
    type ConnectInfo = UnixPeerInfo;

    fn connect_info(&self) -> UnixPeerInfo {
        UnixPeerInfo(self.peer)
    }
}

impl UnixPeerStream {
    fn new(stream: UnixStream, peer: Option<UnixPeer>, slot: OwnedSemaphorePermit) -> Self {
        Self { stream, peer, repair: AuthorityRepair::new(), ready: Vec::new(), taken: 0, _slot: slot }
    }
}

impl AsyncRead for UnixPeerStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // Bytes that are kept back for the rest of their frame give nothing to pass on: read again then.
        while this.taken == this.ready.len() {
            this.ready.clear();
            this.taken = 0;
            let mut chunk = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.repair.push(read.filled(), &mut this.ready);
        }
        let end = this.ready.len().min(this.taken + buf.remaining());
        buf.put_slice(&this.ready[this.taken..end]);
        this.taken = end;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for UnixPeerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
