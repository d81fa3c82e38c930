//! What a picture's file is called, without folder and extension.
//!
//! A name is made of letters, digits, `-`, `_` and `.` only, of any script; it holds no separator of
//! any system, starts with none of `.` and `-`, and is short enough for every file system, even with
//! an extension and a number behind it.

use std::fmt;

use super::error::ImageryError;
use crate::units::{JobId, Seed};

/// Longest name in bytes. File systems end at 255, and some tools add suffixes of their own.
const LONGEST: usize = 120;

/// What a pattern can name.
#[derive(Debug, Clone, Copy)]
pub struct NameFields<'a> {
    /// The job.
    pub job: JobId,
    /// The picture's seed.
    pub seed: Seed,
    /// The picture's number in its job.
    pub k: u32,
    /// The model's name.
    pub model: &'a str,
    /// The prompt.
    pub prompt: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Job,
    Seed,
    K,
    Model,
    Prompt,
}

impl Field {
    const ALL: &[Self] = &[Self::Job, Self::Seed, Self::K, Self::Model, Self::Prompt];

    fn name(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Seed => "seed",
            Self::K => "k",
            Self::Model => "model",
            Self::Prompt => "prompt",
        }
    }

    fn value(self, fields: &NameFields) -> String {
        match self {
            Self::Job => fields.job.to_string(),
            Self::Seed => fields.seed.to_string(),
            Self::K => fields.k.to_string(),
            Self::Model => fields.model.to_owned(),
            Self::Prompt => fields.prompt.to_owned(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

/// How pictures are named, such as `{job}-{seed}-{k}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    parts: Vec<Part>,
}

impl Default for NamePattern {
    fn default() -> Self {
        let [job, seed, k] = [Field::Job, Field::Seed, Field::K].map(Part::Field);
        let dash = || Part::Text("-".to_owned());
        Self { parts: vec![job, dash(), seed, dash(), k] }
    }
}

impl std::str::FromStr for NamePattern {
    type Err = ImageryError;

    fn from_str(pattern: &str) -> Result<Self, ImageryError> {
        let lone_brace = || ImageryError::LoneBrace { pattern: pattern.to_owned() };
        let mut parts = Vec::new();
        let mut rest = pattern;
        while let Some((text, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or_else(lone_brace)?;
            let field = Field::ALL.iter().find(|f| f.name() == name).ok_or_else(|| ImageryError::UnknownField {
                field: name.to_owned(),
                choices: Field::ALL.iter().map(|f| format!("{{{}}}", f.name())).collect::<Vec<_>>().join(", "),
            })?;
            parts.extend([Part::Text(text.to_owned()), Part::Field(*field)]);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        if parts.iter().any(|part| matches!(part, Part::Text(text) if text.contains('}'))) {
            return Err(lone_brace());
        }
        if !parts.iter().any(|part| matches!(part, Part::Field(_))) {
            return Err(ImageryError::NoField { pattern: pattern.to_owned() });
        }
        Ok(Self { parts })
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Field(field) => write!(f, "{{{}}}", field.name()),
        })
    }
}

impl NamePattern {
    /// Returns a picture's name.
    #[must_use]
    pub fn name(&self, fields: &NameFields) -> FileStem {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Field(field) => field.value(fields),
        };
        FileStem::of(&self.parts.iter().map(part).collect::<String>())
    }
}

/// A file's name without its extension, safe in every folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStem(String);

impl FileStem {
    /// Returns the safe name nearest to `text`: what does not belong into one becomes `_`.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut stem = String::new();
        for c in text.chars() {
            let safe = if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
            if stem.len() + safe.len_utf8() > LONGEST {
                break;
            }
            // Runs of what was replaced, and the dots of `..`, count once.
            if !(matches!(safe, '_' | '.') && stem.ends_with(safe)) {
                stem.push(safe);
            }
        }
        let stem = stem.trim_start_matches(['.', '-', '_']).trim_end_matches(['.', '_']);
        Self(if stem.is_empty() { "picture".to_owned() } else { stem.to_owned() })
    }

    /// Returns the name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the `n`-th name to try, where earlier ones are taken: itself, then with `-2`, `-3` and so on.
    #[must_use]
    pub fn numbered(&self, n: u32) -> Self {
        if n < 2 {
            return self.clone();
        }
        let suffix = format!("-{n}");
        let room = self.0.floor_char_boundary(LONGEST - suffix.len());
        Self(format!("{}{suffix}", &self.0[..room]))
    }
}

impl fmt::Display for FileStem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn name(pattern: &str, prompt: &str) -> String {
        let fields = NameFields { job: JobId(17), seed: Seed(99), k: 2, model: "dir/model v1.5", prompt };
        pattern.parse::<NamePattern>().unwrap().name(&fields).to_string()
    }

    #[test]
    fn fields_are_filled_in_and_made_safe() {
        assert_eq!(name("{job}-{seed}-{k}", ""), "17-99-2");
        assert_eq!(name("{model} {k}", ""), "dir_model_v1.5_2");
        assert_eq!(name("{prompt}", "a cat, (fluffy:1.2)"), "a_cat_fluffy_1.2");
        assert_eq!(name("{prompt}", "猫のéclair"), "猫のéclair");
        assert_eq!(NamePattern::default().to_string(), "{job}-{seed}-{k}");
        assert_eq!("{job}-{seed}-{k}".parse(), Ok(NamePattern::default()));
    }

    #[test]
    fn no_name_leaves_its_folder_or_hides() {
        for (prompt, expected) in [
            ("../../etc/passwd", "etc_passwd"),
            ("..", "picture"),
            ("", "picture"),
            (".hidden", "hidden"),
            ("--help", "help"),
            ("c:\\windows", "c_windows"),
            ("a\0b\nc", "a_b_c"),
            ("ends. ", "ends"),
            ("a....b", "a.b"),
        ] {
            assert_eq!(name("{prompt}", prompt), expected);
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_pattern() {
        for (pattern, expected) in [
            ("{date}", "`{date}` is not a field of file names; use {job}, {seed}, {k}, {model}, {prompt}"),
            ("{job", "the pattern `{job` has a brace without its other half"),
            ("job}-{k}", "the pattern `job}-{k}` has a brace without its other half"),
            ("picture", "the pattern `picture` names no field, so all pictures would have one name"),
            ("", "the pattern `` names no field, so all pictures would have one name"),
        ] {
            assert_eq!(pattern.parse::<NamePattern>().map_err(|e| e.to_string()), Err(expected.to_owned()));
        }
    }

    #[test]
    fn taken_names_get_a_number() {
        let stem = FileStem::of("17-99-2");
        let tried: Vec<String> = (1..4).map(|n| stem.numbered(n).to_string()).collect();
        assert_eq!(tried, ["17-99-2", "17-99-2-2", "17-99-2-3"]);
    }

    proptest! {
        #[test]
        fn every_name_is_safe(text in ".*", n in any::<u32>()) {
            let stem = FileStem::of(&text);
            for name in [stem.to_string(), stem.numbered(n).to_string()] {
                prop_assert!(!name.is_empty() && name.len() <= LONGEST);
                prop_assert!(name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c)));
                prop_assert!(!name.starts_with(['.', '-']) && !name.contains(".."));
            }
            prop_assert_eq!(FileStem::of(stem.as_str()), stem);
        }

        #[test]
        fn numbers_make_names_different(text in ".{0,300}") {
            let stem = FileStem::of(&text);
            let names: HashSet<String> = (1..50).map(|n| stem.numbered(n).to_string()).collect();
            prop_assert_eq!(names.len(), 49);
        }

        #[test]
        fn patterns_read_back(pattern in "([a-z -]{0,5}\\{(job|seed|k|model|prompt)\\}){1,4}[a-z]{0,5}") {
            let parsed: NamePattern = pattern.parse().unwrap();
            prop_assert_eq!(parsed.to_string(), pattern);
        }
    }
}
