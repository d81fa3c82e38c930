//! The text that Stable Diffusion web UI writes into pictures, and that galleries and sites read:
//!
//! ```text
//! the prompt, which may have several lines
//! Negative prompt: what is not wanted, likewise
//! Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x512, …
//! ```
//!
//! Values with a comma, a colon or a line break are JSON strings. Samplers and schedules have names of
//! their own there. A prompt with a line that starts with `Negative prompt:` cannot be told from one
//! that ends above it; the JSON form has no such gap.

use super::error::ImageryError;
use super::parameters::Parameters;
use crate::units::Seed;

const NEGATIVE: &str = "Negative prompt:";
/// A last line with fewer settings is part of the prompt, to A1111 and to us.
const FEWEST_SETTINGS: usize = 3;

/// Our names and those that A1111 shows. Its `modules/sd_samplers_kdiffusion.py` and `sd_schedulers.py`.
const SAMPLERS: &[(&str, &str)] = &[
    ("euler", "Euler"),
    ("euler_ancestral", "Euler a"),
    ("heun", "Heun"),
    ("dpm_2", "DPM2"),
    ("dpmpp_2s_ancestral", "DPM++ 2S a"),
    ("dpmpp_2m", "DPM++ 2M"),
    ("dpmpp_2m_sde", "DPM++ 2M SDE"),
    ("dpmpp_3m_sde", "DPM++ 3M SDE"),
    ("dpmpp_sde", "DPM++ SDE"),
    ("ddim", "DDIM"),
    ("lcm", "LCM"),
    ("uni_pc", "UniPC"),
];
const SCHEDULES: &[(&str, &str)] = &[
    ("normal", "Normal"),
    ("karras", "Karras"),
    ("exponential", "Exponential"),
    ("sgm_uniform", "SGM Uniform"),
    ("simple", "Simple"),
    ("beta", "Beta"),
    ("ddim_uniform", "DDIM"),
    ("kl_optimal", "KL Optimal"),
];

fn title<'a>(names: &[(&str, &'a str)], name: &'a str) -> &'a str {
    names.iter().find(|(ours, _)| *ours == name).map_or(name, |(_, theirs)| theirs)
}

fn name<'a>(names: &[(&'a str, &str)], title: &'a str) -> &'a str {
    names.iter().find(|(_, theirs)| *theirs == title).map_or(title, |(ours, _)| ours)
}

/// Returns the text of a picture.
#[must_use]
pub fn render(p: &Parameters) -> String {
    let mut lines = Vec::new();
    if !p.prompt.is_empty() {
        lines.push(p.prompt.clone());
    }
    if !p.negative.is_empty() {
        lines.push(format!("{NEGATIVE} {}", p.negative));
    }
    let settings = [
        ("Steps", Some(p.steps.to_string())),
        ("Sampler", Some(title(SAMPLERS, &p.sampler).to_owned())),
        ("Schedule type", Some(title(SCHEDULES, &p.schedule).to_owned())),
        ("CFG scale", Some(p.cfg.to_string())),
        ("Seed", Some(p.seed.to_string())),
        ("Size", Some(p.size.to_string())),
        ("Model hash", p.model_hash.clone()),
        ("Model", Some(p.model.clone())),
        ("VAE", p.vae.clone()),
        ("Denoising strength", p.denoise.map(|d| d.to_string())),
        ("Clip skip", p.clip_skip.map(|n| n.to_string())),
        ("Precision", p.precision.clone()),
        ("Prompt dialect", p.dialect.clone()),
        ("Prompt weighting", p.weighting.clone()),
        ("Version", p.version.clone()),
    ];
    let settings = settings.into_iter().filter_map(|(key, value)| Some(format!("{key}: {}", quoted(value?))));
    lines.push(settings.collect::<Vec<_>>().join(", "));
    lines.join("\n")
}

fn quoted(value: String) -> String {
    let plain = !value.is_empty() && !value.contains([',', ':', '\n', '"']) && value.trim() == value;
    if plain { value } else { serde_json::Value::String(value).to_string() }
}

/// A text taken apart, with every setting whether we know it or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PictureText {
    /// What stands before the negative prompt and the settings.
    pub prompt: String,
    /// The negative prompt, empty where there is none.
    pub negative: String,
    /// The settings in their order, unquoted.
    pub settings: Vec<(String, String)>,
}

/// Takes a text apart. Nothing in it is trusted, and only a line of settings at its end is required.
pub fn parse(text: &str) -> Result<PictureText, ImageryError> {
    let (above, last) = text.trim_end().rsplit_once('\n').unwrap_or(("", text.trim_end()));
    let settings: Vec<(String, String)> = items(last).into_iter().filter_map(setting).collect();
    if settings.len() < FEWEST_SETTINGS {
        return Err(ImageryError::NoSettings);
    }
    let (prompt, negative) = match above.strip_prefix(NEGATIVE) {
        Some(negative) => ("", negative),
        None => above.split_once(&format!("\n{NEGATIVE}")).unwrap_or((above, "")),
    };
    let negative = negative.strip_prefix(' ').unwrap_or(negative);
    Ok(PictureText { prompt: prompt.to_owned(), negative: negative.to_owned(), settings })
}

/// Cuts a line at the commas outside of quotes.
fn items(line: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let (mut start, mut in_quotes, mut escaped) = (0, false, false);
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_quotes => escaped = true,
            // A quote counts where a value begins or while one is open; elsewhere it is a character.
            '"' if in_quotes || line[start..at].trim_end().ends_with(':') => in_quotes = !in_quotes,
            ',' if !in_quotes => {
                items.push(&line[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(&line[start..]);
    items
}

fn setting(item: &str) -> Option<(String, String)> {
    let (key, value) = item.split_once(':')?;
    let (key, value) = (key.trim(), value.trim());
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "_ -/".contains(c));
    let unquoted = || serde_json::from_str(value).unwrap_or_else(|_| value.to_owned());
    is_key.then(|| (key.to_owned(), if value.starts_with('"') { unquoted() } else { value.to_owned() }))
}

impl PictureText {
    /// Returns a setting's value; of a key given twice, the first.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.settings.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// Returns our parameters, where the text has what they need.
    pub fn parameters(&self) -> Result<Parameters, ImageryError> {
        let text = |key| self.get(key).map(str::to_owned);
        let needed = |key: &'static str| self.get(key).ok_or(ImageryError::MissingSetting { key });
        // Texts from before A1111 1.9 name both in one: `DPM++ 2M Karras`.
        let (sampler, suffix) = with_schedule(needed("Sampler")?);
        let schedule = self.get("Schedule type").or(suffix).unwrap_or("Normal");
        Ok(Parameters {
            prompt: self.prompt.clone(),
            negative: self.negative.clone(),
            steps: number("Steps", needed("Steps")?)?,
            sampler: name(SAMPLERS, sampler).to_owned(),
            schedule: name(SCHEDULES, schedule).to_owned(),
            cfg: number("CFG scale", needed("CFG scale")?)?,
            seed: Seed(number("Seed", needed("Seed")?)?),
            size: needed("Size")?.parse().map_err(|source| ImageryError::BadSize { source })?,
            model: text("Model").unwrap_or_default(),
            model_hash: text("Model hash"),
            vae: text("VAE"),
            precision: text("Precision"),
            denoise: self.get("Denoising strength").map(|v| number("Denoising strength", v)).transpose()?,
            clip_skip: self.get("Clip skip").map(|v| number("Clip skip", v)).transpose()?,
            dialect: text("Prompt dialect"),
            weighting: text("Prompt weighting"),
            version: text("Version"),
        })
    }
}

fn with_schedule(title: &str) -> (&str, Option<&str>) {
    let known = SCHEDULES.iter().find_map(|(_, schedule)| Some((title.strip_suffix(schedule)?.strip_suffix(' ')?, *schedule)));
    known.map_or((title, None), |(sampler, schedule)| (sampler, Some(schedule)))
}

fn number<T: std::str::FromStr>(key: &'static str, value: &str) -> Result<T, ImageryError> {
    value.parse().map_err(|_| ImageryError::BadNumber { key, value: value.to_owned() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parameters::tests::{any_parameters, sample};
    use super::*;

    #[test]
    fn the_text_is_the_one_that_other_tools_know() {
        let p = Parameters { denoise: Some(0.5), vae: Some("a, b".to_owned()), ..sample() };
        let expected = "a (cat:1.2), best quality\nNegative prompt: blurry, [dark]\nSteps: 20, Sampler: DPM++ 2M, \
            Schedule type: Karras, CFG scale: 7, Seed: 1234, Size: 512x768, Model: v1-5-pruned-emaonly, VAE: \"a, b\", \
            Denoising strength: 0.5, Precision: fp16, Prompt dialect: a1111, Prompt weighting: interpolate, \
            Version: perilune 0.1.0";
        assert_eq!(render(&p), expected);
    }

    #[test]
    fn a_text_of_a1111_is_read() {
        let text = "a cat, (fluffy:1.2)\nsecond line\nNegative prompt: bad\nworse\nSteps: 30, Sampler: Euler a, Schedule type: Automatic, \
            CFG scale: 7.5, Seed: 42, Size: 640x960, Model hash: 6ce0161689, Model: v1-5, Denoising strength: 0.4, Clip skip: 2, \
            ControlNet 0: \"Module: canny, Model: x\", Version: v1.10.1";
        let read = parse(text).unwrap();
        assert_eq!((read.prompt.as_str(), read.negative.as_str()), ("a cat, (fluffy:1.2)\nsecond line", "bad\nworse"));
        assert_eq!(read.get("ControlNet 0"), Some("Module: canny, Model: x"));
        let made = read.parameters().unwrap();
        assert_eq!((made.sampler.as_str(), made.schedule.as_str()), ("euler_ancestral", "Automatic"));
        assert_eq!((made.steps, made.cfg, made.seed, made.denoise, made.clip_skip), (30, 7.5, Seed(42), Some(0.4), Some(2)));
        assert_eq!(made.precision, None);
    }

    #[test]
    fn older_texts_name_sampler_and_schedule_in_one() {
        for (title, sampler, schedule) in [
            ("DPM++ 2M Karras", "dpmpp_2m", "karras"),
            ("DPM++ 2M SDE Exponential", "dpmpp_2m_sde", "exponential"),
            ("DDIM", "ddim", "normal"),
            ("Euler", "euler", "normal"),
        ] {
            let made = parse(&format!("x\nSteps: 1, Sampler: {title}, CFG scale: 7, Seed: 1, Size: 64x64")).unwrap().parameters().unwrap();
            assert_eq!((made.sampler.as_str(), made.schedule.as_str()), (sampler, schedule));
        }
    }

    #[test]
    fn says_what_a_text_lacks() {
        for (text, expected) in [
            ("", "the text has no line of settings"),
            ("just: a, prompt: with colons", "the text has no line of settings"),
            ("a\nSteps: 1, Seed: 1, Size: 64x64", "the settings have no `Sampler`"),
            ("Steps: x, Sampler: Euler, Seed: 1, CFG scale: 1, Size: 64x64", "`x` is not a number, in the setting `Steps`"),
            (
                "Steps: 1, Sampler: Euler, Seed: 1, CFG scale: 1, Size: 63x64",
                "the settings' size is wrong: 63x64 is not divisible by 8; the nearest size is 64x64",
            ),
        ] {
            assert_eq!(parse(text).and_then(|t| t.parameters()).map_err(|e| e.to_string()), Err(expected.to_owned()));
        }
    }

    #[test]
    fn empty_prompts_leave_no_line() {
        let bare = Parameters { prompt: String::new(), negative: String::new(), ..sample() };
        assert!(render(&bare).starts_with("Steps: 20, "));
        assert_eq!(parse(&render(&bare)).unwrap().parameters(), Ok(bare.clone()));
        let negative = Parameters { negative: "no".to_owned(), ..bare };
        assert!(render(&negative).starts_with("Negative prompt: no\nSteps: 20, "));
        assert_eq!(parse(&render(&negative)).unwrap().parameters(), Ok(negative));
    }

    proptest! {
        #[test]
        fn texts_read_back(p in any_parameters(), lines in "([a-z ,:\"]{0,9}\n)?") {
            let p = Parameters { prompt: lines.clone() + &p.prompt, negative: lines + &p.negative, ..p };
            prop_assume!(!p.prompt.contains(NEGATIVE));
            prop_assert_eq!(parse(&render(&p)).unwrap().parameters(), Ok(p));
        }

        #[test]
        fn any_text_is_taken_apart_or_refused(text in "(.|\n|Steps: 1, |Seed: \"\\\\|,|:)*") {
            if let Ok(read) = parse(&text) {
                prop_assert!(read.settings.len() >= FEWEST_SETTINGS);
                drop(read.parameters());
            }
        }
    }
}
