//! Frames over anything that reads and writes; the engine's side.

use std::io::{ErrorKind, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frame::{self, FrameError, Limit, PREFIX};

/// Reads one value; `None` where the connection ended between two frames.
pub fn read<T: DeserializeOwned>(from: &mut impl Read, limit: Limit) -> Result<Option<T>, FrameError> {
    let mut prefix = [0; PREFIX];
    if !read_whole(from, &mut prefix, true)? {
        return Ok(None);
    }
    let mut body = vec![0; frame::body_length(prefix, limit)?];
    read_whole(from, &mut body, false)?;
    frame::decode(&body).map(Some)
}

/// Writes one value and sends it off.
pub fn write<T: Serialize>(to: &mut impl Write, value: &T, limit: Limit) -> Result<(), FrameError> {
    let bytes = frame::encode(value, limit)?;
    to.write_all(&bytes).map_err(FrameError::Io)?;
    to.flush().map_err(FrameError::Io)
}

/// Fills `into`; `false` where the end came before the first byte and `may_end` allows it.
fn read_whole(from: &mut impl Read, into: &mut [u8], may_end: bool) -> Result<bool, FrameError> {
    let mut filled = 0;
    while filled < into.len() {
        match from.read(&mut into[filled..]) {
            Ok(0) if filled == 0 && may_end => return Ok(false),
            Ok(0) => return Err(FrameError::Cut),
            Ok(n) => filled += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(FrameError::Io(e)),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives one byte at a time, as a slow socket may.
    struct Dribble<'a>(&'a [u8]);

    impl Read for Dribble<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let n = self.0.len().min(into.len()).min(1);
            into[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn short_reads_are_put_together() {
        let mut bytes = Vec::new();
        write(&mut bytes, &"one", Limit::CONTROL).unwrap();
        write(&mut bytes, &"two", Limit::CONTROL).unwrap();
        let mut from = Dribble(&bytes);
        assert_eq!(read::<String>(&mut from, Limit::CONTROL).unwrap().as_deref(), Some("one"));
        assert_eq!(read::<String>(&mut from, Limit::CONTROL).unwrap().as_deref(), Some("two"));
        assert_eq!(read::<String>(&mut from, Limit::CONTROL).unwrap(), None);
    }

    #[test]
    fn an_end_inside_a_frame_is_no_end() {
        assert!(matches!(read::<String>(&mut &b"\0\0"[..], Limit::CONTROL), Err(FrameError::Cut)));
        assert!(matches!(read::<String>(&mut &b"\0\0\0\x05\"a"[..], Limit::CONTROL), Err(FrameError::Cut)));
    }

    proptest! {
        #[test]
        fn any_stream_is_frames_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), short in any::<bool>()) {
            // Half of the streams begin with a length that may be true.
            let mut stream = if short { vec![0, 0, 0] } else { Vec::new() };
            stream.extend(bytes);
            let mut from = Dribble(&stream);
            while let Ok(Some(_)) = read::<crate::wire::Request>(&mut from, Limit(1000)) {}
        }
    }
}
