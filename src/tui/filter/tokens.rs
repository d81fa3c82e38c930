//! The pieces of a filter's text, each with its place.

use super::FilterError;

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    Different,
    Holds,
    More,
    Less,
    AtLeast,
    AtMost,
}

impl Operator {
    /// Every operator, the longer ones before those that they begin with.
    const ALL: &[(&str, Self)] = &[
        ("!=", Self::Different),
        ("~=", Self::Holds),
        (">=", Self::AtLeast),
        ("<=", Self::AtMost),
        (">", Self::More),
        ("<", Self::Less),
        ("=", Self::Equal),
    ];

    fn at(text: &str) -> Option<(&'static str, Self)> {
        Self::ALL.iter().copied().find(|(sign, _)| text.starts_with(sign))
    }

    /// Returns how it is written.
    pub(super) fn sign(self) -> &'static str {
        Self::ALL.iter().find(|(_, operator)| *operator == self).map_or("", |(sign, _)| sign)
    }
}

/// A piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    And,
    Or,
    Not,
    Open,
    Close,
    Operator(Operator),
    Word(String),
    Quoted(String),
}

/// A piece and where it stands, in bytes from the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) piece: Piece,
}

/// Cuts a text into its pieces.
pub(super) fn cut(text: &str) -> Result<Vec<Token>, FilterError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (piece, length) = match first {
            '&' => (Piece::And, 1),
            '|' => (Piece::Or, 1),
            '(' => (Piece::Open, 1),
            ')' => (Piece::Close, 1),
            '"' => match rest[1..].find('"') {
                Some(end) => (Piece::Quoted(rest[1..=end].to_owned()), end + 2),
                None => return Err(FilterError { at, message: "this quote is not closed".to_owned() }),
            },
            _ => match Operator::at(rest) {
                Some((sign, operator)) => (Piece::Operator(operator), sign.len()),
                None if first == '!' => (Piece::Not, 1),
                None => {
                    let word = word(rest);
                    (Piece::Word(word.to_owned()), word.len())
                }
            },
        };
        tokens.push(Token { at, piece });
        // Two signs of the same kind, `&&`, mean what one does.
        at += length;
        if matches!(first, '&' | '|') && text[at..].starts_with(first) {
            at += 1;
        }
    }
    Ok(tokens)
}

/// The word at the beginning of a text: up to a space, a sign or an operator.
fn word(text: &str) -> &str {
    let ends =
        |(at, c): &(usize, char)| c.is_whitespace() || matches!(c, '&' | '|' | '(' | ')' | '"') || Operator::at(&text[*at..]).is_some();
    // The first letter is one, whatever it is: the cutting must go on.
    let end = text.char_indices().skip(1).find(ends).map_or(text.len(), |(at, _)| at);
    &text[..end]
}
