//! Where in a file a mistake is.

/// Returns line and column, from 1, of what a problem is about: where the reader of YAML says so, else where the key or the
/// value stands that it names.
///
/// The reader knows the place of what it reads itself. What our own types refuse it places at the beginning of the mapping
/// around it, and does not tell where that is the beginning of the file.
#[must_use]
pub fn position(problem: &str, text: &str) -> (usize, usize) {
    if let Some((_, place)) = split(problem) {
        return place;
    }
    let names = |word: &&str| !word.is_empty() && !word.contains('/');
    let words = problem.split([' ', '`', ':', '.', ';', ',', '\'']).filter(names);
    let of_key = |word: &str| text.lines().position(|l| l.trim_start().strip_prefix(word).is_some_and(|rest| rest.starts_with(':')));
    let of_value = |word: &str| text.lines().position(|l| !l.trim_start().starts_with('#') && l.contains(word));
    let found = words.clone().find_map(|word| Some((of_key(word)?, word)));
    let found = found.or_else(|| words.filter(|w| w.len() > 3).find_map(|word| Some((of_value(word)?, word))));
    let column = |(line, word): (usize, &str)| text.lines().nth(line).and_then(|l| l.find(word)).map_or(1, |at| at + 1);
    found.map_or((1, 1), |found| (found.0 + 1, column(found)))
}

/// Takes the place off a problem that the reader of YAML has told of.
#[must_use]
pub fn split(problem: &str) -> Option<(&str, (usize, usize))> {
    let (before, rest) = problem.rsplit_once(" at line ")?;
    let (line, column) = rest.split_once(" column ")?;
    Some((before, (line.parse().ok()?, column.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_has_a_place_also_where_only_its_key_is_known() {
        assert_eq!(position("unknown field `x` at line 3 column 7", ""), (3, 7));
        let yaml = "# floor\nlog: info\nengine_threads: 0\nroles: {devices: {gpu0: red}}\n";
        assert_eq!(position("/c.yaml: engine_threads is 0", yaml), (3, 1));
        assert_eq!(position("theme `mine` names a device `gpu0`", yaml), (4, 9));
        assert_eq!(position("nobody knows", yaml), (1, 1));
    }
}
