//! One frame: `u32 big-endian length | UTF-8 JSON`. No input or output happens here.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of the length in front of each frame.
pub const PREFIX: usize = 4;

/// The longest frame that a connection accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(pub u32);

impl Limit {
    /// Commands, events, orders and reports.
    pub const CONTROL: Self = Self(16 << 20);
    /// Calls that carry tensors.
    pub const TENSORS: Self = Self(256 << 20);
}

/// Why bytes are no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Longer than the connection accepts; nothing was allocated for it.
    #[error("a frame of {claimed} bytes was announced; at most {limit} are accepted")]
    TooLong {
        /// The length it claims.
        claimed: u64,
        /// The longest accepted.
        limit: u32,
    },
    /// Not JSON, or not of the shape expected.
    #[error("a frame is not what was expected: {0}")]
    Json(#[source] serde_json::Error),
    /// The other side went away in the middle of a frame.
    #[error("the connection ended inside a frame")]
    Cut,
    /// The operating system could not read or write.
    #[error("the connection broke: {0}")]
    Io(#[source] std::io::Error),
}

impl FrameError {
    /// Returns whether the bytes were whole but meant nothing, so that an error reply can be sent.
    #[must_use]
    pub fn is_nonsense(&self) -> bool {
        match self {
            Self::TooLong { .. } | Self::Json(_) => true,
            Self::Cut | Self::Io(_) => false,
        }
    }
}

/// Returns the frame that carries `value`.
pub fn encode<T: Serialize>(value: &T, limit: Limit) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; PREFIX];
    serde_json::to_writer(&mut bytes, value).map_err(FrameError::Json)?;
    let length = bytes.len() - PREFIX;
    let short = u32::try_from(length).ok().filter(|n| *n <= limit.0);
    let short = short.ok_or(FrameError::TooLong { claimed: length as u64, limit: limit.0 })?;
    bytes[..PREFIX].copy_from_slice(&short.to_be_bytes());
    Ok(bytes)
}

/// Returns how many bytes follow this length, if that many are accepted.
pub fn body_length(prefix: [u8; PREFIX], limit: Limit) -> Result<usize, FrameError> {
    let claimed = u32::from_be_bytes(prefix);
    if claimed > limit.0 {
        return Err(FrameError::TooLong { claimed: u64::from(claimed), limit: limit.0 });
    }
    Ok(claimed as usize)
}

/// Returns the value that a frame's body carries.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(body).map_err(FrameError::Json)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_worked_frame() {
        // {"cmd":"health"} is 16 bytes long.
        let bytes = encode(&serde_json::json!({"cmd": "health"}), Limit::CONTROL).unwrap();
        assert_eq!(bytes, b"\x00\x00\x00\x10{\"cmd\":\"health\"}");
    }

    #[test]
    fn a_frame_of_four_gib_is_refused_before_anything_is_allocated() {
        let error = body_length([0xff; 4], Limit::CONTROL).unwrap_err();
        assert_eq!(error.to_string(), "a frame of 4294967295 bytes was announced; at most 16777216 are accepted");
        assert!(error.is_nonsense());
    }

    #[test]
    fn we_do_not_send_what_the_other_side_would_refuse() {
        assert!(matches!(encode(&"x".repeat(100), Limit(50)), Err(FrameError::TooLong { claimed: 102, limit: 50 })));
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(text in ".*", n in any::<i64>()) {
            let bytes = encode(&(text.clone(), n), Limit::CONTROL).unwrap();
            let length = body_length(*bytes.first_chunk().unwrap(), Limit::CONTROL).unwrap();
            prop_assert_eq!(length, bytes.len() - PREFIX);
            prop_assert_eq!(decode::<(String, i64)>(&bytes[PREFIX..]).unwrap(), (text, n));
        }

        #[test]
        fn any_bytes_are_a_request_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(decode::<crate::wire::Request>(&bytes));
            drop(decode::<crate::wire::Report>(&bytes));
        }
    }
}
