//! `perilune plan --compat`: what the original makes of an allocation, for blocks in a file.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::args::PlanArgs;
use crate::cli::context::Context;
use crate::cli::output::{json as line, plain, print, table};
use crate::library::regular;
use crate::placement::compat::{Case, CaseFile, CasesError, Rules, Verdict};
use crate::placement::explain;
use crate::workflow::{Kind, Refusal};

const EXAMPLE: &str = "perilune plan --blocks FILE --compat distorch2";

/// Works out every case of a file; returns the exit code, 1 where one is not as expected.
pub(super) fn compat(context: &Context, args: &PlanArgs, blocks: &Path) -> Result<u8, Refusal> {
    let usage = |message: &str| Refusal::new(Kind::Usage, message, format!("use `{EXAMPLE}`"));
    let path = context.environment.absolute(blocks);
    let rules = args.compat.ok_or_else(|| usage("whose rules are meant is missing: --compat"))?;
    if args.tables && context.output.json {
        return Err(usage("--tables are text, which --json is not"));
    }
    let bad = |e: &CasesError| Refusal::new(Kind::BadFile, format!("{}: {e}", path.display()), e.hint());
    let file = CaseFile::parse(&read(&path)?).map_err(|e| bad(&e))?;
    let (mut rows, mut differs) = (Vec::new(), false);
    // A case at a time: what all of them hold together may be large.
    for case in &file.examples {
        let verdict = file.judge(case, rules).map_err(|e| bad(&e))?;
        differs |= verdict.matches == Some(false);
        if context.output.json {
            line(&shape(case, &verdict));
        } else if args.tables {
            print(&tables(&file, case, &verdict, rules));
        } else {
            rows.push(row(case, &verdict));
        }
    }
    if !context.output.json && !args.tables {
        print(&table(&["case", "model", "allocation", "placement", "as expected"], rows));
    }
    Ok(u8::from(differs))
}

/// The library's hints are about models, which this is not.
fn read(path: &Path) -> Result<Vec<u8>, Refusal> {
    regular::read(path).map_err(|e| {
        let hint =
            if e.kind() == Kind::BadFile { "give a JSON file with `models` and `examples`" } else { "check the path and its permissions" };
        Refusal::new(e.kind(), e.to_string(), hint)
    })
}

fn shape(case: &Case, verdict: &Verdict) -> Value {
    let head = json!({"id": case.id, "model": case.model, "allocation": case.allocation});
    let body = match &verdict.outcome {
        Ok(_) => json!({"devices": verdict.held}),
        Err(error) => json!({"error": error.kind(), "message": error.to_string()}),
    };
    let tail = json!({"matches": verdict.matches});
    let fields = [head, body, tail].into_iter().filter_map(|part| part.as_object().cloned()).flatten();
    Value::Object(fields.collect())
}

fn row(case: &Case, verdict: &Verdict) -> Vec<String> {
    let placement = match &verdict.outcome {
        Ok(_) => {
            let shares = verdict.held.iter().map(|(device, held)| format!("{device} {} ({})", held.bytes, held.blocks.len()));
            shares.collect::<Vec<_>>().join(", ")
        }
        Err(error) => format!("{}: {error}", error.kind()),
    };
    let matches = match verdict.matches {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    };
    vec![case.id.clone(), case.model.clone(), case.allocation.clone(), placement, matches.to_owned()]
}

fn tables(file: &CaseFile, case: &Case, verdict: &Verdict, rules: Rules) -> String {
    let title = plain(&format!("{} · {} · {}", case.id, case.model, case.allocation));
    match (case.question(file), &verdict.outcome) {
        (Ok(question), Ok(answer)) => {
            let text = explain::render(&question, answer, rules);
            let lines = text.lines().map(|l| plain(l) + "\n");
            format!("{title}\n{}\n", lines.collect::<String>())
        }
        (Err(error), _) => format!("{title}\n{error}\n\n"),
        (_, Err(error)) => format!("{title}\n{}: {}\n\n", error.kind(), plain(&error.to_string())),
    }
}
