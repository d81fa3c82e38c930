//! Which pictures are on the screen, and how far each is: ordered, made ready, shown.
//!
//! A picture is decoded and encoded away from the loop, only when a screen shows it, one at a time.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use ratatui_image::protocol::Protocol;

use super::options::{Distance, Multiplexer, PreviewChoice, Traits};
use super::terminal::probe::Answers;
use crate::units::{JobId, Timestamp};
use crate::wire::control::Preview;

/// Where a picture comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A running job's.
    Running {
        /// Which job.
        job: JobId,
        /// After this many steps.
        step: u32,
    },
    /// A file's.
    File(PathBuf),
}

/// A small picture: rows of red, green and blue.
#[derive(Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Three bytes for each.
    pub rgb: Vec<u8>,
}

impl Pixels {
    /// Reads a preview from the wire.
    pub fn of(preview: &Preview) -> Result<Self, String> {
        let rgb = base64::engine::general_purpose::STANDARD.decode(&preview.rgb).map_err(|e| format!("preview is not base64: {e}"))?;
        let expected = u64::from(preview.width) * u64::from(preview.height) * 3;
        if expected == 0 || rgb.len() as u64 != expected {
            let Preview { width, height, .. } = preview;
            return Err(format!("preview of {width}x{height} has {} bytes instead of {expected}", rgb.len()));
        }
        Ok(Self { width: preview.width, height: preview.height, rgb })
    }

    /// Returns a pixel; outside there is black.
    #[must_use]
    pub fn at(&self, x: u32, y: u32) -> [u8; 3] {
        let first = (y as usize * self.width as usize + x as usize) * 3;
        let pixel = self.rgb.get(first..first + 3).filter(|_| x < self.width);
        pixel.and_then(|p| p.try_into().ok()).unwrap_or_default()
    }
}

/// A picture that can be drawn.
#[derive(Clone)]
pub enum Picture {
    /// As pixels, for half blocks.
    Pixels(Arc<Pixels>),
    /// As the escape sequences of Kitty or sixel, for an area of so many cells.
    Encoded(Box<Protocol>),
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pixels(pixels) => write!(f, "Pixels({}x{})", pixels.width, pixels.height),
            Self::Encoded(protocol) => write!(f, "Encoded({:?})", protocol.size()),
        }
    }
}

/// How pictures are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Graphics {
    /// Not at all.
    Off,
    /// Half blocks.
    HalfBlocks,
    /// Kitty's protocol.
    Kitty {
        /// Whether the terminal inflates what was deflated.
        deflate: bool,
    },
    /// Sixel.
    Sixel,
}

/// What is to be made ready: a source, for an area of so many cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Which picture.
    pub source: Source,
    /// Columns and rows.
    pub cells: (u16, u16),
}

/// An order to make a picture ready.
#[derive(Debug, Clone)]
pub struct PictureOrder {
    /// What is wanted.
    pub wanted: Wanted,
    /// A running picture's pixels; a file's are read.
    pub pixels: Option<Arc<Pixels>>,
    /// How it will be drawn.
    pub graphics: Graphics,
    /// Pixels of a cell, across and down.
    pub cell: (u16, u16),
    /// What stands between us and the terminal.
    pub multiplexer: Multiplexer,
}

/// Pictures that are kept ready: more than a screen shows at once.
const READY: usize = 48;

/// The pictures on the screen.
#[derive(Debug)]
pub struct Gallery {
    /// How pictures are drawn.
    pub graphics: Graphics,
    /// Pixels of a cell, across and down.
    pub cell: (u16, u16),
    choice: PreviewChoice,
    terminal: Traits,
    live: Option<(Source, Arc<Pixels>, Timestamp)>,
    /// Those that can be drawn, the one that was used last at the end.
    ready: Vec<(Wanted, Picture)>,
    ordered: Option<Wanted>,
    failed: Vec<(Source, String)>,
}

/// What stands where a picture could be.
#[derive(Debug)]
pub enum Frame<'a> {
    /// A picture.
    Picture(&'a Picture),
    /// It is being made ready.
    Coming,
    /// Why there is none.
    None(&'a str),
}

impl Gallery {
    /// Returns a gallery that draws as well as is known before the terminal has answered.
    #[must_use]
    pub fn new(choice: PreviewChoice, terminal: Traits) -> Self {
        let graphics = match choice {
            PreviewChoice::Kitty => Graphics::Kitty { deflate: false },
            PreviewChoice::Sixel => Graphics::Sixel,
            PreviewChoice::Auto | PreviewChoice::HalfBlocks if terminal.unicode => Graphics::HalfBlocks,
            PreviewChoice::Auto | PreviewChoice::HalfBlocks | PreviewChoice::Off => Graphics::Off,
        };
        Self { graphics, cell: (10, 20), choice, terminal, live: None, ready: Vec::new(), ordered: None, failed: Vec::new() }
    }

    /// Takes in what the terminal says it can do.
    pub fn probed(&mut self, answers: &Answers) {
        self.cell = answers.cell.unwrap_or(self.cell);
        let capable = self.terminal.multiplexer == Multiplexer::None && answers.draws_pictures_well();
        match self.choice {
            PreviewChoice::Kitty => self.graphics = Graphics::Kitty { deflate: answers.deflate },
            PreviewChoice::Auto if capable && answers.kitty => self.graphics = Graphics::Kitty { deflate: answers.deflate },
            PreviewChoice::Auto if capable && answers.sixel => self.graphics = Graphics::Sixel,
            PreviewChoice::Auto | PreviewChoice::Sixel | PreviewChoice::HalfBlocks | PreviewChoice::Off => {}
        }
    }

    /// Takes in a preview of a running job. Returns whether the screen may change by it.
    pub fn heard(&mut self, preview: &Preview, now: Timestamp) -> bool {
        if self.graphics == Graphics::Off {
            return false;
        }
        let pace = match self.terminal.distance {
            Distance::Near => 1000,
            Distance::Far => 2000,
        };
        let same_job = |source: &Source| matches!(source, Source::Running { job, .. } if *job == preview.job);
        if self.live.as_ref().is_some_and(|(source, _, at)| same_job(source) && now.0 - at.0 < pace) {
            return false;
        }
        match Pixels::of(preview) {
            Ok(pixels) => {
                self.live = Some((Source::Running { job: preview.job, step: preview.step }, Arc::new(pixels), now));
                true
            }
            Err(reason) => {
                self.fail(Source::Running { job: preview.job, step: preview.step }, reason);
                false
            }
        }
    }

    /// Returns the newest preview of a running job.
    #[must_use]
    pub fn live(&self, job: JobId) -> Option<&Source> {
        self.live.as_ref().map(|(source, ..)| source).filter(|s| matches!(s, Source::Running { job: j, .. } if *j == job))
    }

    /// Says what the screen shows now, what matters most first. Returns the order to make the first of it ready that is not.
    pub fn want(&mut self, wanted: Vec<Wanted>) -> Option<PictureOrder> {
        if self.graphics == Graphics::Off {
            return None;
        }
        let mut missing = None;
        for wanted in wanted {
            if let Some(at) = self.ready.iter().position(|(ready, picture)| will_do(ready, picture, &wanted)) {
                let used = self.ready.remove(at);
                self.ready.push(used);
            } else if !self.failed.iter().any(|(source, _)| *source == wanted.source) {
                missing = missing.or(Some(wanted));
            }
        }
        let wanted = missing.filter(|_| self.ordered.is_none())?;
        let live = self.live.as_ref().filter(|(source, ..)| *source == wanted.source).map(|(_, pixels, _)| Arc::clone(pixels));
        if let (Graphics::HalfBlocks, Some(pixels)) = (self.graphics, &live) {
            self.keep(wanted, Picture::Pixels(Arc::clone(pixels)));
            return None;
        }
        self.ordered = Some(wanted.clone());
        Some(PictureOrder { wanted, pixels: live, graphics: self.graphics, cell: self.cell, multiplexer: self.terminal.multiplexer })
    }

    /// Takes in a picture that was ordered.
    pub fn arrived(&mut self, source: Source, result: Result<Picture, String>) {
        let Some(ordered) = self.ordered.take().filter(|o| o.source == source) else { return };
        match result {
            Ok(picture) => self.keep(ordered, picture),
            Err(reason) => self.fail(source, reason),
        }
    }

    /// Keeps a picture in place of what it is newer than.
    fn keep(&mut self, wanted: Wanted, picture: Picture) {
        self.ready.retain(|(ready, _)| !(is_same(&ready.source, &wanted.source) && ready.cells == wanted.cells));
        self.ready.push((wanted, picture));
        if self.ready.len() > READY {
            self.ready.remove(0);
        }
    }

    fn fail(&mut self, source: Source, reason: String) {
        self.failed.retain(|(failed, _)| *failed != source);
        self.failed.push((source, reason));
        if self.failed.len() > READY {
            self.failed.remove(0);
        }
    }

    /// Returns what is to be drawn for a source in an area of so many cells.
    #[must_use]
    pub fn frame(&self, source: &Source, cells: (u16, u16)) -> Frame<'_> {
        if let Some((_, reason)) = self.failed.iter().find(|(s, _)| s == source) {
            return Frame::None(reason);
        }
        let of_it = || self.ready.iter().rev().filter(|(ready, _)| is_same(&ready.source, source));
        // What was made for another size is better than nothing, where it can be drawn in this one.
        let exact = of_it().find(|(ready, _)| ready.cells == cells);
        let other = || of_it().find(|(_, picture)| matches!(picture, Picture::Pixels(_)));
        match exact.or_else(other) {
            Some((_, picture)) => Frame::Picture(picture),
            None => Frame::Coming,
        }
    }

    /// Forgets what was sent to the terminal, which no longer has it.
    pub fn forget_sent(&mut self) {
        self.ready.clear();
    }
}

/// Returns whether two sources are of one picture, be it at another step.
fn is_same(a: &Source, b: &Source) -> bool {
    match (a, b) {
        (Source::Running { job: a, .. }, Source::Running { job: b, .. }) => a == b,
        (Source::File(a), Source::File(b)) => a == b,
        (Source::Running { .. }, Source::File(_)) | (Source::File(_), Source::Running { .. }) => false,
    }
}

/// Returns whether what is ready is what is wanted.
fn will_do(ready: &Wanted, picture: &Picture, wanted: &Wanted) -> bool {
    let is_large_enough = ready.cells.0 >= wanted.cells.0 && ready.cells.1 >= wanted.cells.1;
    match picture {
        // Pixels are fitted to the area when they are drawn; a preview has no more of them.
        Picture::Pixels(_) => ready.source == wanted.source && (is_large_enough || matches!(ready.source, Source::Running { .. })),
        Picture::Encoded(_) => ready == wanted,
    }
}
