//! Who we are to a store of objects: the variables that its other programs read, too.

use std::fmt;

use super::Environment;

/// Keys, and where they open something. What is secret is never shown, and is in no file of ours.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StoreKeys {
    /// `AWS_ACCESS_KEY_ID`.
    pub id: Option<String>,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret: Option<String>,
    /// `AWS_SESSION_TOKEN`.
    pub token: Option<String>,
    /// `AWS_REGION`, else `AWS_DEFAULT_REGION`.
    pub region: Option<String>,
    /// `AWS_ENDPOINT_URL_S3`, else `AWS_ENDPOINT_URL`.
    pub endpoint: Option<String>,
}

impl StoreKeys {
    /// Reads them from the environment.
    #[must_use]
    pub fn of(environment: &Environment) -> Self {
        let first = |names: &[&str]| names.iter().find_map(|name| environment.text(name));
        Self {
            id: first(&["AWS_ACCESS_KEY_ID"]),
            secret: first(&["AWS_SECRET_ACCESS_KEY"]),
            token: first(&["AWS_SESSION_TOKEN"]),
            region: first(&["AWS_REGION", "AWS_DEFAULT_REGION"]),
            endpoint: first(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]),
        }
    }
}

impl fmt::Debug for StoreKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreKeys").field("region", &self.region).field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_exact_variable_wins_and_secrets_are_not_shown() {
        let variables = [
            ("AWS_SECRET_ACCESS_KEY", "hush"),
            ("AWS_ENDPOINT_URL", "http://a"),
            ("AWS_ENDPOINT_URL_S3", "http://b"),
            ("AWS_DEFAULT_REGION", "moon-1"),
        ];
        let keys = StoreKeys::of(&Environment::made_of(&variables, "/home/ana"));
        assert_eq!(
            (keys.secret.as_deref(), keys.endpoint.as_deref(), keys.region.as_deref()),
            (Some("hush"), Some("http://b"), Some("moon-1"))
        );
        assert!(!format!("{keys:?}").contains("hush"));
    }
}
