//! The tables that ComfyUI-MultiGPU prints, about a placement of ours.
//!
//! Columns and widths are the original's; what stands in them is where our planner puts the blocks.

use super::explain::{ALLOCATIONS, ASSIGNMENTS, LAYERS, Table, VIRTUAL, counted, percent};
use crate::devices::Labelled;
use crate::units::{Bytes, DeviceId};

/// Layers of one sort, or in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layers {
    /// What they are called.
    pub name: String,
    /// How many there are.
    pub count: usize,
    /// Their weights.
    pub bytes: Bytes,
}

/// A device of a placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The device.
    pub device: DeviceId,
    /// Its memory, where it is known.
    pub total: Option<Bytes>,
    /// What of the model it holds.
    pub bytes: Bytes,
}

/// A placement in sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// What holds anything of the model, the device that computes first.
    pub devices: Vec<Holder>,
    /// The layers by type.
    pub types: Vec<Layers>,
    /// The layers by where they live.
    pub homes: Vec<Layers>,
    /// The size of the model.
    pub model: Bytes,
}

/// Stands where the original has a device's memory, of one whose memory does not count.
const UNTOLD: &str = "-";

impl Placement {
    /// Returns the tables as text.
    #[must_use]
    pub fn render(&self) -> String {
        let line = format!("Final Allocation String:\n{}\n", self.allocation());
        let rest = [named(&self.allocations()), self.layers().render(), named(&self.assignments())];
        format!("{}\n{line}\n{}", named(&self.virtual_vram()), rest.join("\n"))
    }

    /// What would place the model so again, to the byte.
    fn allocation(&self) -> String {
        let amounts: Vec<String> = self.devices.iter().map(|d| format!("{},{}b", d.device, d.bytes.get())).collect();
        amounts.join(";")
    }

    fn virtual_vram(&self) -> Table {
        let gib = |n: f64| format!("{n:.2}GB");
        let row = |name: String, role: &str, original: Option<f64>, change: f64| {
            let cell = |n: Option<f64>| n.map_or_else(|| UNTOLD.to_owned(), gib);
            vec![name, role.to_owned(), cell(original), cell(original.map(|n| n + change)), format!("{change:+.2}GB")]
        };
        let total = |holder: &Holder| holder.total.map(Bytes::as_gib);
        let given: f64 = self.devices.iter().skip(1).map(|d| d.bytes.as_gib()).sum();
        let compute = self.devices.first().map(|d| row(Labelled(d.device).to_string(), "recip", total(d), given));
        let donors = self.devices.iter().skip(1).map(|d| row(Labelled(d.device).to_string(), "donor", total(d), -d.bytes.as_gib()));
        let model = row("model".to_owned(), "model", Some(self.model.as_gib()), -given);
        let rows = compute.into_iter().chain(donors).chain([model]).collect();
        Table { title: "DisTorch2 Model Virtual VRAM Analysis", columns: VIRTUAL, rows }
    }

    fn allocations(&self) -> Table {
        let row = |holder: &Holder| {
            let of_device = holder.total.map(|total| percent(holder.bytes.as_gib(), total.as_gib()));
            vec![
                Labelled(holder.device).to_string(),
                holder.total.map_or_else(|| UNTOLD.to_owned(), |total| format!("{:.2}", total.as_gib())),
                of_device.unwrap_or_else(|| UNTOLD.to_owned()),
                format!("{:.2}", holder.bytes.as_gib()),
                percent(holder.bytes.as_gib(), self.model.as_gib()),
            ]
        };
        Table { title: "DisTorch2 Model Device Allocations", columns: ALLOCATIONS, rows: self.devices.iter().map(row).collect() }
    }

    fn layers(&self) -> Table {
        Table { title: "DisTorch2 Model Layer Distribution", columns: LAYERS, rows: self.rows(&self.types) }
    }

    fn assignments(&self) -> Table {
        Table { title: "DisTorch2 Model Final Device/Layer Assignments", columns: ASSIGNMENTS, rows: self.rows(&self.homes) }
    }

    fn rows(&self, layers: &[Layers]) -> Vec<Vec<String>> {
        layers.iter().map(|l| counted(&l.name, l.count, l.bytes, self.model)).collect()
    }
}

/// A table of devices: the column of their names is as wide as the longest, for one that is simulated says so.
fn named(table: &Table) -> String {
    let longest = table.rows.iter().filter_map(|row| row.first()).map(|name| name.chars().count()).max().unwrap_or(0);
    table.wider(table.columns.first().map_or(0, |column| longest.saturating_sub(column.width)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_a_placement() {
        let layers = |name: &str, count, mib| Layers { name: name.to_owned(), count, bytes: Bytes::mib(mib) };
        let placement = Placement {
            devices: vec![
                Holder { device: DeviceId::Cuda(0), total: Some(Bytes::gib(8)), bytes: Bytes::mib(3072) },
                Holder { device: DeviceId::Cpu, total: Some(Bytes::gib(64)), bytes: Bytes::mib(512) },
                Holder { device: DeviceId::Disk, total: None, bytes: Bytes::mib(512) },
            ],
            types: vec![layers("Conv2d", 10, 3584), layers("Linear", 5, 512)],
            homes: vec![layers("cuda:0", 11, 3071), layers("cuda:0 (pinned)", 2, 1), layers("cpu", 1, 512), layers("disk", 1, 512)],
            model: Bytes::gib(4),
        };
        insta::assert_snapshot!(placement.render(), @r"
        ===============================================
        DisTorch2 Model Virtual VRAM Analysis
        ===============================================
        Object   Role   Original(GB) Total(GB)  Virt(GB)
        -----------------------------------------------
        cuda:0   recip       8.00GB    9.00GB   +1.00GB
        cpu      donor      64.00GB   63.50GB   -0.50GB
        disk     donor            -         -   -0.50GB
        model    model       4.00GB    3.00GB   -1.00GB

        Final Allocation String:
        cuda:0,3221225472b;cpu,536870912b;disk,536870912b

        ===================================================
        DisTorch2 Model Device Allocations
        ===================================================
        Device     VRAM GB     Dev %    Model GB     Dist %
        ---------------------------------------------------
        cuda:0        8.00     37.5%        3.00      75.0%
        cpu          64.00      0.8%        0.50      12.5%
        disk             -         -        0.50      12.5%

        ====================================================
        DisTorch2 Model Layer Distribution
        ====================================================
        Layer Type          Layers    Memory (MB)    % Total
        ----------------------------------------------------
        Conv2d                  10        3584.00      87.5%
        Linear                   5         512.00      12.5%

        ====================================================
        DisTorch2 Model Final Device/Layer Assignments
        ====================================================
        Device              Layers    Memory (MB)    % Total
        ----------------------------------------------------
        cuda:0                  11        3071.00      75.0%
        cuda:0 (pinned)          2           1.00       0.0%
        cpu                      1         512.00      12.5%
        disk                     1         512.00      12.5%
        ");
    }

    #[test]
    fn a_device_that_is_simulated_says_so_in_each_row() {
        let layers = |name: &str| vec![Layers { name: name.to_owned(), count: 1, bytes: Bytes::mib(512) }];
        let sim = DeviceId::Sim(0);
        let placement = Placement {
            devices: vec![
                Holder { device: sim, total: Some(Bytes::gib(8)), bytes: Bytes::mib(512) },
                Holder { device: DeviceId::Cpu, total: None, bytes: Bytes::mib(512) },
            ],
            types: layers("Linear"),
            homes: layers(&format!("{} (pinned)", Labelled(sim))),
            model: Bytes::gib(1),
        };
        let text = placement.render();
        assert_eq!(text.lines().filter(|line| line.starts_with("sim:0 SIMULATED")).count(), 3, "{text}");
        assert!(text.contains("Device            VRAM GB     Dev %") && text.contains("cpu                     -         -"), "{text}");
    }
}
