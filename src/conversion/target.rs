//! PROVISIONAL
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target { Fp32, Fp16, Bf16, Fp8, Fp8E5m2, ScaledFp8 }
impl Target {
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text { "fp32" => Self::Fp32, "fp16" => Self::Fp16, "bf16" => Self::Bf16, "fp8" | "fp8_e4m3fn" => Self::Fp8, "fp8_e5m2" => Self::Fp8E5m2, "fp8_e4m3fn_scaled" => Self::ScaledFp8, _ => return None })
    }
}
impl fmt::Display for Target { fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(match self { Self::Fp32 => "fp32", Self::Fp16 => "fp16", Self::Bf16 => "bf16", Self::Fp8 => "fp8_e4m3fn", Self::Fp8E5m2 => "fp8_e5m2", Self::ScaledFp8 => "fp8_e4m3fn_scaled" }) } }
