//! The quality report as one HTML page that needs no other file: numbers, and the pictures side by side.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::units::Bytes;

/// A report, as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// What was converted.
    pub model: String,
    /// What was asked of every precision: device, precision of the computing, size, steps.
    pub conditions: String,
    /// The prompts and seeds, one a column.
    pub columns: Vec<String>,
    /// The source, and each precision.
    pub rows: Vec<Row>,
}

/// A precision of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The size of its file's network.
    pub bytes: Bytes,
    /// The conversion's own relative error, where it is a conversion.
    pub rel_l2: Option<f64>,
    /// The median of a step's seconds.
    pub step_s: Option<f64>,
    /// How its pictures differ from the source's: over all, and each; nothing for the source.
    pub apart: Option<String>,
    /// Its pictures, as PNG files, and what is said of each.
    pub pictures: Vec<(Vec<u8>, String)>,
}

/// Looks and nothing else.
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#222;background:#fff}\
table{border-collapse:collapse}th,td{padding:.3rem .8rem;text-align:left;vertical-align:top;border-bottom:1px solid #ddd}\
img{max-width:256px;height:auto;display:block}.n{text-align:right}";

/// Returns text as it stands in HTML, in elements and in attributes.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

impl Page {
    /// Returns the page.
    #[must_use]
    pub fn html(&self) -> String {
        let title = escaped(&format!("{} in other precisions", self.model));
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head><body>\n\
             <h1>{title}</h1>\n<p>{}</p>\n{}",
            escaped(&self.conditions),
            self.numbers()
        );
        html += "<h2>Pictures</h2>\n<table><tr><th></th>";
        for column in &self.columns {
            write_to(&mut html, format_args!("<th>{}</th>", escaped(column)));
        }
        html += "</tr>\n";
        for row in &self.rows {
            write_to(&mut html, format_args!("<tr><th>{}</th>", escaped(&row.name)));
            for (png, said) in &row.pictures {
                let (data, said) = (STANDARD.encode(png), escaped(said));
                write_to(
                    &mut html,
                    format_args!("<td><img alt=\"{}\" src=\"data:image/png;base64,{data}\">{said}</td>", escaped(&row.name)),
                );
            }
            html += "</tr>\n";
        }
        html + "</table>\n</body></html>\n"
    }

    fn numbers(&self) -> String {
        let mut html =
            "<table><tr><th>precision</th><th>network</th><th>weights' relative error</th><th>seconds a step</th><th>from the source's pictures</th></tr>\n"
                .to_owned();
        for row in self.rows.iter().map(cells) {
            let [name, numbers @ .., apart] = row.map(|cell| escaped(&cell));
            let numbers: String = numbers.iter().map(|n| format!("<td class=\"n\">{n}</td>")).collect::<Vec<_>>().concat();
            write_to(&mut html, format_args!("<tr><th>{name}</th>{numbers}<td>{apart}</td></tr>\n"));
        }
        html + "</table>\n"
    }
}

/// Returns what is said of a precision, in the order of the table's columns.
#[must_use]
pub fn cells(row: &Row) -> [String; 5] {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), super::output::significant);
    [row.name.clone(), row.bytes.to_string(), number(row.rel_l2), number(row.step_s), row.apart.clone().unwrap_or_else(|| "-".to_owned())]
}

/// Writing into memory cannot fail.
fn write_to(html: &mut String, what: std::fmt::Arguments<'_>) {
    html.write_fmt(what).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_everything_and_obeys_no_prompt() {
        let row = |name: &str, rel_l2, apart: Option<&str>| Row {
            name: name.to_owned(),
            bytes: Bytes::mib(3),
            rel_l2,
            step_s: Some(0.25),
            apart: apart.map(str::to_owned),
            pictures: vec![(b"png".to_vec(), "48.1 dB".to_owned())],
        };
        let page = Page {
            model: "a&b".to_owned(),
            conditions: "cpu".to_owned(),
            columns: vec!["</th><script>alert('x')</script> \"q\", seed 1".to_owned()],
            rows: vec![row("fp16", None, None), row("Q8_0", Some(0.005), Some("48.1 dB"))],
        };
        let html = page.html();
        assert!(!html.contains("<script") && html.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &quot;q&quot;"), "{html}");
        assert!(html.contains("<title>a&amp;b in other precisions</title>"));
        assert_eq!(html.matches("src=\"data:image/png;base64,cG5n\"").count(), 2);
        assert!(!html.contains("http"), "nothing is fetched");
        assert!(
            html.contains("<tr><th>fp16</th><td class=\"n\">3.0 MiB</td><td class=\"n\">-</td><td class=\"n\">0.250</td><td>-</td></tr>"),
            "{html}"
        );
    }
}
