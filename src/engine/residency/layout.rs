//! Where a streamed block's weights lie in its place in staging memory, and what is read to get them there.
//!
//! Whole pages of the file go to whole pages of the place, so that the disk can write them there itself; a weight then lies
//! as far behind a page's begin as it does in the file, and nothing is moved once more. Weights that are neighbours in the
//! file are one span.
//!
//! ```text
//! file   |....aaaa|aabbb...|........|..cc....|
//! place  |....aaaa|aabbb...|..cc....|
//! ```

use crate::units::Bytes;
use crate::weights::{Block, TensorEntry};

/// What disks read and memory is handed out by.
pub const PAGE: usize = 4096;

/// Whole pages of a file, and where they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The file, by its number in the catalog.
    pub file: usize,
    /// The first byte to read; a multiple of a page.
    pub start: u64,
    /// How much to read; a multiple of a page. The file may end before.
    pub length: usize,
    /// How much of it is needed.
    pub needed: usize,
    /// Where it goes in the place; a multiple of a page.
    pub at: usize,
}

impl Span {
    /// Returns it in parts of `most` bytes, a multiple of a page, the last one shorter.
    pub fn parts(&self, most: usize) -> impl Iterator<Item = Self> {
        let whole = *self;
        (0..whole.length).step_by(most).map(move |done| Self {
            start: whole.start + done as u64,
            length: most.min(whole.length - done),
            needed: most.min(whole.needed.saturating_sub(done)),
            at: whole.at + done,
            ..whole
        })
    }
}

/// A block's place in staging memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// What is read.
    pub spans: Vec<Span>,
    /// Where each weight begins in the place, in the order of the block's parameters.
    pub offsets: Vec<usize>,
    /// How large the place is.
    pub size: usize,
    /// What of it are weights.
    pub weights: Bytes,
}

impl Layout {
    /// Lays out a block.
    #[must_use]
    pub fn of(block: &Block) -> Self {
        let entries: Vec<&TensorEntry> = block.params.iter().map(|p| &p.entry).collect();
        let mut by_place: Vec<usize> = (0..entries.len()).collect();
        by_place.sort_by_key(|&i| (entries[i].file, entries[i].start));
        let mut layout = Self { offsets: vec![0; entries.len()], weights: block.bytes(), ..Self::default() };
        for i in by_place {
            layout.offsets[i] = layout.place(entries[i]);
        }
        layout
    }

    /// Makes room for a weight, behind those that come before it in its file.
    fn place(&mut self, entry: &TensorEntry) -> usize {
        let page = PAGE as u64;
        let first = entry.start / page * page;
        let needed_to = |span: &Span| span.start + span.needed as u64;
        let is_apart = |span: &Span| span.file != entry.file || first > span.start + span.length as u64;
        if self.spans.last().is_none_or(is_apart) {
            self.spans.push(Span { file: entry.file, start: first, length: 0, needed: 0, at: self.size });
        }
        let Some(span) = self.spans.last_mut() else { return 0 };
        let end = needed_to(span).max(entry.end);
        span.needed = (end - span.start) as usize;
        span.length = span.needed.next_multiple_of(PAGE);
        self.size = span.at + span.length;
        span.at + (entry.start - span.start) as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::weights::{DType, Param, Shape};

    fn block(places: &[(usize, u64, u64)]) -> Block {
        let param = |&(file, start, length): &(usize, u64, u64)| {
            let entry = TensorEntry {
                name: String::new(),
                dtype: DType::U8,
                shape: Shape::from([length]),
                file,
                start,
                end: start + length,
                coded: None,
            };
            Param { name: String::new(), entry }
        };
        Block { name: "b".to_owned(), params: places.iter().map(param).collect(), pinned: false }
    }

    #[test]
    fn neighbours_are_read_at_once_and_keep_their_place_within_a_page() {
        let layout = Layout::of(&block(&[(0, 20_000, 10), (0, 100, 5000), (0, 5100, 50)]));
        let span = |start, length, needed, at| Span { file: 0, start, length, needed, at };
        assert_eq!(layout.spans, [span(0, 8192, 5150, 0), span(16384, 4096, 3626, 8192)]);
        assert_eq!((layout.offsets, layout.size), (vec![8192 + 3616, 100, 5100], 12288));
    }

    #[test]
    fn files_are_not_mixed() {
        let layout = Layout::of(&block(&[(1, 0, 100), (0, 0, 100)]));
        assert_eq!(layout.spans.iter().map(|s| (s.file, s.at)).collect::<Vec<_>>(), [(0, 0), (1, 4096)]);
        assert_eq!(layout.offsets, [4096, 0]);
    }

    proptest! {
        /// Reading the spans puts every byte of every weight where the layout says it is.
        #[test]
        fn every_byte_arrives(gaps in prop::collection::vec((0u64..9000, 1u64..9000, 0usize..2), 1..20)) {
            let (mut at, mut places) = ([0u64; 2], Vec::new());
            for (gap, length, file) in gaps {
                places.push((file, at[file] + gap, length));
                at[file] += gap + length;
            }
            let byte = |file: usize, at: u64| (at as usize * 7 + file * 101 + at as usize / 251) as u8;
            let layout = Layout::of(&block(&places));
            let mut slot = vec![0u8; layout.size];
            let mut free = 0;
            for span in &layout.spans {
                prop_assert!((span.start as usize).is_multiple_of(PAGE) && span.length.is_multiple_of(PAGE) && span.at == free);
                free = span.at + span.length;
                for k in 0..span.needed {
                    slot[span.at + k] = byte(span.file, span.start + k as u64);
                }
            }
            prop_assert_eq!(free, layout.size);
            for ((file, start, length), offset) in places.iter().zip(&layout.offsets) {
                prop_assert_eq!(offset % PAGE, *start as usize % PAGE);
                for k in 0..*length {
                    prop_assert_eq!(slot[offset + k as usize], byte(*file, start + k));
                }
            }
        }
    }
}
