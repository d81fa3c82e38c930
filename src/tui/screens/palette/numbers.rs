//! Commands for jobs that are not among those shown, by the number that is typed.

use super::entries::{Command, Entry};
use crate::units::JobId;

/// Verbs that want to know more of a job than its number.
const OF_SHOWN: &[&str] = &["pause", "resume", "retry", "move", "edit", "duplicate", "offload"];

/// Returns the command that is typed with the number of a job that none of these entries is for. `refusal` says why nothing can
/// be done now.
#[must_use]
pub fn typed(text: &str, entries: &[Entry], refusal: Option<&String>) -> Option<Entry> {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    if words.first() == Some(&"queue") {
        words.remove(0);
    }
    let [verb, number, ..] = words[..] else { return None };
    let job = number.parse().ok().filter(|number| *number > 0).map(JobId)?;
    if entries.iter().any(|entry| entry.command == Command::Show(job)) {
        return None;
    }
    let (command, about, refused) = match verb {
        "cancel" => (Command::CancelUnseen(job), "take back a job that is not shown here; asks first", refusal.cloned()),
        "show" => (Command::Show(job), "look at a job that is not shown here", refusal.cloned()),
        other if OF_SHOWN.contains(&other) => {
            let reason = format!("job {job} is not shown here; `show {job}` brings it");
            (Command::Show(job), "", Some(reason))
        }
        _ => return None,
    };
    Some(Entry { words: format!("queue {verb} {job}"), about: about.to_owned(), key: None, command, refused })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(&str, Command, bool)>) {
        let shown =
            Entry { words: "queue show 41".to_owned(), about: String::new(), key: None, command: Command::Show(JobId(41)), refused: None };
        let found = typed(text, &[shown], None).map(|e| (e.words, e.command, e.refused.is_none()));
        assert_eq!(found, expected.map(|(words, command, can)| (words.to_owned(), command, can)), "{text}");
    }

    #[test]
    fn a_job_that_is_not_shown_has_a_number() {
        check("cancel 169", Some(("queue cancel 169", Command::CancelUnseen(JobId(169)), true)));
        check(" queue  show 169 ", Some(("queue show 169", Command::Show(JobId(169)), true)));
        check("queue retry 169", Some(("queue retry 169", Command::Show(JobId(169)), false)));
        check("cancel 41", None);
        check("cancel waiting", None);
        check("theme 3", None);
        check("cancel -4", None);
    }
}
