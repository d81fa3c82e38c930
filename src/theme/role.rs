//! What a piece of screen means. Everything that is drawn has one of these roles.

use serde::Deserialize;

use super::Style;

macro_rules! roles {
    ($($(#[$doc:meta])* $role:ident $name:ident,)*) => {
        /// What a piece of screen means.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Role {
            $($(#[$doc])* $role,)*
        }

        impl Role {
            /// Every role, in the order of the theme files.
            pub const ALL: &[Self] = &[$(Self::$role,)*];

            /// Returns the name that theme files use.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$role => stringify!($name),)* }
            }
        }

        /// The roles that a theme file sets.
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct Written {
            $(#[serde(default)] $name: Option<Style>,)*
            /// Colours of devices, by `cuda0`, `sim1`, `cpu`.
            #[serde(default)]
            pub(super) devices: std::collections::BTreeMap<String, super::Color>,
        }

        impl Written {
            pub(super) fn take(&mut self, role: Role) -> Option<Style> {
                match role { $(Role::$role => self.$name.take(),)* }
            }
        }
    };
}

roles!(
    /// Everything that has no other role.
    Text text,
    /// What may be overlooked: units, placeholders, values that grew old.
    Dim dim,
    /// Titles of panels.
    Title title,
    /// Heads of columns and names of fields.
    Label label,
    /// Keys in footers and help.
    Key key,
    /// The row or field that keys act on.
    Selection selection,
    /// The tab of the present screen.
    Tab tab,
    /// Lines around panels.
    Border border,
    /// Lines around the panel that keys act on.
    BorderFocus border_focus,
    /// What can be typed into.
    Input input,
    /// What a search found.
    Found found,
    /// It is well.
    Ok ok,
    /// It needs a look.
    Warn warn,
    /// It needs a hand.
    Crit crit,
    /// Memory: weights for the device's own computing.
    MemWeights mem_weights,
    /// Memory: weights held for another device.
    MemDonated mem_donated,
    /// Memory: activations and buffers of our engine.
    MemActivation mem_activation,
    /// Memory: whatever else holds it.
    MemOther mem_other,
    /// Memory: free.
    MemFree mem_free,
    /// Bars of progress and of use.
    Bar bar,
    /// Graphs of the past.
    Graph graph,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_files() {
        assert_eq!(Role::BorderFocus.name(), "border_focus");
        let mut written: Written = serde_yaml::from_str("{warn: yellow}").unwrap();
        assert!(written.take(Role::Warn).is_some() && written.take(Role::Crit).is_none());
        assert!(serde_yaml::from_str::<Written>("{warning: yellow}").is_err());
    }
}
