//! What a picture was made with: enough to make it again.

use serde::{Deserialize, Serialize};

use super::error::ImageryError;
use crate::units::{Seed, Size};

/// Everything that decided a picture's pixels, and who made it.
///
/// The JSON form is the exact one; the text form of [`a1111_text`](super::a1111_text) is for other tools.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// The prompt as typed, syntax and all.
    pub prompt: String,
    /// What was not wanted; empty for nothing.
    pub negative: String,
    /// Steps asked for.
    pub steps: u32,
    /// The solver's name.
    pub sampler: String,
    /// The schedule's name.
    pub schedule: String,
    /// The scale of guidance.
    pub cfg: f64,
    /// This picture's own seed, not its batch's.
    pub seed: Seed,
    /// Width and height.
    pub size: Size,
    /// The model's name.
    pub model: String,
    /// The start of the model file's SHA-256, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_hash: Option<String>,
    /// An autoencoder other than the model's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vae: Option<String>,
    /// The number format of the computation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// The part of the way walked, where it started from a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denoise: Option<f64>,
    /// How many of the text encoder's last layers were left out, counted as A1111 does: 1 is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_skip: Option<u32>,
    /// The prompts' dialect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<String>,
    /// How weights were applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weighting: Option<String>,
    /// The program, such as `perilune 0.1.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// The JSON form. Fields may be added; a change of meaning takes another format number.
#[derive(Serialize, Deserialize)]
struct Document<P> {
    format: u32,
    parameters: P,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

impl Parameters {
    /// The latest JSON format.
    pub const FORMAT: u32 = 1;

    /// Returns the JSON form.
    pub fn to_json(&self) -> Result<String, ImageryError> {
        serde_json::to_string(&Document { format: Self::FORMAT, parameters: self }).map_err(bad_json)
    }

    /// Returns the parameters in a JSON form of this perilune or an earlier one.
    pub fn from_json(json: &str) -> Result<Self, ImageryError> {
        let FormatOnly { format } = serde_json::from_str(json).map_err(bad_json)?;
        if format > Self::FORMAT {
            return Err(ImageryError::NewerFormat { found: format, known: Self::FORMAT });
        }
        let document: Document<Self> = serde_json::from_str(json).map_err(bad_json)?;
        Ok(document.parameters)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn bad_json(e: serde_json::Error) -> ImageryError {
    ImageryError::BadJson { reason: e.to_string() }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::imagery) fn sample() -> Parameters {
        Parameters {
            prompt: "a (cat:1.2), best quality".to_owned(),
            negative: "blurry, [dark]".to_owned(),
            steps: 20,
            sampler: "dpmpp_2m".to_owned(),
            schedule: "karras".to_owned(),
            cfg: 7.0,
            seed: Seed(1234),
            size: "512x768".parse().unwrap(),
            model: "v1-5-pruned-emaonly".to_owned(),
            model_hash: None,
            vae: None,
            precision: Some("fp16".to_owned()),
            denoise: None,
            clip_skip: None,
            dialect: Some("a1111".to_owned()),
            weighting: Some("interpolate".to_owned()),
            version: Some("perilune 0.1.0".to_owned()),
        }
    }

    pub(in crate::imagery) fn any_parameters() -> impl Strategy<Value = Parameters> {
        let name = || "[ -~é猫]{0,20}[!-~]";
        let texts = (".*", ".*", name(), proptest::option::of(name()), proptest::option::of(name()));
        let numbers = (1u32..1000, 0.0..30.0_f64, any::<u64>(), 1u32..200, 1u32..200, proptest::option::of(0.01..1.0_f64));
        (texts, numbers).prop_map(|((prompt, negative, model, vae, version), (steps, cfg, seed, w, h, denoise))| Parameters {
            prompt,
            negative,
            steps,
            cfg,
            seed: Seed(seed),
            size: Size::new(w * 8, h * 8).unwrap(),
            model,
            vae,
            version,
            denoise,
            ..sample()
        })
    }

    #[test]
    fn json_is_what_other_programs_can_rely_on() {
        let expected = concat!(
            r#"{"format":1,"parameters":{"prompt":"a (cat:1.2), best quality","negative":"blurry, [dark]","steps":20,"#,
            r#""sampler":"dpmpp_2m","schedule":"karras","cfg":7.0,"seed":1234,"size":{"width":512,"height":768},"#,
            r#""model":"v1-5-pruned-emaonly","precision":"fp16","dialect":"a1111","weighting":"interpolate","#,
            r#""version":"perilune 0.1.0"}}"#
        );
        assert_eq!(sample().to_json().unwrap(), expected);
    }

    #[test]
    fn json_without_what_came_later_is_read() {
        let old = r#"{"format":1,"parameters":{"prompt":"a","negative":"","steps":1,"sampler":"euler","schedule":"normal",
            "cfg":1.0,"seed":0,"size":{"width":64,"height":64},"model":"m","a_field_of_the_future":[]}}"#;
        let read = Parameters::from_json(old).unwrap();
        assert_eq!((read.prompt.as_str(), read.precision), ("a", None));
    }

    #[test]
    fn json_of_another_kind_is_refused() {
        assert_eq!(
            Parameters::from_json(r#"{"format":2,"parameters":[]}"#).map_err(|e| e.to_string()),
            Err("the picture's parameters have format 2, and this perilune reads up to 1".to_owned())
        );
        for bad in ["", "[]", "{}", r#"{"format":1}"#, r#"{"format":1,"parameters":{}}"#] {
            assert!(matches!(Parameters::from_json(bad), Err(ImageryError::BadJson { .. })), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn json_reads_back(parameters in any_parameters()) {
            prop_assert_eq!(Parameters::from_json(&parameters.to_json().unwrap()), Ok(parameters));
        }

        #[test]
        fn any_text_is_json_of_ours_or_refused(text in ".*") {
            prop_assert!(Parameters::from_json(&text).is_err());
        }
    }
}
