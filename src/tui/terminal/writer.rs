//! Writes frames on a thread of its own, one at a time, each in one piece.
//!
//! A terminal at the end of a slow line then costs frames, and never holds up keys and signals.

use std::io::{self, Write};
use std::sync::mpsc as threads;
use std::time::Duration;

use tokio::sync::mpsc;

/// Writes frames.
#[derive(Debug)]
pub struct Writer {
    frames: threads::Sender<Vec<u8>>,
    done: mpsc::UnboundedReceiver<io::Result<()>>,
    busy: bool,
    beside: Vec<u8>,
}

impl Writer {
    /// Starts the thread.
    pub fn start(mut out: impl Write + Send + 'static) -> Self {
        let (frames, orders) = threads::channel::<Vec<u8>>();
        let (report, done) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for frame in orders {
                if report.send(out.write_all(&frame).and_then(|()| out.flush())).is_err() {
                    break;
                }
            }
        });
        Self { frames, done, busy: false, beside: Vec::new() }
    }

    /// Returns whether a frame is being written. No other may be drawn meanwhile.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// Returns whether something waits that belongs to no frame.
    #[must_use]
    pub fn has_more(&self) -> bool {
        !self.beside.is_empty()
    }

    /// Notes sequences that belong to no frame; they go before the next one.
    pub fn beside(&mut self, bytes: &[u8]) {
        self.beside.extend_from_slice(bytes);
    }

    /// Writes a frame, if there is one, and what was noted.
    pub fn write(&mut self, frame: Option<Vec<u8>>) {
        let mut bytes = std::mem::take(&mut self.beside);
        bytes.extend(frame.unwrap_or_default());
        if !bytes.is_empty() {
            self.busy = self.frames.send(bytes).is_ok();
        }
    }

    /// Waits for the frame that is being written; for ever where there is none.
    pub async fn written(&mut self) -> io::Result<()> {
        if !self.busy {
            return std::future::pending().await;
        }
        let result = self.done.recv().await.unwrap_or(Ok(()));
        self.busy = false;
        result
    }

    /// Waits for the last frame, but not for ever: a terminal that reads no more must not hold us.
    pub async fn finish(&mut self, patience: Duration) {
        if self.busy {
            // Whether the last frame arrived changes nothing any more.
            let _late = tokio::time::timeout(patience, self.written()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Counts writes, so that a frame in several pieces is seen.
    #[derive(Clone, Default)]
    struct Pieces(Arc<Mutex<Vec<Vec<u8>>>>);

    impl Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(bytes.to_vec());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_frame_is_one_write() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let pieces = Pieces::default();
        let mut writer = Writer::start(pieces.clone());
        writer.beside(b"aside ");
        writer.write(Some(vec![b'x'; 50_000]));
        assert!(writer.is_busy() && !writer.has_more());
        runtime.block_on(writer.written()).unwrap();
        writer.write(None);
        assert!(!writer.is_busy(), "nothing is no frame");
        let pieces = pieces.0.lock().unwrap();
        assert_eq!((pieces.len(), pieces[0].len()), (1, 50_006));
    }
}
