//! `perilune calibrate`: measures this box, for the forecasts of `plan`.

use serde_json::{Value, json};

use crate::cli::args::CalibrateArgs;
use crate::cli::context::Context;
use crate::cli::output::{json as line, plain, print, significant, table};
use crate::cli::{intent, report};
use crate::client::call::unexpected;
use crate::placement::Finding;
use crate::quant::precision::Target;
use crate::wire::control::{CalibrateAsk, CalibrationView};
use crate::wire::{Reply, Request};
use crate::workflow::Refusal;

/// Measures, and prints what was found.
pub(super) fn calibrate(context: &Context, args: CalibrateArgs) -> Result<(), Refusal> {
    let preset = context.settings.preset();
    let ask = CalibrateAsk {
        model: args.model.map(|name| intent::model(name, context)),
        compute_device: args.compute_device.or(context.settings.compute_device.value),
        precision: args.precision.or(preset.precision.as_ref().and_then(Target::to_compute_in)),
    };
    if !context.output.json {
        report::note("measuring; it takes from seconds to minutes, and what else runs meanwhile spoils it");
    }
    let view = context.with_daemon(|daemon| async move {
        let mut daemon = daemon;
        let id = daemon.ask(Request::Calibrate(ask)).await?;
        match daemon.answer_whenever(id).await? {
            Reply::Calibrated(view) => Ok(*view),
            reply => Err(unexpected(&reply)),
        }
    })?;
    if context.output.json {
        view.findings.iter().for_each(|finding| line(&shape(&view, finding)));
    } else {
        print(&text(&view));
    }
    Ok(())
}

fn shape(view: &CalibrationView, finding: &Finding) -> Value {
    let (what, flops, bytes_per_second, step) = match finding {
        Finding::Speed(subject, speed) => {
            (subject.to_string(), (speed.flops > 0.0).then_some(speed.flops), Some(speed.bytes_per_second), None)
        }
        Finding::Step(sample) => ("step".to_owned(), None, None, Some(sample)),
    };
    json!({
        "compute": view.basis.compute, "precision": view.basis.precision, "engine": view.basis.engine, "what": what,
        "bytes_per_second": bytes_per_second, "flops_per_second": flops,
        "weights": step.map(|s| s.walk.weights), "flops": step.map(|s| s.walk.flops), "seconds": step.map(|s| s.seconds),
    })
}

fn text(view: &CalibrationView) -> String {
    let head = format!("{} · {} · {}", view.basis.compute, view.basis.precision, view.basis.engine);
    let giga = |n: f64| format!("{:.2}", n / 1e9);
    let row = |finding: &Finding| match finding {
        Finding::Speed(subject, speed) if speed.flops > 0.0 => {
            vec![subject.to_string(), format!("{} GFLOP/s", giga(speed.flops)), format!("weights at {} GB/s", giga(speed.bytes_per_second))]
        }
        Finding::Speed(subject, speed) => vec![subject.to_string(), format!("{} GB/s", giga(speed.bytes_per_second)), String::new()],
        Finding::Step(sample) => {
            let work = format!("{} GFLOP with {} million weights", giga(sample.walk.flops), sample.walk.weights / 1_000_000);
            vec!["a walk".to_owned(), format!("{} s", significant(sample.seconds)), work]
        }
    };
    format!("{}\n\n{}", plain(&head), table(&["what", "measured", ""], view.findings.iter().map(row)))
}
