//! Which conversions are shown, in which order, and where the operator is among them.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use super::Menu;
use crate::tui::known::Known;
use crate::tui::widgets::search::Search;
use crate::tui::wording;
use crate::wire::{CachedView, ConversionId, ConversionView, VerifiedView};

/// Where the operator is: by what it is, never by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// A conversion on its way.
    Conversion(ConversionId),
    /// A file.
    File(PathBuf),
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Row<'a> {
    /// A conversion on its way.
    Conversion(&'a ConversionView),
    /// A file.
    File(&'a CachedView),
}

impl Row<'_> {
    /// Returns what it is about.
    #[must_use]
    pub fn at(&self) -> At {
        match self {
            Self::Conversion(view) => At::Conversion(view.id),
            Self::File(view) => At::File(view.path.clone()),
        }
    }

    /// Returns whether it is about that.
    #[must_use]
    pub fn is(&self, at: &At) -> bool {
        match (self, at) {
            (Self::Conversion(view), At::Conversion(id)) => view.id == *id,
            (Self::File(view), At::File(path)) => view.path == *path,
            (Self::Conversion(_), At::File(_)) | (Self::File(_), At::Conversion(_)) => false,
        }
    }
}

/// By what the files are ordered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// The last used first.
    #[default]
    Used,
    /// The largest first.
    Size,
    /// The newest first.
    Age,
    /// The most used first.
    Hits,
    /// What needs a hand first.
    State,
    /// By name.
    Name,
}

impl Order {
    /// Returns the next one.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Used => Self::Size,
            Self::Size => Self::Age,
            Self::Age => Self::Hits,
            Self::Hits => Self::State,
            Self::State => Self::Name,
            Self::Name => Self::Used,
        }
    }

    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Used => "last use",
            Self::Size => "size",
            Self::Age => "age",
            Self::Hits => "uses",
            Self::State => "state",
            Self::Name => "name",
        }
    }
}

/// Which conversions are shown.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The selected row; the first where it is gone.
    pub selected: Option<At>,
    /// Files that the next verb is for.
    pub marked: BTreeSet<PathBuf>,
    /// Which rows are shown.
    pub filter: Search,
    /// By what files are ordered.
    pub order: Order,
    /// Whether that is turned around.
    pub reversed: bool,
    /// What is open above the list.
    pub menu: Option<Menu>,
    /// Files that are to be read, the first of them now.
    pub verifying: VecDeque<PathBuf>,
    /// What reading files has shown.
    pub verified: Vec<VerifiedView>,
    /// What was refused last.
    pub trouble: Option<String>,
}

impl State {
    /// Returns the rows: conversions on their way, then files in their order.
    #[must_use]
    pub fn shown<'a>(&self, known: &'a Known) -> Vec<Row<'a>> {
        let on_their_way = known.conversions.iter().filter(|c| self.filter.matches(&haystack_of_conversion(c))).map(Row::Conversion);
        let mut files: Vec<&CachedView> =
            known.cached.iter().flatten().filter(|f| self.filter.is_empty() || self.filter.matches(&haystack(f))).collect();
        match self.order {
            Order::Used => files.sort_by_key(|f| std::cmp::Reverse(f.used)),
            Order::Size => files.sort_by_key(|f| std::cmp::Reverse(f.bytes)),
            Order::Age => files.sort_by_key(|f| std::cmp::Reverse(f.made)),
            Order::Hits => files.sort_by_key(|f| std::cmp::Reverse(f.hits)),
            Order::State => files.sort_by_key(|f| std::cmp::Reverse(f.state)),
            Order::Name => files.sort_by(|a, b| a.path.file_name().cmp(&b.path.file_name())),
        }
        if self.reversed {
            files.reverse();
        }
        on_their_way.chain(files.into_iter().map(Row::File)).collect()
    }

    /// Returns the row at which the operator is.
    #[must_use]
    pub fn cursor(&self, shown: &[Row<'_>]) -> Option<usize> {
        let at = self.selected.as_ref().and_then(|at| shown.iter().position(|row| row.is(at)));
        at.or(if shown.is_empty() { None } else { Some(0) })
    }

    /// Returns the row at which the operator is.
    #[must_use]
    pub fn at_hand<'a>(&self, known: &'a Known) -> Option<Row<'a>> {
        // Footers ask for every key: what is selected is found without putting all rows in order.
        let selected = self.selected.as_ref().and_then(|at| match at {
            At::Conversion(id) => known.conversions.iter().find(|c| c.id == *id).map(Row::Conversion),
            At::File(path) => known.cached.iter().flatten().find(|f| f.path == *path).map(Row::File),
        });
        if self.filter.is_empty() && selected.is_some() {
            return selected;
        }
        let shown = self.shown(known);
        self.cursor(&shown).map(|at| shown[at])
    }

    /// Returns the files that a verb is for: the marked ones, or the one at hand.
    #[must_use]
    pub fn targets<'a>(&self, known: &'a Known) -> Vec<&'a CachedView> {
        if self.marked.is_empty() {
            return match self.at_hand(known) {
                Some(Row::File(file)) => vec![file],
                Some(Row::Conversion(_)) | None => Vec::new(),
            };
        }
        known.cached.iter().flatten().filter(|f| self.marked.contains(&f.path)).collect()
    }

    /// Returns what reading a file has shown, where it was read.
    #[must_use]
    pub fn read(&self, path: &Path) -> Option<&VerifiedView> {
        self.verified.iter().find(|v| v.path == path)
    }
}

/// What the filter looks at: everything that a row shows.
fn haystack(file: &CachedView) -> String {
    let source = file.source.as_deref().map(wording::file_name).unwrap_or_default();
    let (from, to) = (file.from.as_deref().unwrap_or_default(), file.to.as_deref().unwrap_or_default());
    let kept = if file.kept { "kept" } else { "" };
    format!("{} {source} {from} {to} {} {kept}", file.path.display(), file.state.name())
}

fn haystack_of_conversion(conversion: &ConversionView) -> String {
    format!("{} {} converting", conversion.source.display(), conversion.to)
}
