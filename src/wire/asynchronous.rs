//! Frames over anything that reads and writes without blocking; the client's and the daemon's side.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::frame::{self, FrameError, Limit, PREFIX};

/// Reads frames. Whoever stops waiting in the middle of one loses nothing: the next call goes on with it.
#[derive(Debug, Default)]
pub struct FrameReader {
    prefix: [u8; PREFIX],
    body: Vec<u8>,
    /// Bytes of both that are there.
    filled: usize,
}

impl FrameReader {
    /// Reads one frame's body; `None` where the connection ended between two frames.
    pub async fn read_body(&mut self, from: &mut (impl AsyncRead + Unpin), limit: Limit) -> Result<Option<Vec<u8>>, FrameError> {
        while self.filled < PREFIX {
            match from.read(&mut self.prefix[self.filled..]).await.map_err(FrameError::Io)? {
                0 if self.filled == 0 => return Ok(None),
                0 => return Err(FrameError::Cut),
                n => self.filled += n,
            }
        }
        self.body.resize(frame::body_length(self.prefix, limit)?, 0);
        while self.filled < PREFIX + self.body.len() {
            match from.read(&mut self.body[self.filled - PREFIX..]).await.map_err(FrameError::Io)? {
                0 => return Err(FrameError::Cut),
                n => self.filled += n,
            }
        }
        Ok(Some(std::mem::take(self).body))
    }
}

/// Reads one frame's body; `None` where the connection ended between two frames.
pub async fn read_body(from: &mut (impl AsyncRead + Unpin), limit: Limit) -> Result<Option<Vec<u8>>, FrameError> {
    FrameReader::default().read_body(from, limit).await
}

/// Reads one value; `None` where the connection ended between two frames.
pub async fn read<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin), limit: Limit) -> Result<Option<T>, FrameError> {
    match read_body(from, limit).await? {
        Some(body) => frame::decode(&body).map(Some),
        None => Ok(None),
    }
}

/// Writes one value and sends it off.
pub async fn write<T: Serialize>(to: &mut (impl AsyncWrite + Unpin), value: &T, limit: Limit) -> Result<(), FrameError> {
    let bytes = frame::encode(value, limit)?;
    to.write_all(&bytes).await.map_err(FrameError::Io)?;
    to.flush().await.map_err(FrameError::Io)
}
