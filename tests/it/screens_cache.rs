//! The cache as users see it, and what its keys ask of the daemon.

use perilune::quant::precision::Target;
use perilune::tui::Options;
use perilune::units::Bytes;
use perilune::wire::{
    CachedState, Change, CleanAsk, ConversionId, ConversionView, ConvertAsk, ConvertStatus, ConvertedView, GoneView, Reply, Request,
    Status, VerifiedView,
};
use perilune::workflow::{Kind, Refusal};

use super::screens::{Styles, check, check_everywhere};
use super::support::fixtures;
use super::support::screen::{Screen, options};

/// The cache of a box, listed.
fn on(status: Status, options: Options, width: u16, height: u16) -> Screen {
    listed(Screen::with(options, width, height).told(status).keys("4"))
}

fn listed(mut screen: Screen) -> Screen {
    screen.answer(|request| match request {
        Request::Cache => Some(Ok(Reply::Cached(fixtures::cached()))),
        _ => None,
    });
    screen
}

fn usual() -> Screen {
    on(fixtures::busy(), options(), 120, 36)
}

fn converting() -> Status {
    let conversion = ConversionView {
        running: true,
        done: Bytes::gib(7),
        bytes: Bytes::gib(22),
        seconds: 6.4,
        id: ConversionId(7),
        source: "/models/checkpoints/flux-dev.safetensors".into(),
        ..fixtures::conversion()
    };
    Status { conversions: vec![conversion, fixtures::conversion()], ..fixtures::busy() }
}

#[test]
fn cache() {
    check_everywhere("cache_empty", Styles::Not, |options, w, h| {
        let mut screen = Screen::with(options, w, h).told(fixtures::empty()).keys("4");
        screen.answer(|request| matches!(request, Request::Cache).then(|| Ok(Reply::Cached(Vec::new()))));
        screen
    });
    check_everywhere("cache_busy", Styles::Too, |options, w, h| on(converting(), options, w, h).keys("jj jj"));
    check_everywhere("cache_error", Styles::Not, |options, w, h| {
        let mut screen = on(fixtures::busy(), options, w, h).keys("sssssjV");
        let answer = |request: &Request| match request {
            Request::VerifyCached(path) => {
                let problem = "bytes 1048576 to 2097152 are not those that were written".to_owned();
                Some(Ok(Reply::Verified(VerifiedView { path: path.clone(), problem: Some(problem) })))
            }
            Request::Cache => Some(Err(Refusal::new(Kind::Failed, "/models: the disk does not answer", "look at the disk, then r"))),
            _ => None,
        };
        screen.answer(answer);
        screen.answer(answer);
        screen.down().later(12)
    });
    check("cache_never_up", |w, h| Screen::open(w, h).down().keys("4"));
}

#[test]
fn what_opens_above_the_cache() {
    check("cache_rules", |w, h| on(fixtures::busy(), options(), w, h).keys("Djll"));
    check("cache_convert", |w, h| on(fixtures::busy(), options(), w, h).keys("jc"));
    check("cache_precision", |w, h| on(fixtures::busy(), options(), w, h).keys("cflux<enter>q8"));
    check("cache_clean", |w, h| {
        let mut screen = on(fixtures::busy(), options(), w, h).keys("D<enter>");
        screen.answer(would_go);
        screen
    });
    check("cache_remove", |w, h| on(fixtures::busy(), options(), w, h).keys("jjjx"));
    check("cache_file", |w, h| on(fixtures::busy(), options(), w, h).keys("G<enter>"));
    check("cache_help", |w, h| on(fixtures::busy(), options(), w, h).keys("?"));
}

fn would_go(request: &Request) -> Option<Result<Reply, Refusal>> {
    let Request::CleanCache(ask) = request else { return None };
    let useless = fixtures::cached().into_iter().filter(|f| f.state != CachedState::Valid);
    let gone = useless.map(|f| GoneView {
        path: f.path,
        bytes: f.bytes,
        reason: "it cannot be used".to_owned(),
        removed: !ask.dry_run,
        problem: None,
    });
    Some(Ok(Reply::Cleaned(gone.collect())))
}

#[test]
fn nothing_goes_before_it_was_shown_and_only_what_was_shown() {
    let mut screen = usual().keys("D");
    assert!(screen.asked().is_empty());
    screen = screen.keys("<enter>");
    let dry = CleanAsk { useless: true, dry_run: true, ..CleanAsk::default() };
    assert_eq!(screen.asked(), [Request::CleanCache(dry)]);
    screen.answer(would_go);
    assert!(screen.text().contains("it cannot be used"), "{}", screen.text());
    screen = screen.keys("Y");
    assert!(screen.text().contains("copied: perilune cache clean --useless --yes"), "{}", screen.text());
    screen = screen.keys("y");
    let files: Vec<_> = fixtures::cached().into_iter().filter(|f| f.state != CachedState::Valid).map(|f| f.path).collect();
    assert_eq!(screen.asked(), [Request::CleanCache(CleanAsk { useless: true, files, ..CleanAsk::default() })]);
    screen.answer(would_go);
    assert!(screen.text().contains("removed"), "{}", screen.text());
    assert_eq!(screen.asked(), [Request::Cache], "the list is asked for anew");
    let mut declined = usual().keys("D<enter>");
    declined.answer(would_go);
    assert!(declined.keys("n").asked().is_empty());
}

#[test]
fn a_model_is_chosen_and_what_it_becomes() {
    let mut screen = usual().keys("cflux<enter>");
    assert!(screen.asked().contains(&Request::Advise("flux-dev".to_owned())));
    screen.effects.clear();
    screen = screen.keys("nf4<enter>");
    assert_eq!(screen.asked(), [Request::Convert(ConvertAsk { source: "flux-dev".to_owned(), part: None, to: Target::Nf4 })]);
    assert!(screen.keys("q").text().contains("Leave, although a conversion is made for you?"));
}

#[test]
fn a_conversion_that_is_there_is_listed_and_selected() {
    let mut screen = usual().keys("cflux<enter>");
    screen.answer(|_| Some(Ok(Reply::Advice(Vec::new()))));
    screen = screen.keys("nf4<enter>");
    let file = fixtures::cached().remove(0);
    screen.answer(|request| match request {
        Request::Convert(_) => Some(Ok(Reply::Converted(Box::new(ConvertedView {
            source: file.source.clone().unwrap(),
            output: file.path.clone(),
            from: "bf16".to_owned(),
            to: "nf4".to_owned(),
            status: ConvertStatus::Converted,
            reason: None,
            source_bytes: Bytes::gib(22),
            output_bytes: file.bytes,
            seconds: 42.0,
            tensors: Some(780),
            error: None,
        })))),
        _ => None,
    });
    assert_eq!(screen.asked(), [Request::Cache]);
    assert!(listed(screen).text().contains("is there after 42.0 s"));
}

#[test]
fn files_are_read_one_after_the_other() {
    let mut screen = usual().keys("*V");
    let Some(Request::VerifyCached(first)) = screen.asked().into_iter().next() else { panic!("nothing is read") };
    assert_eq!(screen.asked().len(), 1, "one at a time");
    screen.answer(|request| match request {
        Request::VerifyCached(path) => Some(Ok(Reply::Verified(VerifiedView { path: path.clone(), problem: None }))),
        _ => None,
    });
    let asked = screen.asked();
    assert!(matches!(&asked[..], [Request::VerifyCached(next)] if *next != first), "{asked:?}");
    assert!(screen.text().contains("intact, read"));
    screen = screen.down();
    assert!(screen.text().contains("V reads them again"), "{}", screen.text());
}

#[test]
fn what_is_in_use_is_not_removed_and_marks_hold_by_path() {
    let mut screen = usual().keys("/in use<enter><esc>");
    screen = screen.keys("gx");
    assert!(screen.text().contains("it is in use and stays"), "{}", screen.text());
    screen = usual().keys("j  x");
    assert!(screen.text().contains("Remove 2 files?"), "{}", screen.text());
    screen = screen.keys("n");
    assert!(screen.text().contains("2 marked"));
    screen.hear(Change::Conversions(vec![fixtures::conversion()]));
    screen.hear(Change::Conversions(Vec::new()));
    assert_eq!(screen.asked(), [Request::Cache], "what is no longer on its way may be there");
    assert!(!screen.keys("<esc>").text().contains("2 marked"));
}

#[test]
fn what_is_kept_is_not_removed_until_it_is_let_go() {
    let mut screen = usual().keys("jK");
    let path = fixtures::cached()[1].path.clone();
    assert_eq!(screen.asked(), [Request::KeepCached { path: path.clone(), kept: true }]);
    screen.answer(|request| matches!(request, Request::KeepCached { .. }).then_some(Ok(Reply::Done)));
    assert!(screen.text().contains("qwen-night_int8.safetensors is kept, whatever rule cleans"), "{}", screen.text());
    screen = screen.keys("x");
    assert!(screen.text().contains("it is kept; K lets it go"), "{}", screen.text());
    assert_eq!(screen.keys("K").asked(), [Request::KeepCached { path, kept: false }]);
}

#[test]
fn conversions_are_paused_and_cancelled_where_they_are_seen() {
    let screen = on(converting(), options(), 120, 36).keys("v");
    assert_eq!(screen.asked(), [Request::PauseConversions { conversion: None }]);
    let screen = on(converting(), options(), 120, 36).keys("jCy");
    assert_eq!(screen.asked(), [Request::CancelConversion(ConversionId(1))]);
}

#[test]
fn rows_are_ordered_and_filtered() {
    let order = |keys: &str| {
        let text = usual().keys(keys).text();
        let rows = text.lines().skip(4).take(6).map(|line| line[4..26].trim().to_owned());
        rows.collect::<Vec<_>>()
    };
    assert_ne!(order(""), order("s"));
    let (largest, smallest) = (order("s"), order("sS"));
    assert!(largest[0].starts_with("flux-dev") && largest[1].starts_with("qwen-night"), "{largest:?}");
    assert_ne!(largest, smallest);
    let text = usual().keys("/stale<enter>").text();
    assert!(text.contains("filter: stale") && !text.contains("fp8_e4m3fn_scaled"), "{text}");
}
