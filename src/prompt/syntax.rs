//! Text to marks: which brackets belong together, what strength they carry, and where windows end.
//!
//! One pass and one stack, so the work grows with the text and never with the depth of its brackets.
//! A bracket without its other half is text, and so are brackets that cross: in `(a [b) c]` only the
//! round ones are a pair. Both programs that the dialects come from read such prompts their own odd
//! ways (A1111 lets an unclosed bracket reach to the end); here they are taken for slips of the pen.

use super::dialect::Dialect;

/// What a pair of brackets does to the weight inside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Strength {
    /// Multiplies it.
    Times(f64),
    /// Replaces it.
    Exactly(f64),
}

/// A stretch of a prompt. Every `Open` has its `Close`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Mark {
    Text(String),
    Open(Strength),
    Close,
    Break,
}

/// What one level of brackets without a number does.
const LEVEL: f64 = 1.1;
const BREAK: &str = "BREAK";

/// Returns the marks of `text` in order.
pub(super) fn marks(text: &str, dialect: Dialect) -> Vec<Mark> {
    let mut reader =
        Reader { text, dialect, at: 0, plain_from: 0, run: String::new(), found: Vec::new(), open: Vec::new(), waiting: [0; 2] };
    while let Some(next) = text[reader.at..].chars().next() {
        reader.read(next);
    }
    reader.finish()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bracket {
    Round,
    Square,
}

impl Bracket {
    fn opening(self) -> char {
        match self {
            Self::Round => '(',
            Self::Square => '[',
        }
    }
}

/// What was found, with brackets whose other half may still come.
enum Found {
    Mark(Mark),
    Opening(Bracket),
}

struct Opening {
    bracket: Bracket,
    /// Its index in `found`.
    place: usize,
    /// The offset in the text where its inside begins.
    inside: usize,
}

struct Reader<'a> {
    text: &'a str,
    dialect: Dialect,
    at: usize,
    /// From here to `at`, the text stands in `run` as it was written.
    plain_from: usize,
    run: String,
    found: Vec<Found>,
    open: Vec<Opening>,
    /// How many of each bracket are in `open`.
    waiting: [usize; 2],
}

impl Reader<'_> {
    fn read(&mut self, next: char) {
        match next {
            '\\' => self.escape(),
            '(' => self.open(Bracket::Round),
            ')' => self.close(Bracket::Round, next),
            other => match self.dialect {
                Dialect::Comfy => self.take(other),
                Dialect::A1111 => match other {
                    '[' => self.open(Bracket::Square),
                    ']' => self.close(Bracket::Square, next),
                    'B' if self.is_break() => self.end_window(),
                    other => self.take(other),
                },
            },
        }
    }

    fn take(&mut self, c: char) {
        self.run.push(c);
        self.at += c.len_utf8();
    }

    /// A backslash and what it protects. In A1111 one that protects nothing vanishes.
    fn escape(&mut self) {
        let next = self.text[self.at + 1..].chars().next();
        let (special, unused) = match self.dialect {
            Dialect::A1111 => ("()[]\\", ""),
            Dialect::Comfy => ("()", "\\"),
        };
        self.at += 1;
        match next.filter(|c| special.contains(*c)) {
            Some(protected) => self.take(protected),
            None => self.run.push_str(unused),
        }
        self.plain_from = self.at;
    }

    fn open(&mut self, bracket: Bracket) {
        self.flush();
        self.at += 1;
        self.plain_from = self.at;
        self.open.push(Opening { bracket, place: self.found.len(), inside: self.at });
        self.waiting[bracket as usize] += 1;
        self.found.push(Found::Opening(bracket));
    }

    fn close(&mut self, bracket: Bracket, closing: char) {
        if let Some(partner) = self.take_partner(bracket) {
            let strength = match bracket {
                Bracket::Round => self.take_number(partner.inside),
                Bracket::Square => Strength::Times(1.0 / LEVEL),
            };
            self.flush();
            self.found[partner.place] = Found::Mark(Mark::Open(strength));
            self.found.push(Found::Mark(Mark::Close));
        } else {
            self.run.push(closing);
        }
        self.at += 1;
        self.plain_from = self.at;
    }

    /// Takes the last bracket of this kind, and those of the other kind that opened since: they have
    /// lost their other half.
    fn take_partner(&mut self, bracket: Bracket) -> Option<Opening> {
        // Without this look a text of brackets that never meet would be searched once for each.
        if self.waiting[bracket as usize] == 0 {
            return None;
        }
        while let Some(opening) = self.open.pop() {
            self.waiting[opening.bracket as usize] -= 1;
            if opening.bracket == bracket {
                return Some(opening);
            }
        }
        None
    }

    /// Returns the strength of the round brackets that close here, and takes its number off the run.
    fn take_number(&mut self, inside: usize) -> Strength {
        let plain = &self.text[self.plain_from..self.at];
        let found = plain.rfind(':').and_then(|colon| {
            let number = plain[colon + 1..].trim();
            let weight = match self.dialect {
                Dialect::A1111 if is_plain_number(number) => number.parse::<f64>().ok()?,
                Dialect::A1111 => return None,
                // ComfyUI takes `(:1.2)` for text.
                Dialect::Comfy if self.plain_from + colon == inside => return None,
                Dialect::Comfy => number.parse::<f64>().ok()?,
            };
            weight.is_finite().then_some((plain.len() - colon, weight))
        });
        let Some((length, weight)) = found else { return Strength::Times(LEVEL) };
        self.run.truncate(self.run.len() - length);
        match self.dialect {
            Dialect::A1111 => Strength::Times(weight),
            Dialect::Comfy => Strength::Exactly(weight),
        }
    }

    /// Returns whether `BREAK` stands here as a word of its own.
    fn is_break(&self) -> bool {
        let (before, here) = self.text.split_at(self.at);
        let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        here.strip_prefix(BREAK).is_some_and(|after| !joins(after.chars().next())) && !joins(before.chars().next_back())
    }

    fn end_window(&mut self) {
        self.run.truncate(self.run.trim_end().len());
        self.flush();
        self.found.push(Found::Mark(Mark::Break));
        self.at += BREAK.len();
        self.at = self.text.len() - self.text[self.at..].trim_start().len();
        self.plain_from = self.at;
    }

    fn flush(&mut self) {
        if !self.run.is_empty() {
            self.found.push(Found::Mark(Mark::Text(std::mem::take(&mut self.run))));
        }
    }

    fn finish(mut self) -> Vec<Mark> {
        self.flush();
        let mark = |found| match found {
            Found::Mark(mark) => mark,
            Found::Opening(bracket) => Mark::Text(bracket.opening().to_string()),
        };
        self.found.into_iter().map(mark).collect()
    }
}

/// Returns whether `number` is a sign and digits and points: what A1111 takes for a weight, no exponents.
fn is_plain_number(number: &str) -> bool {
    number.strip_prefix(['+', '-']).unwrap_or(number).bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, dialect: Dialect, expected: &str) {
        let shown = marks(text, dialect).into_iter().map(|mark| match mark {
            Mark::Text(text) => text,
            Mark::Open(Strength::Times(w)) => format!("<*{w:.2} "),
            Mark::Open(Strength::Exactly(w)) => format!("<={w:.2} "),
            Mark::Close => ">".to_owned(),
            Mark::Break => "|".to_owned(),
        });
        assert_eq!(shown.collect::<String>(), expected, "{text:?} in {dialect}");
    }

    #[test]
    fn brackets_pair_up() {
        check("a (b) c", Dialect::A1111, "a <*1.10 b> c");
        check("((a) [b])", Dialect::A1111, "<*1.10 <*1.10 a> <*0.91 b>>");
        check("(a:1.3)", Dialect::A1111, "<*1.30 a>");
        check("(a:1.3)", Dialect::Comfy, "<=1.30 a>");
        check("[a] (b)", Dialect::Comfy, "[a] <*1.10 b>");
    }

    #[test]
    fn a_lone_bracket_is_text() {
        for (text, expected) in
            [("(", "("), (")", ")"), (":)", ":)"), ("(a", "(a"), ("a)(b", "a)(b"), ("((a)", "(<*1.10 a>"), ("(a))", "<*1.10 a>)")]
        {
            check(text, Dialect::A1111, expected);
            check(text, Dialect::Comfy, expected);
        }
        check("(a [b) c]", Dialect::A1111, "<*1.10 a [b> c]");
        check("[a (b] c)", Dialect::A1111, "<*0.91 a (b> c)");
        check("a:1.2)", Dialect::A1111, "a:1.2)");
    }

    #[test]
    fn numbers_are_read_as_each_program_reads_them() {
        for (text, a1111, comfy) in [
            ("(a: 1.2 )", "<*1.20 a>", "<=1.20 a>"),
            ("(a:+.5)", "<*0.50 a>", "<=0.50 a>"),
            ("(a:-1)", "<*-1.00 a>", "<=-1.00 a>"),
            ("(a:1e1)", "<*1.10 a:1e1>", "<=10.00 a>"),
            ("(a:b)", "<*1.10 a:b>", "<*1.10 a:b>"),
            ("(a:)", "<*1.10 a:>", "<*1.10 a:>"),
            ("(a:.)", "<*1.10 a:.>", "<*1.10 a:.>"),
            ("(a:1.2.3)", "<*1.10 a:1.2.3>", "<*1.10 a:1.2.3>"),
            ("(a:b:1.2)", "<*1.20 a:b>", "<=1.20 a:b>"),
            ("(a:1.2:)", "<*1.10 a:1.2:>", "<*1.10 a:1.2:>"),
            ("(a:nan)", "<*1.10 a:nan>", "<*1.10 a:nan>"),
            ("(a:inf)", "<*1.10 a:inf>", "<*1.10 a:inf>"),
            ("(:1.2)", "<*1.20 >", "<*1.10 :1.2>"),
            ("((a):1.2)", "<*1.20 <*1.10 a>>", "<=1.20 <*1.10 a>>"),
            ("(a (b:1.2):1.3)", "<*1.30 a <*1.20 b>>", "<=1.30 a <=1.20 b>>"),
            ("(a:1\\.2)", "<*1.10 a:1.2>", "<*1.10 a:1\\.2>"),
        ] {
            check(text, Dialect::A1111, a1111);
            check(text, Dialect::Comfy, comfy);
        }
    }

    #[test]
    fn a_backslash_protects() {
        for (text, a1111, comfy) in [
            (r"\(a\)", "(a)", "(a)"),
            (r"(a\))", "<*1.10 a)>", "<*1.10 a)>"),
            (r"\[a\]", "[a]", r"\[a\]"),
            (r"a\\b", r"a\b", r"a\\b"),
            (r"a\b", "ab", r"a\b"),
            (r"\\(a)", r"\<*1.10 a>", r"\(a)"),
            ("a\\", "a", "a\\"),
        ] {
            check(text, Dialect::A1111, a1111);
            check(text, Dialect::Comfy, comfy);
        }
    }

    #[test]
    fn break_is_a_word_in_capitals() {
        check("a BREAK b", Dialect::A1111, "a|b");
        check("a\nBREAK\nb", Dialect::A1111, "a|b");
        check("a, BREAK, b", Dialect::A1111, "a,|, b");
        check("(a BREAK b)", Dialect::A1111, "<*1.10 a|b>");
        check("(a) BREAK [b]", Dialect::A1111, "<*1.10 a>|<*0.91 b>");
        check("BREAK BREAK", Dialect::A1111, "||");
        check("break BREAKS _BREAK ÉBREAK", Dialect::A1111, "break BREAKS _BREAK ÉBREAK");
        check("a BREAK b", Dialect::Comfy, "a BREAK b");
        check(r"a B\REAK b", Dialect::A1111, "a BREAK b");
    }
}
