//! Ways in which a description of a picture, or a pattern of names, is wrong.

use crate::units::pixels::SizeError;

/// Why text is no description of a picture, or no pattern for its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageryError {
    /// Not JSON, or not of our shape.
    #[error("the picture's parameters are not readable: {reason}")]
    BadJson {
        /// What the reader said.
        reason: String,
    },
    /// JSON of a later perilune.
    #[error("the picture's parameters have format {found}, and this perilune reads up to {known}")]
    NewerFormat {
        /// What the picture has.
        found: u32,
        /// The latest that is known here.
        known: u32,
    },
    /// A latent that cannot be stored.
    #[error("the latent cannot be kept in the picture: {reason}")]
    Unkept {
        /// What the writer said.
        reason: String,
    },
    /// A chunk of ours that holds something else.
    #[error("the picture's latent is not readable: {reason}")]
    BadLatent {
        /// What the reader said.
        reason: String,
    },
    /// No line of settings at the end.
    #[error("the text has no line of settings")]
    NoSettings,
    /// A setting that a picture cannot be made again without.
    #[error("the settings have no `{key}`")]
    MissingSetting {
        /// Its name in the text.
        key: &'static str,
    },
    /// A setting that is no number.
    #[error("`{value}` is not a number, in the setting `{key}`")]
    BadNumber {
        /// Its name in the text.
        key: &'static str,
        /// What stands there.
        value: String,
    },
    /// A size that is none.
    #[error("the settings' size is wrong: {source}")]
    BadSize {
        /// Why.
        source: SizeError,
    },
    /// A pattern with a field that there is not.
    #[error("`{{{field}}}` is not a field of file names; use {choices}")]
    UnknownField {
        /// What stands between the braces.
        field: String,
        /// The fields there are.
        choices: String,
    },
    /// A pattern with a brace too many.
    #[error("the pattern `{pattern}` has a brace without its other half")]
    LoneBrace {
        /// The pattern.
        pattern: String,
    },
    /// A pattern that would name every picture the same.
    #[error("the pattern `{pattern}` names no field, so all pictures would have one name")]
    NoField {
        /// The pattern.
        pattern: String,
    },
}
