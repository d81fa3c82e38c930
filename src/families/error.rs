//! Why a set of tensors is no model, or not one we can run.

use crate::weights::{DType, Shape};

use super::absence::{LEAVE_OUT, goes_beside};
use super::{Family, Role};

/// What is wrong with a model's tensors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FamilyError {
    /// No proof of any family or part.
    #[error("the file holds {tensors} tensors but none that names a model we know{}{}", first.as_ref().map(|f| format!(", such as `{f}`")).unwrap_or_default(), says.as_ref().map(|s| format!("; its header says `{s}`")).unwrap_or_default())]
    Unknown {
        /// How many tensors there are.
        tensors: usize,
        /// One of them.
        first: Option<String>,
        /// The architecture that a GGUF header names.
        says: Option<String>,
    },
    /// Something else that goes with a model.
    #[error("this is {found}, as `{tensor}` shows, and no model")]
    NoModel {
        /// What it is.
        found: &'static str,
        /// A tensor that proves it.
        tensor: String,
    },
    /// A family that is recognised and refused by name.
    #[error("this is a {name} model, which is not supported")]
    Unsupported {
        /// The family's usual name.
        name: &'static str,
    },
    /// A tensor that the architecture needs is not there.
    #[error("the {role} lacks the tensor `{tensor}`")]
    Missing {
        /// The part.
        role: Role,
        /// The tensor's canonical name.
        tensor: String,
    },
    /// A tensor has another shape than its neighbours imply.
    #[error("the {role}'s tensor `{tensor}` has shape {found}; the rest of the file implies {expected}")]
    WrongShape {
        /// The part.
        role: Role,
        /// The tensor's canonical name.
        tensor: String,
        /// The shape it has.
        found: Shape,
        /// The shape it should have.
        expected: Shape,
    },
    /// A matrix that must be cut is stored so that its rows cannot be told apart.
    #[error("the {role}'s tensor `{tensor}` holds {parts} matrices joined, which cannot be told apart as they are stored ({storage})")]
    Joined {
        /// The part.
        role: Role,
        /// The tensor's name in its file.
        tensor: String,
        /// How many matrices it holds.
        parts: usize,
        /// How they are stored.
        storage: String,
    },
    /// Tensors that prove two families.
    #[error("the file mixes two networks: it is a {family} model, but also holds `{tensor}` of {} {other} model", if family == other { "another" } else { "a" })]
    Mixed {
        /// The family that it is.
        family: &'static str,
        /// The family that it is, too.
        other: &'static str,
        /// What proves that.
        tensor: &'static str,
    },
    /// A tensor is stored in a type that the engine cannot compute with.
    #[error("the {role}'s tensor `{tensor}` is stored as {dtype}, which this version cannot load")]
    UnloadableType {
        /// The part.
        role: Role,
        /// The tensor's canonical name.
        tensor: String,
        /// Its type.
        dtype: DType,
    },
    /// An encoder in the place of another, which would give noise: its width tells.
    #[error("this is {found}, {width} wide, and not the {role} that it was given as")]
    OtherEncoder {
        /// The part that it was given as.
        role: Role,
        /// What it is.
        found: &'static str,
        /// The width of its hidden state.
        width: u64,
    },
    /// A number read from an encoder's shapes that none of its kind has.
    #[error("the {role}'s {what} is {value}, which no such encoder has")]
    OddEncoder {
        /// The part that it was given as.
        role: Role,
        /// What the number is.
        what: &'static str,
        /// The number.
        value: u64,
    },
    /// A text encoder of another model: what it makes is not as wide as what the network reads.
    #[error("what {encoders} makes of words is {width} wide, and the network reads {wanted}, as its `{tensor}` shows")]
    Unfit {
        /// The part, or several that are read side by side.
        encoders: String,
        /// The width of what they make.
        width: u64,
        /// The width that the network reads.
        wanted: u64,
        /// The network's tensor that tells.
        tensor: &'static str,
    },
    /// An autoencoder of another model.
    #[error("this autoencoder's latents have {channels} channels, as `decoder.conv_in.weight` shows, and the network draws {wanted}")]
    OtherVae {
        /// What the autoencoder reads.
        channels: u64,
        /// What the network makes.
        wanted: u64,
    },
    /// The tensors are another part, or none.
    #[error("this is {found}, as `{tensor}` shows, and not the {role} that it was given as")]
    OtherPart {
        /// The part that it was given as.
        role: Role,
        /// What it is.
        found: &'static str,
        /// A tensor that proves it.
        tensor: String,
    },
    /// A weight that is no number.
    #[error("the {role}'s tensor `{tensor}` holds a value that is no finite number")]
    NotFinite {
        /// The part.
        role: Role,
        /// The tensor's canonical name.
        tensor: String,
    },
    /// A token that an encoder's table has no row for: its vocabulary is another's.
    #[error("the {role} knows {rows} tokens, and token {id} is none of them; the vocabulary belongs to another model")]
    NoSuchToken {
        /// The part.
        role: Role,
        /// The token.
        id: i64,
        /// The rows of its table.
        rows: u64,
    },
    /// A joined matrix in a storage that cannot be cut between its rows.
    #[error("the {role}'s tensor `{tensor}` joins three matrices and is stored as {storage}, which cannot be cut between them")]
    Uncut {
        /// The part.
        role: Role,
        /// The tensor, as the file calls it.
        tensor: String,
        /// Its type.
        storage: DType,
    },
    /// A number read from shapes that no model of the family has.
    #[error("the {role}'s {what} is {value}, which no {} model has", family.title())]
    OddNumber {
        /// The part.
        role: Role,
        /// The family it claims to be.
        family: Family,
        /// What the number is.
        what: &'static str,
        /// The number.
        value: u64,
    },
}

impl FamilyError {
    /// Returns the parts of the model that are at fault, where some are.
    #[must_use]
    pub fn roles(&self) -> Vec<Role> {
        match self {
            Self::Missing { role, .. }
            | Self::WrongShape { role, .. }
            | Self::UnloadableType { role, .. }
            | Self::OtherEncoder { role, .. }
            | Self::OddEncoder { role, .. }
            | Self::OtherPart { role, .. }
            | Self::NotFinite { role, .. }
            | Self::NoSuchToken { role, .. }
            | Self::Uncut { role, .. }
            | Self::Joined { role, .. }
            | Self::OddNumber { role, .. } => vec![*role],
            Self::OtherVae { .. } => vec![Role::Vae],
            Self::Unfit { encoders, .. } => {
                let named = |role: &Role| encoders.split(' ').any(|word| word == role.name());
                Role::ALL.iter().copied().filter(named).collect()
            }
            Self::Unknown { .. } | Self::NoModel { .. } | Self::Unsupported { .. } | Self::Mixed { .. } => Vec::new(),
        }
    }

    /// Returns what the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoModel { .. } => {
                "give the model itself; this version runs models as they are, without LoRAs, ControlNets and style adapters"
            }
            Self::Unknown { .. } => "`perilune models inspect PATH` shows what a file holds; LoRAs and ControlNets are not models",
            Self::Unsupported { .. } => "`perilune models list` shows the models that run",
            Self::Joined { .. } => "use the model's diffusers folder, which stores them apart, or another precision of the file",
            Self::Missing { .. }
            | Self::WrongShape { .. }
            | Self::OddNumber { .. }
            | Self::Mixed { .. }
            | Self::OddEncoder { .. }
            | Self::NotFinite { .. } => "the file is incomplete or mixes two models; get it again from its source",
            Self::Unfit { .. } => "give the text encoders that belong to the model; `perilune models inspect PATH` shows what a file holds",
            Self::OtherVae { .. } => "give the autoencoder that belongs to the model with --vae",
            Self::OtherPart { found, .. } if goes_beside(found) => LEAVE_OUT,
            Self::OtherPart { .. } | Self::OtherEncoder { .. } => "give each encoder with the flag of its own part",
            Self::NoSuchToken { .. } => "give the vocabulary that belongs to the encoder",
            Self::Uncut { .. } => "use the encoder's file of transformers, or one in another precision",
            Self::UnloadableType { .. } => "use an fp32, fp16 or bf16 version of the file",
        }
    }
}
