//! Frames over anything that reads and writes without blocking; the client's and the daemon's side.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::frame::{self, FrameError, Limit, PREFIX};

/// Reads one frame's body; `None` where the connection ended between two frames.
pub async fn read_body(from: &mut (impl AsyncRead + Unpin), limit: Limit) -> Result<Option<Vec<u8>>, FrameError> {
    let mut prefix = [0; PREFIX];
    let first = from.read(&mut prefix).await.map_err(FrameError::Io)?;
    if first == 0 {
        return Ok(None);
    }
    read_exact(from, &mut prefix[first..]).await?;
    let mut body = vec![0; frame::body_length(prefix, limit)?];
    read_exact(from, &mut body).await?;
    Ok(Some(body))
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

async fn read_exact(from: &mut (impl AsyncRead + Unpin), into: &mut [u8]) -> Result<(), FrameError> {
    match from.read_exact(into).await {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Err(FrameError::Cut),
        Err(e) => Err(FrameError::Io(e)),
    }
}
