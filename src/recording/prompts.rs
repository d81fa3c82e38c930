//! Takes prompts out of what is recorded.
//!
//! It looks at JSON, not at types: a field that is new tomorrow and called some kind of prompt is empty in a recording, and a
//! prompt that was seen once is taken out of every text that repeats it, such as a line of the log.

use std::collections::BTreeSet;

use serde_json::Value;

/// Shorter ones stand in too many words.
const SHORTEST: usize = 4;
/// The most prompts that are looked for in other texts, the last ones; each is a search in each text.
const MOST: usize = 4096;
/// What stands where a prompt was.
const LEFT_OUT: &str = "(prompt)";

/// What becomes of prompts.
#[derive(Debug, Default)]
pub struct Prompts {
    seen: BTreeSet<String>,
}

impl Prompts {
    /// Takes every prompt out of a value.
    pub fn take_out(&mut self, value: &mut Value) {
        self.empty(value);
        self.replace(value);
    }

    /// Empties the fields that hold prompts, and remembers what was there.
    fn empty(&mut self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields.iter_mut() {
                    if !is_prompt(name) {
                        self.empty(field);
                    } else if let Value::String(text) = field {
                        self.remember(&std::mem::take(text));
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.empty(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn remember(&mut self, text: &str) {
        if text.trim().len() >= SHORTEST && (self.seen.len() < MOST || self.seen.pop_first().is_some()) {
            self.seen.insert(text.trim().to_owned());
        }
    }

    fn replace(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                for prompt in &self.seen {
                    if text.contains(prompt.as_str()) {
                        *text = text.replace(prompt.as_str(), LEFT_OUT);
                    }
                }
            }
            Value::Object(fields) => fields.values_mut().for_each(|field| self.replace(field)),
            Value::Array(items) => items.iter_mut().for_each(|item| self.replace(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

fn is_prompt(field: &str) -> bool {
    field.contains("prompt") || field == "negative"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prompts_are_emptied_and_no_text_repeats_them() {
        let mut prompts = Prompts::default();
        let mut job = json!({"spec": {"prompt": "a red fox", "negative": "blurry", "steps": 4, "notes": ["a red fox was cut"]}});
        prompts.take_out(&mut job);
        assert_eq!(job, json!({"spec": {"prompt": "", "negative": "", "steps": 4, "notes": ["(prompt) was cut"]}}));
        let mut line = json!({"text": "job 4: `a red fox` is not blurry"});
        prompts.take_out(&mut line);
        assert_eq!(line, json!({"text": "job 4: `(prompt)` is not (prompt)"}));
    }
}
