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

/// Returns line and column, from 1, of the value to which these keys lead.
#[must_use]
pub fn of_value(keys: &[&str], text: &str) -> Option<(usize, usize)> {
    let (mut line, mut column) = (0, 0);
    for (depth, key) in keys.iter().enumerate() {
        let mut places = text.lines().enumerate().skip(line).flat_map(|(at, words)| {
            let from = if at == line { column } else { 0 };
            let found = words.match_indices(key).map(|(start, _)| start).filter(move |start| *start >= from);
            found.map(move |start| (at, words, start)).collect::<Vec<_>>()
        });
        // A key of the whole document begins its line, unless all stands in one.
        let outermost = depth == 0 && !text.trim_start().starts_with('{');
        let (at, start) = places.find_map(|(at, words, start)| {
            let (before, behind) = (&words[..start], &words[start + key.len()..]);
            let is_whole = behind.trim_start().starts_with(':') && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let is_comment = before.trim_start().starts_with('#');
            (is_whole && !is_comment && !(outermost && start > 0)).then_some((at, start))
        })?;
        (line, column) = (at, start + key.len());
    }
    let words = text.lines().nth(line)?;
    let behind = words[column..].find(':').map(|colon| column + colon + 1)?;
    let gap = words[behind..].len() - words[behind..].trim_start().len();
    Some((line + 1, words[..behind + gap].chars().count() + 1))
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

    #[test]
    fn a_value_is_found_by_the_keys_that_lead_to_it() {
        let yaml =
            "# steps: 9\nparts:\n  vae: {virtual_vram_gb: 1, steps: 2}\n  clip:\n    virtual_vram_gb: 2\nsteps: 4\nvirtual_vram_gb : 3\n";
        for (keys, place) in [
            (&["steps"][..], Some((6, 8))),
            (&["virtual_vram_gb"], Some((7, 19))),
            (&["parts", "vae", "virtual_vram_gb"], Some((3, 26))),
            (&["parts", "vae", "steps"], Some((3, 36))),
            (&["parts", "clip", "virtual_vram_gb"], Some((5, 22))),
            (&["parts", "t5"], None),
        ] {
            assert_eq!(of_value(keys, yaml), place, "{keys:?}");
        }
        assert_eq!(of_value(&["run", "pin_blocks"], "{run: {pin_blocks: 'é'}}"), Some((1, 20)));
    }
}
