//! A filter's text, read.
//!
//! ```text
//! any   = all { "|" all }
//! all   = one { ["&"] one }
//! one   = "!" one | "(" any ")" | field operator value | word | quoted
//! ```

use super::evaluate::{Filter, Rule};
use super::field::{Field, Kind, Wanted};
use super::tokens::{self, Operator, Piece, Token};

/// How deep parentheses and `!` may lie in one another.
const DEEPEST: usize = 32;

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FilterError {
    /// Where it went wrong, in bytes from the beginning; on a letter's first byte or at the end.
    pub at: usize,
    /// What is wrong, and what can be written there.
    pub message: String,
}

/// Reads a filter for rows that have these fields. Nothing but spaces lets every row through.
pub fn parse(text: &str, fields: &'static [Field]) -> Result<Filter, FilterError> {
    let tokens = tokens::cut(text)?;
    let mut reader = Reader { tokens, place: 0, depth: 0, end: text.len(), fields };
    if reader.tokens.is_empty() {
        return Ok(Filter::default());
    }
    let rule = reader.any()?;
    match reader.peek() {
        None => Ok(Filter::of(rule)),
        Some(token) => Err(FilterError { at: token.at, message: "this parenthesis was not opened".to_owned() }),
    }
}

struct Reader {
    tokens: Vec<Token>,
    place: usize,
    depth: usize,
    end: usize,
    fields: &'static [Field],
}

impl Reader {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.place)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.place).cloned();
        self.place += usize::from(token.is_some());
        token
    }

    fn follows(&self, piece: &Piece) -> bool {
        self.peek().is_some_and(|token| token.piece == *piece)
    }

    fn wrong<T>(&self, token: Option<&Token>, message: impl Into<String>) -> Result<T, FilterError> {
        Err(FilterError { at: token.map_or(self.end, |t| t.at), message: message.into() })
    }

    fn any(&mut self) -> Result<Rule, FilterError> {
        let mut rules = vec![self.all()?];
        while self.follows(&Piece::Or) {
            self.place += 1;
            rules.push(self.all()?);
        }
        Ok(if rules.len() == 1 { rules.remove(0) } else { Rule::Any(rules) })
    }

    fn all(&mut self) -> Result<Rule, FilterError> {
        let mut rules = vec![self.one()?];
        while let Some(token) = self.peek() {
            match token.piece {
                Piece::Or | Piece::Close => break,
                Piece::And => self.place += 1,
                Piece::Not | Piece::Open | Piece::Operator(_) | Piece::Word(_) | Piece::Quoted(_) => {}
            }
            rules.push(self.one()?);
        }
        Ok(if rules.len() == 1 { rules.remove(0) } else { Rule::All(rules) })
    }

    fn one(&mut self) -> Result<Rule, FilterError> {
        let token = self.next();
        match token.as_ref().map(|t| &t.piece) {
            Some(Piece::Not) => {
                self.deeper(token.as_ref())?;
                let rule = self.one()?;
                self.depth -= 1;
                Ok(Rule::Not(Box::new(rule)))
            }
            Some(Piece::Open) => {
                self.deeper(token.as_ref())?;
                let rule = self.any()?;
                self.depth -= 1;
                if !self.follows(&Piece::Close) {
                    return self.wrong(token.as_ref(), "this parenthesis is not closed");
                }
                self.place += 1;
                Ok(rule)
            }
            Some(Piece::Quoted(text)) => Ok(Rule::Holds(text.to_lowercase())),
            Some(Piece::Word(word)) => match self.peek().map(|t| t.piece.clone()) {
                Some(Piece::Operator(operator)) => {
                    self.place += 1;
                    let field = self.field(word, token.as_ref())?;
                    self.compare(field, operator)
                }
                _ => Ok(Rule::Holds(word.to_lowercase())),
            },
            Some(Piece::Operator(operator)) => {
                let message = format!("before `{}` stands the name of a field: {}", operator.sign(), self.names());
                self.wrong(token.as_ref(), message)
            }
            Some(Piece::And | Piece::Or | Piece::Close) | None => {
                self.wrong(token.as_ref(), "here a word is missing, or a field and its value")
            }
        }
    }

    fn deeper(&mut self, token: Option<&Token>) -> Result<(), FilterError> {
        self.depth += 1;
        if self.depth > DEEPEST { self.wrong(token, "this is too deep; nobody can read it") } else { Ok(()) }
    }

    fn names(&self) -> String {
        self.fields.iter().map(Field::name).collect::<Vec<_>>().join(", ")
    }

    fn field(&self, word: &str, token: Option<&Token>) -> Result<&'static Field, FilterError> {
        let is_it = |field: &&Field| field.names.iter().any(|name| name.eq_ignore_ascii_case(word));
        match self.fields.iter().find(is_it) {
            Some(field) => Ok(field),
            None => self.wrong(token, format!("there is no field `{word}`; there are {}", self.names())),
        }
    }

    fn compare(&mut self, field: &'static Field, operator: Operator) -> Result<Rule, FilterError> {
        let (name, sign) = (field.name(), operator.sign());
        let before = self.tokens.get(self.place.saturating_sub(1)).cloned();
        match operator {
            Operator::Holds if field.kind != Kind::Text => {
                return self.wrong(before.as_ref(), format!("~= is for texts; {name} takes {}", operators(field.kind)));
            }
            Operator::More | Operator::Less | Operator::AtLeast | Operator::AtMost if !field.kind.is_ordered() => {
                return self.wrong(before.as_ref(), format!("{name} has no order; it takes {}", operators(field.kind)));
            }
            _ => {}
        }
        let token = self.next();
        let text = match token.as_ref().map(|t| t.piece.clone()) {
            Some(Piece::Word(word)) => self.with_unit(field.kind, word),
            Some(Piece::Quoted(text)) => text,
            _ => return self.wrong(token.as_ref(), format!("after `{name}{sign}` a value is missing")),
        };
        match field.kind.read(&text) {
            Ok(wanted) => Ok(rule(field, operator, wanted)),
            Err(message) => self.wrong(token.as_ref(), message),
        }
    }

    /// A number and its unit may stand apart, as in `4 GiB`.
    fn with_unit(&mut self, kind: Kind, word: String) -> String {
        let is_number = word.chars().all(|c| c.is_ascii_digit() || c == '.');
        let before_operator = matches!(self.tokens.get(self.place + 1).map(|t| &t.piece), Some(Piece::Operator(_)));
        match self.peek().map(|t| &t.piece) {
            Some(Piece::Word(unit)) if is_number && !before_operator && kind.has_unit(unit) => {
                let whole = word + unit;
                self.place += 1;
                whole
            }
            _ => word,
        }
    }
}

fn operators(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "= != ~=",
        Kind::Flag => "= !=",
        Kind::Number | Kind::Bytes | Kind::Share | Kind::Span | Kind::Degrees | Kind::Rank(_) => "= != > < >= <=",
    }
}

fn rule(field: &'static Field, operator: Operator, wanted: Wanted) -> Rule {
    let name = field.name();
    let between = |least: Option<f64>, most: Option<f64>, open: bool| Rule::Within { field: name, least, most, open };
    match (operator, wanted) {
        (Operator::Different, Wanted::Text(text)) => Rule::Not(Box::new(Rule::Is { field: name, text })),
        (Operator::Holds, Wanted::Text(text)) => Rule::Has { field: name, text },
        (_, Wanted::Text(text)) => Rule::Is { field: name, text },
        (Operator::More, Wanted::Number { value, .. }) => between(Some(value), None, true),
        (Operator::Less, Wanted::Number { value, .. }) => between(None, Some(value), true),
        (Operator::AtLeast, Wanted::Number { value, .. }) => between(Some(value), None, false),
        (Operator::AtMost, Wanted::Number { value, .. }) => between(None, Some(value), false),
        (Operator::Different, Wanted::Number { value, half }) => Rule::Outside { field: name, least: value - half, most: value + half },
        (Operator::Equal | Operator::Holds, Wanted::Number { value, half }) => between(Some(value - half), Some(value + half), false),
    }
}
