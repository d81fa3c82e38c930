//! What a model lacks, and where it was looked for.

use std::path::PathBuf;

use super::{Kind, Refusal};
use crate::families::{Family, Role};

/// Where parts were looked for that a model does not bring.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// The folders.
    pub folders: Vec<PathBuf>,
    /// What lies there and will not do: which file, and why.
    pub unfit: Vec<String>,
}

/// The most files that are told with why they do not fit.
const TOLD: usize = 6;

/// Returns the refusal of a model that cannot run without these parts: all of them at once, where they were looked for, and what
/// was there.
#[must_use]
pub fn lacking(name: &str, family: Family, missing: &[Role], search: &Search) -> Refusal {
    let parts: Vec<&str> = missing.iter().map(|role| role.name()).collect();
    let flags: Vec<&str> = missing.iter().map(|role| role.flag()).collect();
    let mut message = format!("`{name}` brings no {}, which {} needs", listed(&parts), family.title());
    if !search.folders.is_empty() {
        let folders: Vec<String> = search.folders.iter().map(|folder| folder.display().to_string()).collect();
        message = format!("{message}; looked in {}", folders.join(", "));
    }
    if !search.unfit.is_empty() {
        let more = search.unfit.len().saturating_sub(TOLD);
        let others = if more > 0 { format!("; and {more} more") } else { String::new() };
        let told: Vec<&str> = search.unfit.iter().take(TOLD).map(String::as_str).collect();
        message = format!("{message}, where nothing fits: {}{others}", told.join("; "));
    }
    let what = if missing.len() == 1 { "a file that holds it" } else { "files that hold them" };
    Refusal::new(Kind::NotFound, message, format!("give {what} with {}", listed(&flags)))
}

/// Returns words as a sentence lists them.
fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_missing_is_told_at_once_with_what_was_there() {
        let search = Search { folders: vec!["/m/text_encoders".into(), "/m/vae".into()], unfit: vec!["/m/x: a UMT5".to_owned()] };
        let refusal = lacking("dev", Family::Flux, &[Role::ClipL, Role::T5, Role::Vae], &search);
        let words =
            "`dev` brings no clip_l, t5 and vae, which Flux.1 needs; looked in /m/text_encoders, /m/vae, where nothing fits: /m/x: a UMT5";
        assert_eq!((refusal.kind, refusal.message.as_str()), (Kind::NotFound, words));
        assert_eq!(refusal.hint.as_deref(), Some("give files that hold them with --clip-l, --t5 and --vae"));
        let many = Search { unfit: (0..8).map(|n| n.to_string()).collect(), ..Search::default() };
        assert!(lacking("dev", Family::Flux, &[Role::T5], &many).message.ends_with("5; and 2 more"));
    }
}
