//! Names of solvers, schedules and predictions, as users of ComfyUI know them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text names no sampler, schedule or prediction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}; use one of {choices}")]
pub struct MethodError {
    /// What was typed.
    pub text: String,
    /// What was asked for.
    pub kind: &'static str,
    /// The names there are.
    pub choices: String,
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident, $kind:literal, { $($(#[$vdoc:meta])* $variant:ident $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every one there is, in the order of menus.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the name used in flags, files and JSON.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $name {
            type Err = MethodError;

            fn from_str(text: &str) -> Result<Self, MethodError> {
                Self::ALL.iter().copied().find(|m| m.name() == text).ok_or_else(|| MethodError {
                    text: text.to_owned(),
                    kind: $kind,
                    choices: Self::ALL.iter().map(|m| m.name()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

named!(
    /// A solver of the diffusion's differential equation.
    Sampler, "sampler", {
        /// Euler's method.
        Euler "euler",
        /// Euler's method that puts noise back at each step.
        EulerAncestral "euler_ancestral",
        /// Heun's method: two model calls a step.
        Heun "heun",
        /// DPM-Solver of second order: two model calls a step.
        Dpm2 "dpm_2",
        /// DPM-Solver++ of second order, single step, that puts noise back at each step.
        Dpmpp2sAncestral "dpmpp_2s_ancestral",
        /// DPM-Solver++ of second order, multistep.
        Dpmpp2m "dpmpp_2m",
        /// The same for the stochastic equation.
        Dpmpp2mSde "dpmpp_2m_sde",
        /// The same of third order for the stochastic equation.
        Dpmpp3mSde "dpmpp_3m_sde",
        /// DPM-Solver++ for the stochastic equation, single step.
        DpmppSde "dpmpp_sde",
        /// Denoising diffusion implicit models; Euler's method in other clothes.
        Ddim "ddim",
        /// Latent consistency models.
        Lcm "lcm",
        /// The unified predictor-corrector.
        UniPc "uni_pc",
    }
);

impl Sampler {
    /// Returns how often the model is called in a step.
    #[must_use]
    pub fn evaluations(self) -> u64 {
        match self {
            Self::Heun | Self::Dpm2 | Self::Dpmpp2sAncestral | Self::DpmppSde => 2,
            Self::Euler
            | Self::EulerAncestral
            | Self::Dpmpp2m
            | Self::Dpmpp2mSde
            | Self::Dpmpp3mSde
            | Self::Ddim
            | Self::Lcm
            | Self::UniPc => 1,
        }
    }
}

named!(
    /// A rule that spaces the noise levels of a run.
    Schedule, "schedule", {
        /// Even in the model's time.
        Normal "normal",
        /// Karras et al. 2022, equation 5, with ρ = 7.
        Karras "karras",
        /// Even in the logarithm of noise.
        Exponential "exponential",
        /// Even in time, last point left out.
        SgmUniform "sgm_uniform",
        /// Even in the model's table.
        Simple "simple",
        /// Quantiles of a beta distribution with α = β = 0.6.
        Beta "beta",
        /// Even in the model's table, as DDIM spaces its steps.
        DdimUniform "ddim_uniform",
        /// Slow and even near pure noise, then along a parabola. Genmo's Mochi.
        LinearQuadratic "linear_quadratic",
        /// Even in the arc tangent of noise. Sabour et al. 2024, "Align Your Steps", equation 2.
        KlOptimal "kl_optimal",
    }
);

named!(
    /// What the network's output means.
    Prediction, "prediction", {
        /// The noise.
        Epsilon "eps",
        /// The velocity of Salimans and Ho 2022.
        V "v",
        /// The velocity of flow matching, from picture to noise.
        Flow "flow",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_errors_list_the_choices() {
        for sampler in Sampler::ALL {
            assert_eq!(sampler.name().parse(), Ok(*sampler));
        }
        for schedule in Schedule::ALL {
            assert_eq!(schedule.name().parse(), Ok(*schedule));
        }
        assert_eq!(
            "v_prediction".parse::<Prediction>().map_err(|e| e.to_string()),
            Err("`v_prediction` is not a prediction; use one of eps, v, flow".to_owned())
        );
    }
}
