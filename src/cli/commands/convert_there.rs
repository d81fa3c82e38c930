//! `perilune --host … convert`: the daemon of another machine converts.

use std::path::Path;

use super::convert::{failed, tell_of};
use super::convert_batch::bar;
use crate::cli::context::Context;
use crate::cli::conversions::ConvertArgs;
use crate::cli::output;
use crate::cli::report;
use crate::client::Client;
use crate::client::call::{Heard, unexpected};
use crate::conversion::ConversionError;
use crate::wire::control::Topics;
use crate::wire::{Change, ConversionView, ConvertAsk, ConvertedView, Reply, Request};
use crate::workflow::{Kind, Refusal};

/// Has the daemon of another machine convert, and tells of it. Ctrl-C leaves, and it stops.
pub(super) fn convert_there(context: &Context, args: &ConvertArgs, host: &str) -> Result<u8, Refusal> {
    if args.compare.report.is_some() {
        let hint = format!("run it there: ssh {host} perilune convert ...");
        return Err(Refusal::new(Kind::Usage, "--report compares pictures on the machine that paints them", hint));
    }
    if args.output.is_some() || args.threads.is_some() {
        let hint = format!("leave --output and --threads out: the daemon of {host} has folders and threads of its own");
        return Err(Refusal::new(Kind::Usage, "they are for conversions that this machine makes", hint));
    }
    context.with_daemon(|mut daemon| async move {
        daemon.call(Request::Subscribe(Topics::default())).await?;
        let mut code = 0;
        for source in sources_there(&mut daemon, args).await? {
            for to in &args.to {
                let ask = ConvertAsk { source: source.clone(), part: args.part.map(|p| p.name().to_owned()), to: to.clone() };
                let made = tokio::select! {
                    made = one_there(context, &mut daemon, &ask) => made?,
                    _ = tokio::signal::ctrl_c() => return Err(ConversionError::Cancelled.into()),
                };
                match made {
                    Ok(view) => tell_of(context, &view),
                    Err(refusal) => {
                        if context.output.json {
                            output::json(&failed(&source, to, &refusal));
                        }
                        let exit = report::report(&refusal);
                        code = if code == 0 { exit } else { code };
                    }
                }
            }
        }
        Ok(code)
    })
}

/// Returns what was named there, and with --all what lies there and is no conversion itself.
async fn sources_there(daemon: &mut Client, args: &ConvertArgs) -> Result<Vec<String>, Refusal> {
    let mut sources = args.sources.clone();
    if let Some(kind) = args.all {
        let models = match daemon.call(Request::Models).await? {
            Reply::Models(models) => models,
            reply => return Err(unexpected(&reply)),
        };
        let is_result = |path: &Path| path.parent().is_some_and(|folder| folder.ends_with("converted") || folder.ends_with("gguf"));
        let found = models.into_iter().filter(|m| m.folder == kind.name() && !is_result(&m.path));
        sources.extend(found.map(|m| m.path.display().to_string()));
    }
    Ok(sources)
}

/// Has one thing converted there. What goes wrong with it does not keep the others.
async fn one_there(context: &Context, daemon: &mut Client, ask: &ConvertAsk) -> Result<Result<ConvertedView, Refusal>, Refusal> {
    let bar = bar(context, Path::new(&ask.source), &ask.to);
    let id = daemon.ask(Request::Convert(ask.clone())).await?;
    loop {
        match daemon.answer_or_event(id).await? {
            Heard::Answer(answer) => {
                bar.finish_and_clear();
                return match *answer {
                    Ok(Reply::Converted(view)) => Ok(Ok(*view)),
                    Ok(reply) => Err(unexpected(&reply)),
                    Err(refusal) if refusal.kind == Kind::NoDaemon => Err(refusal),
                    Err(refusal) => Ok(Err(refusal)),
                };
            }
            Heard::Event(event) => {
                let Change::Conversions(all) = event.change else { continue };
                let stem = Path::new(&ask.source).file_stem().unwrap_or_default().to_string_lossy();
                let ours = |c: &&ConversionView| c.running && c.to == ask.to && c.source.to_string_lossy().contains(stem.as_ref());
                if let Some(view) = all.iter().find(ours) {
                    bar.set_length(view.bytes.0);
                    bar.set_position(view.done.0);
                }
            }
        }
    }
}
