use tokio::net::TcpStream;

/// A stream that may be a bare TCP socket, whose bytes the kernel can move without showing them.
pub(crate) trait BareSocket {
    /// The socket, if nothing stands between it and its bytes: no TLS, nothing read ahead or held back.
    fn socket(&self) -> Option<&TcpStream> {
        None
    }

    /// `n` bytes were read from the socket beside the stream.
    fn note_read(&self, n: usize) {
        let _ = n;
    }

    /// `n` bytes were written to the socket beside the stream.
    fn note_written(&self, n: usize) {
        let _ = n;
    }
}

impl<T> BareSocket for hyper_util::rt::TokioIo<T> {}

#[cfg(test)]
impl BareSocket for tokio::io::DuplexStream {}

#[cfg(test)]
impl BareSocket for TcpStream {
    fn socket(&self) -> Option<&TcpStream> {
        Some(self)
    }
}
