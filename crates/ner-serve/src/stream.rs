//! Connections with a time limit for clients that do not read.

use crate::connections::Connection;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Fails if the client takes less than [`STEP`] bytes of the pending data in a given time. Otherwise, a client that
/// requests without reading would keep its connection permit, and its response in memory.
pub struct Impatient<S> {
    stream: S,
    time: Duration,
    /// Hears when an answer is sent.
    connection: Arc<Connection>,
    /// Runs while data waits to be written.
    until: Option<Pin<Box<Sleep>>>,
    /// Bytes written since it started.
    taken: usize,
}

/// A minimum, because a client that reads byte by byte to avoid the time limit is no better than one that does not
/// read.
const STEP: usize = 64 << 10;

impl<S> Impatient<S> {
    pub const fn new(stream: S, time: Duration, connection: Arc<Connection>) -> Self {
        Self { stream, time, connection, until: None, taken: 0 }
    }

    fn check(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            self.taken += *written.as_ref().unwrap_or(&0);
            if self.taken >= STEP {
                self.until = None;
            }
            return Poll::Ready(written);
        }
        let until = self.until.get_or_insert_with(|| {
            self.taken = 0;
            Box::pin(sleep(self.time))
        });
        ready!(until.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its response")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.check(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.check(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called once everything is written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.until = None;
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.connection.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::{Connections, Times};
    use std::collections::VecDeque;
    use std::future::poll_fn;

    fn connection() -> Arc<Connection> {
        Connections::new(1, Times::default()).admit().expect("room").connection.clone()
    }

    /// Accepts this many bytes per write; with 0, none.
    struct Client(VecDeque<usize>);

    impl AsyncWrite for Client {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            match self.0.pop_front() {
                Some(0) | None => Poll::Pending,
                Some(most) => Poll::Ready(Ok(most.min(bytes.len()))),
            }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn who_does_not_read_is_cut_off_and_who_reads_is_not() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let time = Duration::from_millis(40);
        let write = |stream: &mut Impatient<Client>| {
            let bytes = vec![0; 1 << 20];
            runtime.block_on(poll_fn(|context| {
                match Pin::new(&mut *stream).poll_write(context, &bytes) {
                    // Polls again, as a reading client would cause.
                    Poll::Pending if !stream.stream.0.is_empty() => Poll::Ready(Ok(0)),
                    written => written,
                }
            }))
        };
        let mut stuck = Impatient::new(Client([5, 0].into()), time, connection());
        assert_eq!(write(&mut stuck).expect("taken"), 5);
        assert_eq!(write(&mut stuck).expect_err("cut off").kind(), io::ErrorKind::TimedOut);

        // The time limit restarts with each step, and with each response.
        let mut slow = Impatient::new(Client([0, STEP, 0, 1].into()), time, connection());
        for expected in [0, STEP, 0, 1] {
            std::thread::sleep(time * 2 / 3);
            assert_eq!(write(&mut slow).expect("taken"), expected);
        }
        runtime.block_on(poll_fn(|context| Pin::new(&mut slow).poll_flush(context))).expect("flushed");
        assert!(slow.until.is_none());
    }
}
