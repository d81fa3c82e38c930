//! The tables that ComfyUI-MultiGPU prints about a placement, for those who know them.
//!
//! Their numbers are rounded for reading: what a device holds to the byte stands in the answer itself.

use std::collections::BTreeMap;

use super::compat::{Answer, Question, Reason, Rules};
use crate::units::Bytes;

/// A table: a title, columns with their widths, rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// What it is about.
    pub title: &'static str,
    /// Its columns.
    pub columns: &'static [Column],
    /// Its rows.
    pub rows: Vec<Vec<String>>,
}

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    /// How wide it is.
    pub width: usize,
    /// At which side its cells begin.
    pub side: Side,
}

/// A side of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Names.
    Left,
    /// Numbers.
    Right,
}

const fn left(name: &'static str, width: usize) -> Column {
    Column { name, width, side: Side::Left }
}

const fn right(name: &'static str, width: usize) -> Column {
    Column { name, width, side: Side::Right }
}

pub(super) const VIRTUAL: &[Column] =
    &[left("Object", 8), left("Role", 6), right("Original(GB)", 11), right("Total(GB)", 9), right("Virt(GB)", 9)];
pub(super) const ALLOCATIONS: &[Column] =
    &[left("Device", 8), right("VRAM GB", 9), right("Dev %", 9), right("Model GB", 11), right("Dist %", 10)];
const FIRST_ALLOCATIONS: &[Column] = &[left("Device", 8), right("Alloc %", 9), right("Total (GB)", 11), right("Alloc (GB)", 11)];
pub(super) const LAYERS: &[Column] = &[left("Layer Type", 18), right("Layers", 7), right("Memory (MB)", 14), right("% Total", 10)];
pub(super) const ASSIGNMENTS: &[Column] = &[left("Device", 18), right("Layers", 7), right("Memory (MB)", 14), right("% Total", 10)];

/// What a module is called whose kind the file does not tell.
const UNTOLD: &str = "-";

const MIB: f64 = 1024.0 * 1024.0;

impl Table {
    /// Returns it as text.
    #[must_use]
    pub fn render(&self) -> String {
        self.wider(0)
    }

    /// Returns it as text, with so much more room for the first column.
    #[must_use]
    pub fn wider(&self, more: usize) -> String {
        let width = |at: usize, column: &Column| if at == 0 { column.width + more } else { column.width };
        let line = |cells: &[&str]| {
            let cells = self.columns.iter().enumerate().zip(cells).map(|((at, column), cell)| match column.side {
                Side::Left => format!("{cell:<0$}", width(at, column)),
                Side::Right => format!("{cell:>0$}", width(at, column)),
            });
            let text = cells.collect::<Vec<_>>().join(" ");
            text.trim_end().to_owned() + "\n"
        };
        let width = (self.columns.iter().map(|c| c.width + 1).sum::<usize>() + more).saturating_sub(1);
        let head = line(&self.columns.iter().map(|c| c.name).collect::<Vec<_>>());
        let rows = self.rows.iter().map(|row| line(&row.iter().map(String::as_str).collect::<Vec<_>>()));
        let (double, single) = ("=".repeat(width), "-".repeat(width));
        format!("{double}\n{}\n{double}\n{head}{single}\n{}", self.title, rows.collect::<String>())
    }
}

/// Returns all that the original prints about a placement.
#[must_use]
pub fn render(question: &Question<'_>, answer: &Answer, rules: Rules) -> String {
    match rules {
        Rules::Distorch2 => {
            let line = format!("[MultiGPU DisTorch V2] Final Allocation String:\n{}\n", answer.fractions);
            let tables = [allocations(question, answer), layers(question), assignments(question, answer)].map(|t| t.render());
            let first = virtual_vram(question, answer).map(|t| t.render() + "\n").unwrap_or_default();
            format!("{first}{line}\n{}", tables.join("\n"))
        }
        Rules::Distorch1 => format!("{}\n{}", first_allocations(question, answer).render(), first_layers(question, answer).render()),
    }
}

/// Returns what virtual VRAM does to each device, where the string asks for any.
#[must_use]
pub fn virtual_vram(question: &Question<'_>, answer: &Answer) -> Option<Table> {
    let (expert, rest) = question.parts();
    if !expert.is_empty() || rest.is_none() {
        return None;
    }
    let row = |name: &str, role: &str, original: f64, change: f64| {
        let gib = |n: f64| format!("{n:.2}GB");
        vec![name.to_owned(), role.to_owned(), gib(original), gib(original + change), format!("{change:+.2}GB")]
    };
    let total = |device: &str| question.totals.get(device).copied().unwrap_or_default().as_gib();
    let given: Vec<(&str, f64)> =
        answer.fractions.iter().filter(|(device, _)| *device != answer.compute).map(|(d, share)| (d, share * total(d))).collect();
    let sum: f64 = given.iter().map(|(_, n)| n).sum();
    let mut rows = vec![row(&answer.compute, "recip", total(&answer.compute), sum)];
    rows.extend(given.iter().map(|(device, n)| row(device, "donor", total(device), -n)));
    rows.push(row("model", "model", question.model().as_gib(), -sum));
    Some(Table { title: "DisTorch2 Model Virtual VRAM Analysis", columns: VIRTUAL, rows })
}

/// Returns what each device is given.
#[must_use]
pub fn allocations(question: &Question<'_>, answer: &Answer) -> Table {
    let given = |device: &str, total: Bytes| answer.fractions.of(device) * total.as_gib();
    let sum: f64 = question.totals.iter().map(|(device, total)| given(device, *total)).sum();
    let rows = question.totals.iter().filter(|(device, _)| answer.fractions.of(device) > 0.0).map(|(device, total)| {
        let model = given(device, *total);
        vec![
            device.clone(),
            format!("{:.2}", total.as_gib()),
            percent(answer.fractions.of(device), 1.0),
            format!("{model:.2}"),
            percent(model, sum),
        ]
    });
    Table { title: "DisTorch2 Model Device Allocations", columns: ALLOCATIONS, rows: rows.collect() }
}

/// Returns what kinds of modules the model has.
#[must_use]
pub fn layers(question: &Question<'_>) -> Table {
    let mut kinds: BTreeMap<&str, (usize, Bytes)> = BTreeMap::new();
    for leaf in question.leaves {
        let kind = kinds.entry(leaf.kind.as_deref().unwrap_or(UNTOLD)).or_default();
        kind.0 += 1;
        kind.1 += leaf.bytes;
    }
    let rows = kinds.into_iter().map(|(name, (count, bytes))| counted(name, count, bytes, question.model()));
    Table { title: "DisTorch2 Model Layer Distribution", columns: LAYERS, rows: rows.collect() }
}

/// Returns what each device holds in the end; modules too small to be moved have a row of their own.
#[must_use]
pub fn assignments(question: &Question<'_>, answer: &Answer) -> Table {
    let mut devices: BTreeMap<(bool, &str, bool), (usize, Bytes)> = BTreeMap::new();
    for (home, leaf) in answer.homes.iter().zip(question.leaves) {
        let device = home.device.as_str();
        let held = devices.entry((device == "cpu", device, home.reason == Reason::Tiny)).or_default();
        held.0 += 1;
        held.1 += leaf.bytes;
    }
    let rows = devices.into_iter().map(|((_, device, tiny), (count, bytes))| {
        let name = if tiny { format!("{device} (<0.01%)") } else { device.to_owned() };
        counted(&name, count, bytes, question.model())
    });
    Table { title: "DisTorch2 Model Final Device/Layer Assignments", columns: ASSIGNMENTS, rows: rows.collect() }
}

/// Returns what the first DisTorch gives each device.
#[must_use]
pub fn first_allocations(question: &Question<'_>, answer: &Answer) -> Table {
    let rows = answer.fractions.iter().map(|(device, share)| {
        let total = question.totals.get(device).copied().unwrap_or_default().as_gib();
        vec![device.to_owned(), percent(share, 1.0), format!("{total:.2}"), format!("{:.2}", share * total)]
    });
    Table { title: "DisTorch Device Allocations", columns: FIRST_ALLOCATIONS, rows: rows.collect() }
}

/// Returns what each device holds by the first DisTorch.
#[must_use]
pub fn first_layers(question: &Question<'_>, answer: &Answer) -> Table {
    Table { title: "DisTorch GGML Layer Distribution", ..assignments(question, answer) }
}

pub(super) fn counted(name: &str, count: usize, bytes: Bytes, model: Bytes) -> Vec<String> {
    let share = percent(bytes.get() as f64, model.get() as f64);
    vec![name.to_owned(), count.to_string(), format!("{:.2}", bytes.get() as f64 / MIB), share]
}

pub(super) fn percent(part: f64, whole: f64) -> String {
    format!("{:.1}%", if whole == 0.0 { 0.0 } else { part / whole * 100.0 })
}

#[cfg(test)]
mod tests {
    use super::super::compat::CaseFile;
    use super::*;

    fn shown(id: &str, rules: Rules) -> String {
        let file = CaseFile::parse(include_bytes!("../../tests/fixtures/distorch_examples.json")).unwrap();
        let case = file.examples.iter().find(|c| c.id == id).unwrap();
        let question = case.question(&file).unwrap();
        render(&question, &rules.place(&question).unwrap(), rules)
    }

    #[test]
    fn the_tables_of_a_virtual_vram_string() {
        insta::assert_snapshot!(shown("C1", Rules::Distorch2), @r"
        ===============================================
        DisTorch2 Model Virtual VRAM Analysis
        ===============================================
        Object   Role   Original(GB) Total(GB)  Virt(GB)
        -----------------------------------------------
        cuda:0   recip       8.00GB   10.00GB   +2.00GB
        cpu      donor      64.00GB   62.00GB   -2.00GB
        model    model       4.06GB    2.07GB   -2.00GB

        [MultiGPU DisTorch V2] Final Allocation String:
        cuda:0,0.2579;cpu,0.0312

        ===================================================
        DisTorch2 Model Device Allocations
        ===================================================
        Device     VRAM GB     Dev %    Model GB     Dist %
        ---------------------------------------------------
        cpu          64.00      3.1%        2.00      49.2%
        cuda:0        8.00     25.8%        2.06      50.8%

        ====================================================
        DisTorch2 Model Layer Distribution
        ====================================================
        Layer Type          Layers    Memory (MB)    % Total
        ----------------------------------------------------
        -                       10        4160.68     100.0%

        ====================================================
        DisTorch2 Model Final Device/Layer Assignments
        ====================================================
        Device              Layers    Memory (MB)    % Total
        ----------------------------------------------------
        cuda:0                   4        3136.00      75.4%
        cuda:0 (<0.01%)          5           0.68       0.0%
        cpu                      1        1024.00      24.6%
        ");
    }

    #[test]
    fn an_expert_string_has_no_virtual_vram_to_show() {
        let text = shown("A14", Rules::Distorch2);
        assert!(text.starts_with("[MultiGPU DisTorch V2] Final Allocation String:\ncuda:0,0.0610;cuda:1,0.1250;cpu,0.0705\n"), "{text}");
        assert_eq!(text.matches("=\nDisTorch2 Model").count(), 3);
    }

    #[test]
    fn the_tables_of_the_first_distorch() {
        insta::assert_snapshot!(shown("A27", Rules::Distorch1), @r"
        ==========================================
        DisTorch Device Allocations
        ==========================================
        Device     Alloc %  Total (GB)  Alloc (GB)
        ------------------------------------------
        cuda:0       50.0%        8.00        4.00
        cpu          10.0%       64.00        6.40

        ====================================================
        DisTorch GGML Layer Distribution
        ====================================================
        Device              Layers    Memory (MB)    % Total
        ----------------------------------------------------
        cuda:0                   3        3072.00      37.5%
        cpu                      5        5120.00      62.5%
        ");
    }
}
