//! Which text chunks a PNG file of ours carries.
//!
//! `parameters` is the text that other tools read, `perilune` is the exact JSON. What fits into
//! Latin-1 is a plain `tEXt` chunk, which every reader knows, and all else an `iTXt` chunk in UTF-8,
//! as Pillow writes it for A1111.

use super::a1111_text;
use super::error::ImageryError;
use super::parameters::Parameters;

/// The keyword of the text that other tools read.
pub const PARAMETERS: &str = "parameters";
/// The keyword of our JSON.
pub const PERILUNE: &str = "perilune";

/// The two kinds of chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextKind {
    /// `tEXt`, in Latin-1.
    Latin1,
    /// `iTXt`, in UTF-8.
    International,
}

/// A chunk to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextChunk {
    /// Its keyword, ASCII.
    pub keyword: &'static str,
    /// Its text, free of NUL, in which the format would end it.
    pub text: String,
    /// Its kind.
    pub kind: TextKind,
}

/// Returns the chunks of a picture, in the order to write them.
pub fn text_chunks(parameters: &Parameters) -> Result<Vec<TextChunk>, ImageryError> {
    let text = a1111_text::render(parameters).replace('\0', "\u{fffd}");
    Ok(vec![chunk(PARAMETERS, text), chunk(PERILUNE, parameters.to_json()?)])
}

fn chunk(keyword: &'static str, text: String) -> TextChunk {
    // The PNG specification, 11.3.4.3: Latin-1 with line feeds; other control characters are discouraged.
    let fits = text.chars().all(|c| matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{ff}'));
    let kind = if fits { TextKind::Latin1 } else { TextKind::International };
    TextChunk { keyword, text, kind }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parameters::tests::{any_parameters, sample};
    use super::*;

    fn kinds(prompt: &str) -> Vec<TextKind> {
        let chunks = text_chunks(&Parameters { prompt: prompt.to_owned(), ..sample() }).unwrap();
        assert_eq!(chunks.iter().map(|c| c.keyword).collect::<Vec<_>>(), ["parameters", "perilune"]);
        chunks.into_iter().map(|c| c.kind).collect()
    }

    #[test]
    fn latin_1_is_plain_and_the_rest_is_international() {
        assert_eq!(kinds("a cat"), [TextKind::Latin1, TextKind::Latin1]);
        assert_eq!(kinds("un café\nsecond line"), [TextKind::Latin1, TextKind::Latin1]);
        assert_eq!(kinds("猫"), [TextKind::International, TextKind::International]);
        assert_eq!(kinds("a\ttab"), [TextKind::International, TextKind::Latin1], "JSON escapes control characters");
    }

    proptest! {
        #[test]
        fn chunks_hold_no_nul_and_lead_back(parameters in any_parameters()) {
            let chunks = text_chunks(&parameters).unwrap();
            prop_assert!(chunks.iter().all(|c| !c.text.contains('\0')));
            prop_assert_eq!(Parameters::from_json(&chunks[1].text), Ok(parameters));
        }
    }
}
