//! The first frame of every connection, both ways.

use serde::{Deserialize, Serialize};

/// The number of the shapes in this folder. Raised whenever one of them changes; the file `PROTOCOL` beside
/// this one keeps the digest that tells.
pub const PROTOCOL: u32 = 27;

/// What was built: version and a digest of the sources, so that two builds never mistake each other.
pub const BUILD: &str = env!("PERILUNE_BUILD");

/// Names protocol and build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// See [`PROTOCOL`].
    pub protocol: u32,
    /// See [`BUILD`].
    pub build: String,
}

/// The frame around [`Hello`]: `{"hello":{…}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloFrame {
    /// The greeting.
    pub hello: Hello,
}

/// The other side was built from other sources.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the other side is build {theirs} with protocol {their_protocol}; this is build {BUILD} with protocol {PROTOCOL}")]
pub struct Mismatch {
    /// Their build.
    pub theirs: String,
    /// Their protocol.
    pub their_protocol: u32,
}

impl Hello {
    /// Returns this build's greeting.
    #[must_use]
    pub fn ours() -> HelloFrame {
        HelloFrame { hello: Self { protocol: PROTOCOL, build: BUILD.to_owned() } }
    }

    /// Checks that the other side is the same build.
    pub fn check(&self) -> Result<(), Mismatch> {
        if self.protocol == PROTOCOL && self.build == BUILD {
            return Ok(());
        }
        Err(Mismatch { theirs: self.build.clone(), their_protocol: self.protocol })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_like_the_contract() {
        let json = serde_json::to_value(Hello::ours()).unwrap();
        assert_eq!(json, serde_json::json!({"hello": {"protocol": PROTOCOL, "build": BUILD}}));
    }

    #[test]
    fn another_build_is_refused_with_both_names() {
        let other = Hello { protocol: PROTOCOL, build: "0.0.9+feed".to_owned() };
        let message = other.check().unwrap_err().to_string();
        assert!(message.contains("0.0.9+feed") && message.contains(BUILD), "{message}");
        assert_eq!(Hello::ours().hello.check(), Ok(()));
    }
}
